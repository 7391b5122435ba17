"""The task: hyperparameters as fields, and the wiring of data, network, losses and estimator.

Shapes: B scenes, K = k_max sources, R = N' entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from hpo import (
    Chart,
    Check,
    Columns,
    Evidence,
    Fidelity,
    Moment,
    Overfit,
    Picture,
    Split,
    Task,
    Tuned,
    example_hash,
    means,
)
from objectives.ris import checks
from objectives.ris import loss as losses
from objectives.ris.baseline import competitors, references, space_of
from objectives.ris.calibration import calibrated
from objectives.ris.covariance import truth
from objectives.ris.data import Batch, Scenario, served
from objectives.ris.estimator import Estimates, Method
from objectives.ris.features import Grid, points
from objectives.ris.geometry import Steering, View
from objectives.ris.metrics import CUTOFF_M, judge, judged_from, summary
from objectives.ris.model import GridNet
from objectives.ris.pipeline import Pipeline, Positions, Sight
from objectives.ris.probes import Subject
from objectives.ris.sensing import Surface

TUNED_ON = 128  # training scenes that a classical method's settings are chosen on


@dataclass(frozen=True)
class RIS(Task[Batch]):
    """Find K sources in the near field of a surface, which a base station sees them through. Lower OSPA is better."""

    goal: ClassVar[str] = "ospa"
    direction: ClassVar[Literal["minimize", "maximize"]] = "minimize"
    size_unit: ClassVar[str] = "elements on the longer side of the surface"
    inputs: ClassVar[tuple[str, ...]] = ("z",)
    labels: ClassVar[tuple[str, ...]] = ("q", "power", "mask", "source_count")
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {"ospa": (0.0, CUTOFF_M)}
    overfit: ClassVar[Overfit] = Overfit(
        go=0.5,
        caution=1.0,
        samples=512,
        epochs=30,
        pinned={
            "recipe.lr": 4e-3,
            "recipe.batch_size": 64,
            "recipe.weight_decay": 0.0,
            "recipe.clip": 5.0,
            "recipe.warmup": 0.15,
            "recipe.ema": 0.0,
            "recipe.patience": None,
            "task.dropout": 0.0,
            "task.jitter": 0.0,
            "task.beta": 0.2,
            "task.phased": False,
            "task.curriculum": False,
            "task.lam_cov": 1.0,
            "task.lam_cov_pred": 0.05,
            "task.lam_heat": 0.3,
            "task.lam_ang": 0.5,
            "task.lam_rng": 0.3,
            "task.lam_count": 0.15,
            "task.width": 16,
            "task.blocks": 2,
        },
    )

    # the deployment and its scenes
    n_h: int = 8
    n_v: int = 8
    antennas: int = 16
    codes: int = 8
    deployment: int = 2  # the median of 0..4 by the error of MUSIC with AIC at 5 dB
    steering: Steering = "exact"  # what network, labels and estimator assume; the scenes are always exact
    snapshots: int = 8
    k_max: int = 3
    r_min: float = 1.0  # m
    r_max: float = 6.0  # m
    snr_lo: float = -10.0  # dB, per measurement at the base station
    snr_hi: float = 15.0
    sigma_psi: float = 0.35  # rad
    sigma_gain_db: float = 0.5
    calibrate: bool = True  # whether network and methods know the gains that the training scenes show
    element_gains: tuple[float, ...] = ()  # those gains, which from_data estimates: real and imaginary part of each
    p_coh: float = 0.25
    pathloss: bool = False
    # the network
    feat_u: int = 24
    feat_v: int = 14
    feat_planes: int = 3
    width: int = 16
    blocks: int = 2
    dropout: float = 0.0
    factors: int = 32  # cells whose steering vectors make R_pred
    # the losses
    lam_cov: float = 1.0
    lam_cov_pred: float = 0.05
    lam_heat: float = 0.3
    lam_ang: float = 0.5
    lam_rng: float = 0.3
    lam_count: float = 0.15
    phased: bool = True  # structure terms in three phases: warm-up, main, final
    curriculum: bool = False  # the other terms in three thirds; losses of different epochs are then not comparable
    # the blend
    beta: float = 0.3  # weight of R_samp
    jitter: float = 0.02  # half-width of beta's uniform jitter in training; there is none when the model is scored
    # read by inference alone
    beta_eval: float | None = None  # weight of R_samp in inference; None: beta
    shrink_alpha: float = 0.0  # weight of the identity in what MDL sees; leaves eigenvectors as they are
    cov_eps: float = 1e-3
    scan_u: int = 61
    scan_v: int = 37
    scan_planes: int = 4
    range_grid: int = 121
    newton_iters: int = 3
    nf_mle_iters: int = 2
    k_conf_thresh: float = 0.0  # MDL counts where the network's count is less probable than this
    positions: Positions = "blend"  # where they come from: MUSIC on R_blend, or the pursuit by ML
    evidence: float = 0.0  # weight, in the count, of what the pursuit's peaks say of the number of sources

    def __post_init__(self) -> None:
        for name in ("beta", "beta_eval", "k_conf_thresh", "shrink_alpha", "p_coh", "evidence"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"task.{name} must lie in [0, 1]; got {value}")
        if self.surface.entries <= self.k_max:
            raise ValueError(
                f"task.k_max must be below N' = min(antennas * codes, n_h * n_v) = {self.surface.entries}: K sources "
                f"explain any K measurements, wherever they are; got {self.k_max}"
            )
        if self.factors > self.grid.cells:
            raise ValueError(f"task.factors must be at most the {self.grid.cells} cells; got {self.factors}")

    # -- what the fields make together -------------------------------------------------------------------------
    @property
    def surface(self) -> Surface:
        """The deployment, without a calibration."""
        return Surface(self.n_h, self.n_v, self.antennas, self.codes, self.deployment, self.steering)

    @property
    def assumed(self) -> Surface:
        """The deployment as network, labels and estimator assume it: with the calibration, where there is one."""
        return replace(self.surface, gains=self.element_gains)

    @property
    def view(self) -> View:
        return View(self.r_min, self.r_max)

    @property
    def scenario(self) -> Scenario:
        return Scenario(
            self.surface,
            self.view,
            self.snapshots,
            self.k_max,
            self.snr_lo,
            self.snr_hi,
            self.sigma_psi,
            self.sigma_gain_db,
            self.p_coh,
            self.pathloss,
        )

    @property
    def grid(self) -> Grid:
        """The cells that the network scores."""
        return Grid(self.view, self.feat_u, self.feat_v, self.feat_planes)

    @property
    def method(self) -> Method:
        """The estimator's settings."""
        scan = Grid(self.view, self.scan_u, self.scan_v, self.scan_planes, edges=True)
        return Method(self.assumed, scan, self.range_grid, self.newton_iters, self.nf_mle_iters)

    @property
    def pipeline(self) -> Pipeline:
        """The chain of inference."""
        return Pipeline(
            grid=self.grid,
            method=self.method,
            k_max=self.k_max,
            factors=self.factors,
            beta=self.beta if self.beta_eval is None else self.beta_eval,
            shrink_alpha=self.shrink_alpha,
            cov_eps=self.cov_eps,
            k_conf_thresh=self.k_conf_thresh,
            positions=self.positions,
            evidence=self.evidence,
        )

    # -- the four methods --------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        """Scenes of a split; a smaller split is the beginning of a larger one."""
        side = max(self.n_h, self.n_v)
        if fidelity.size != side:
            raise ValueError(
                f"Fidelity.size is the surface's longer side and must be {side} for a {self.n_h} x {self.n_v} surface; "
                f"got {fidelity.size}; pin task.n_h and task.n_v in Fidelity.fixed"
            )
        return served(self.scenario, split, fidelity.examples(split), batch_size, rng)

    def from_data(self, fidelity: Fidelity) -> Self:
        """The task with the gains of the elements, from the one-source scenes of the training split."""
        if not self.calibrate:
            return self
        return replace(self, element_gains=calibrated(self.scenario, fidelity.examples("train")))

    def model(self) -> nn.Module:
        return GridNet(
            planes=self.feat_planes,
            nv=self.feat_v,
            nu=self.feat_u,
            k_max=self.k_max,
            width=self.width,
            eigenvalues=min(self.snapshots, self.surface.entries),
            blocks=self.blocks,
            dropout=self.dropout,
        )

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        """Weighted terms. In training beta is jittered, with one draw a batch."""
        pipeline = self.pipeline
        sight = pipeline.sight(model, batch.z)
        with torch.autocast(batch.z.device.type, enabled=False):
            sense = pipeline.sense(batch.z.device)
            values = losses.terms(
                sight.cells,
                sight.q,
                sight.pred,
                pipeline.blend(sight, self.training_beta(model)),
                truth(batch, sense),
                batch,
                grid=self.grid,
                points_G3=points(self.grid, batch.z.device, torch.float32),
                sense=sense,
                surface=self.surface,
            )
        weights = self.weights(at)
        return {name: weights[name] * value for name, value in values.items()}

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        """The complete chain of inference, compared with the truth scene by scene, and covariance errors."""
        pipeline = self.pipeline
        sight = pipeline.sight(model, batch.z)
        judged = judge(pipeline.infer(sight, batch.z), batch, self.view)
        return judged._asdict() | _covariance_errors(pipeline, sight, batch)

    def metrics(self, columns: Columns) -> dict[str, float]:
        """OSPA (m) with a cutoff of 1 m, counting, matched errors; of a network also covariance errors and chance."""
        scores = summary(judged_from(columns))
        errors = {name: column for name, column in columns.items() if name.startswith("nmse_")}
        if not errors:
            return scores  # of a classical method
        scores |= means(errors) | {"k_chance": 1 / self.k_max}
        noisy = columns["snr_db"] < 0
        if noisy.any():
            scores |= {f"{name}_noisy": float(errors[name][noisy].mean()) for name in ("nmse_pred", "nmse_samp")}
        return scores

    # -- beside the model --------------------------------------------------------------------------------------
    def baselines(self, fidelity: Fidelity) -> Mapping[str, Callable[..., Columns]]:
        """Beamformer, MVDR, MUSIC with MDL and AIC, and greedy ML, all with the network's calibration and without it;
        and the references.

        What a trial drew changes none of them. Their own settings are tuned.
        """
        methods: dict[str, Callable[..., Columns]] = {}
        for name, solve in competitors(self.method).items():
            judged, space = self._judged(solve), space_of(name)
            methods[name] = Tuned[Batch](space, judged, TUNED_ON) if space else judged
        return methods | {name: self._judged(solve) for name, solve in references(self.method).items()}

    def _judged(self, solve: Callable[..., Estimates]) -> Callable[..., Columns]:
        """A method that is judged; it takes the arguments of the method."""

        @wraps(solve)
        def judged(batch: Batch, **settings: Any) -> Columns:
            return judge(solve(batch, **settings), batch, self.view)._asdict()

        return judged

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        """Errors by SNR beside every classical method, spectra, scenes."""
        from objectives.ris.pictures import charts  # plotly is slow to import, and a trial draws nothing

        return charts(self.pipeline, self.scenario, model, batches)

    def checks(self, evidence: Evidence) -> list[Check]:
        """G01 to G20. What the stage cannot show is skipped, with the reason."""
        if evidence.stage == "preflight":
            return checks.preflight(self.subject(), evidence)
        return checks.promotion(evidence)

    def subject(self) -> Subject:
        """What the checks before a search look at."""
        return Subject(self.pipeline, self.scenario, self.beta, self.overfit.samples, self.model, self.loss)

    def rescored(self) -> Mapping[str, Sequence[Any]]:
        """What inference alone reads. Near-field ML comes before the blend, whose best weight depends on it."""
        return {
            "task.positions": ("blend", "pursuit"),
            "task.evidence": (0.0, 0.5, 1.0),
            "task.nf_mle_iters": (0, 1, 2, 3),
            "task.beta_eval": (0.0, 0.2, 0.4, 0.6, 0.8),
            "task.newton_iters": (0, 3),
            "task.k_conf_thresh": (0.0, 0.5, 0.8),
            "task.range_grid": (61, 241),
            "task.shrink_alpha": (0.0, 0.15),
        }

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        """Hashes of each scene's sources, count and SNR: the same scene with other noise is a leak too."""
        rng = torch.Generator().manual_seed(0)
        return {
            example_hash([batch.q[row], batch.source_count[row], batch.snr_db[row]])
            for batch in self.batches(split, fidelity, 256, rng)
            for row in range(len(batch.z))
        }

    # -- the weights -------------------------------------------------------------------------------------------
    def weights(self, at: Moment) -> dict[str, float]:
        """The weight of every loss term at a moment."""
        factor = losses.curriculum(at, on=self.curriculum)
        return losses.structure(at, phased=self.phased) | {
            "cov": self.lam_cov * factor["cov"],
            "cov_pred": self.lam_cov_pred,
            "heat": self.lam_heat,
            "ang": self.lam_ang * factor["ang"],
            "rng": self.lam_rng * factor["rng"],
            "count": self.lam_count * factor["count"],
        }

    def training_beta(self, model: nn.Module) -> float:
        """The weight of R_samp in the losses: jittered while the model trains."""
        if not model.training or self.jitter == 0:
            return self.beta
        draw = 2 * float(torch.rand(())) - 1
        return min(1.0, max(0.0, self.beta + self.jitter * draw))


def _covariance_errors(pipeline: Pipeline, sight: Sight, batch: Batch) -> dict[str, Tensor]:
    """Errors of R_pred, R_samp, R_blend and the identity, [B] each."""
    true = truth(batch, pipeline.sense(batch.z.device))
    eye = torch.eye(true.shape[-1], device=true.device, dtype=true.dtype).expand_as(true)
    covariances = {"pred": sight.pred, "samp": sight.samp, "blend": pipeline.blend(sight), "eye": eye}
    return {f"nmse_{name}": losses.covariance_error(cov, true) for name, cov in covariances.items()}
