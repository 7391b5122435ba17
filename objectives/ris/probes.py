"""What the go/no-go conditions measure of the task itself, on scenes of its own and with an untrained network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.seeds import derive
from hpo.task import Moment
from objectives.ris import loss as losses
from objectives.ris.covariance import blend, truth
from objectives.ris.data import Batch
from objectives.ris.features import nearest, points
from objectives.ris.model import Cells
from objectives.ris.sensing import sensing

if TYPE_CHECKING:
    from objectives.ris.task import RIS


def untrained(task: RIS) -> nn.Module:
    """The task's network as it starts, the same every time; torch's own stream is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive("ris", "untrained"))
        return task.model().eval()


def refusals(entries: int) -> list[bool]:
    """Whether the blend refuses matrices of two sizes, real ones, and a weight above 1."""
    eye = torch.eye(entries, dtype=torch.complex64)[None]
    wrong = (
        lambda: blend(eye, eye[:, :-1, :-1], 0.5),
        lambda: blend(eye.real, eye.real, 0.5),
        lambda: blend(eye, eye, 1.5),
    )
    return [_refuses(call) for call in wrong]


def liveness(task: RIS, probe: Batch) -> dict[str, tuple[float, float]]:
    """Value and gradient norm of every weighted loss term of an untrained network."""
    model = untrained(task).train()
    terms = task.loss(model, Batch(*(field[:32] for field in probe)), Moment(5, 10, 50, 100))
    found = {}
    for name, term in terms.items():
        slopes = torch.autograd.grad(term, list(model.parameters()), retain_graph=True, allow_unused=True)
        found[name] = (float(term.detach()), math.sqrt(sum(float(s.square().sum()) for s in slopes if s is not None)))
    return found


def oracle_terms(task: RIS, probe: Batch) -> dict[str, float]:
    """The loss terms of a network that is right: R_pred = R_true, the target map, exact positions and counts."""
    at_G3 = points(task.grid, probe.z.device, torch.float32)
    target, true = losses.heat_target(probe, task.grid, at_G3), _true(task, probe)
    q_BG3 = at_G3.expand(len(probe.z), -1, -1).clone()
    cell_BK = nearest(task.grid, probe.q)
    for k in range(task.k_max):
        rows = (probe.mask[:, k] > 0).nonzero()[:, 0]
        q_BG3[rows, cell_BK[rows, k]] = probe.q[rows, k]
    smooth = F.one_hot(probe.count - 1, task.k_max) * (1 - losses.SMOOTHING) + losses.SMOOTHING / task.k_max
    cells = Cells(target.clamp_min(1e-30).log(), torch.zeros_like(q_BG3), smooth.log())
    sense = sensing(task.surface, probe.z.device, torch.float32)
    terms = losses.terms(
        cells, q_BG3, true, true, true, probe, grid=task.grid, points_G3=at_G3, sense=sense, surface=task.surface
    )
    return {name: float(value) for name, value in terms.items()}


def label_entropy(k_max: int) -> float:
    """The least cross-entropy of smoothed labels."""
    rest = losses.SMOOTHING / k_max
    right = 1 - losses.SMOOTHING + rest
    return -right * math.log(right) - (k_max - 1) * rest * math.log(rest)


def error_of_zero(task: RIS, probe: Batch) -> float:
    """The covariance error of the zero matrix: 1."""
    true = _true(task, probe)
    return float(losses.covariance_error(torch.zeros_like(true), true).mean())


def _true(task: RIS, probe: Batch) -> Tensor:
    return truth(probe, sensing(task.surface, probe.z.device, torch.float32))


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except AssertionError:
        return True
    return False
