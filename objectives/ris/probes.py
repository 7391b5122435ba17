"""What the checks before a search measure of the task, on scenes of its own and with an untrained network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo import Moment, derive, generator
from objectives.ris import loss as losses
from objectives.ris.covariance import blend, truth
from objectives.ris.data import Batch, Scenario, generate
from objectives.ris.features import nearest, points
from objectives.ris.model import Cells
from objectives.ris.pipeline import Pipeline

SCENES = 128  # of a probe
LIVENESS_SCENES = 32


@dataclass(frozen=True)
class Subject:
    """What is checked before a search."""

    pipeline: Pipeline
    scenario: Scenario
    training_beta: float  # weight of R_samp in the losses
    overfit_samples: int  # scenes of the overfit check: the first of the training split
    model: Callable[[], nn.Module]  # a fresh network
    loss: Callable[[nn.Module, Batch, Moment], Mapping[str, Tensor]]  # weighted terms

    def untrained(self) -> nn.Module:
        """The network before training, the same at every call. The global random state is left as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive("ris", "untrained"))
            return self.model().eval()


def probe_scenes(scenario: Scenario) -> Batch:
    """The scenes that most checks look at, the same at every call."""
    return generate(scenario, SCENES, generator("ris", "probe"))


def refusals(entries: int) -> list[bool]:
    """For each of three wrong calls, whether the blend refuses it: matrices of two sizes, real ones, beta above 1."""
    eye = torch.eye(entries, dtype=torch.complex64)[None]
    wrong_calls = (
        lambda: blend(eye, eye[:, :-1, :-1], 0.5),
        lambda: blend(eye.real, eye.real, 0.5),
        lambda: blend(eye, eye, 1.5),
    )
    return [_refuses(call) for call in wrong_calls]


def liveness(subject: Subject, probe: Batch) -> dict[str, tuple[float, float]]:
    """Value and gradient norm of every weighted loss term of an untrained network."""
    model = subject.untrained().train()
    parameters = list(model.parameters())
    batch = Batch(*(field[:LIVENESS_SCENES] for field in probe))
    measured = {}
    for name, term in subject.loss(model, batch, Moment(5, 10, 50, 100)).items():
        slopes = torch.autograd.grad(term, parameters, retain_graph=True, allow_unused=True)
        square = sum(float(slope.square().sum()) for slope in slopes if slope is not None)
        measured[name] = (float(term.detach()), math.sqrt(square))
    return measured


def oracle_terms(pipeline: Pipeline, probe: Batch) -> dict[str, float]:
    """The loss terms of a network that is right: R_pred = R_true, the target map, exact positions and counts."""
    grid, k_max = pipeline.grid, pipeline.k_max
    at_G3 = points(grid, probe.z.device, torch.float32)
    target = losses.heat_target(probe, grid, at_G3)
    true = _true_covariance(pipeline, probe)
    q_BG3 = at_G3.expand(len(probe.z), -1, -1).clone()
    cell_BK = nearest(grid, probe.q)
    for k in range(k_max):
        rows = (probe.mask[:, k] > 0).nonzero()[:, 0]
        q_BG3[rows, cell_BK[rows, k]] = probe.q[rows, k]
    smooth = F.one_hot(probe.source_count - 1, k_max) * (1 - losses.SMOOTHING) + losses.SMOOTHING / k_max
    cells = Cells(target.clamp_min(1e-30).log(), torch.zeros_like(q_BG3), smooth.log())
    terms = losses.terms(
        cells,
        q_BG3,
        true,
        true,
        true,
        probe,
        grid=grid,
        points_G3=at_G3,
        sense=pipeline.sense(probe.z.device),
        surface=pipeline.surface,
    )
    return {name: float(value) for name, value in terms.items()}


def label_entropy(k_max: int) -> float:
    """The least cross-entropy of smoothed labels."""
    rest = losses.SMOOTHING / k_max
    right = 1 - losses.SMOOTHING + rest
    return -right * math.log(right) - (k_max - 1) * rest * math.log(rest)


def error_of_zero(pipeline: Pipeline, probe: Batch) -> float:
    """The covariance error of the zero matrix, which must be 1."""
    true = _true_covariance(pipeline, probe)
    return float(losses.covariance_error(torch.zeros_like(true), true).mean())


def _true_covariance(pipeline: Pipeline, probe: Batch) -> Tensor:
    return truth(probe, pipeline.sense(probe.z.device))


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except AssertionError:
        return True
    return False
