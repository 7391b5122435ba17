"""The task: hyperparameters as fields, and the wiring of data, network, losses and estimator.

Shapes: B scenes, K = k_max sources, G cells of the feature grid, R = N' entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from hpo.task import Chart, Check, Evidence, Fidelity, Moment, Overfit, Picture, Split, Task, example_hash
from objectives.ris import checks
from objectives.ris import loss as losses
from objectives.ris.baseline import competitors, references
from objectives.ris.covariance import blend, effective, eigenpairs, predicted, sample, truth
from objectives.ris.data import Batch, Scenario, served
from objectives.ris.estimator import Estimates, Method, estimate, order
from objectives.ris.features import Grid, features, points
from objectives.ris.geometry import Steering, View, in_front
from objectives.ris.metrics import Judged, joined, judge, summary
from objectives.ris.model import Cells, GridNet
from objectives.ris.sensing import Sensing, Surface, sensing


class Sight(NamedTuple):
    """What the network makes of a batch's snapshots."""

    cells: Cells
    q: Tensor  # [B, G, 3]: where each cell says its source would be
    samp: Tensor  # [B, R, R]
    pred: Tensor  # [B, R, R]


@dataclass(frozen=True)
class RIS(Task[Batch]):
    """Find K sources in the near field of a surface that a base station sees them through. Lower OSPA is better."""

    goal: ClassVar[str] = "ospa"
    direction: ClassVar = "minimize"
    size_unit: ClassVar[str] = "elements on the longer side of the surface"
    inputs: ClassVar[tuple[str, ...]] = ("z",)
    labels: ClassVar[tuple[str, ...]] = ("q", "power", "mask", "count")
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
    steering: Steering = "exact"  # what network, labels and estimator believe; the scenes are always exact
    snapshots: int = 8
    k_max: int = 3
    r_min: float = 1.0  # m
    r_max: float = 6.0  # m
    snr_lo: float = -10.0  # dB, per measurement at the base station
    snr_hi: float = 15.0
    sigma_psi: float = 0.35  # rad
    sigma_gain_db: float = 0.5
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
    curriculum: bool = False  # the other terms in three thirds; makes losses incomparable between epochs
    # the blend
    beta: float = 0.3  # weight of R_samp
    jitter: float = 0.02  # half-width of beta's uniform jitter while training; never when scored
    # inference alone
    beta_eval: float | None = None  # weight of R_samp when scored; None: beta
    shrink_alpha: float = 0.0  # weight of the identity in what MDL sees; leaves eigenvectors as they are
    cov_eps: float = 1e-3
    scan_u: int = 61
    scan_v: int = 37
    scan_planes: int = 4
    range_grid: int = 121
    newton_iters: int = 3
    nf_mle_iters: int = 2
    k_conf_thresh: float = 0.0  # below this probability of the network's count, MDL counts

    def __post_init__(self) -> None:
        for name in ("beta", "beta_eval", "k_conf_thresh", "shrink_alpha", "p_coh"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"task.{name} must lie in [0, 1]; got {value}")
        if self.factors > self.grid.cells:
            raise ValueError(f"task.factors must be at most the {self.grid.cells} cells; got {self.factors}")

    # -- what the fields make together -------------------------------------------------------------------------
    @property
    def surface(self) -> Surface:
        return Surface(self.n_h, self.n_v, self.antennas, self.codes, self.deployment, self.steering)

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
        return Method(self.surface, scan, self.range_grid, self.newton_iters, self.nf_mle_iters)

    @property
    def polished(self) -> Method:
        """The estimator with near-field ML, whatever the trial drew."""
        return replace(self.method, nf_mle_iters=max(2, self.nf_mle_iters))

    @property
    def unpolished(self) -> Method:
        """The estimator without near-field ML."""
        return replace(self.method, nf_mle_iters=0)

    @property
    def cell_method(self) -> Method:
        """A search for peaks among the network's own cells."""
        return replace(self.method, grid=self.grid)

    @property
    def scored_beta(self) -> float:
        """The weight of R_samp in inference."""
        return self.beta if self.beta_eval is None else self.beta_eval

    # -- the four methods --------------------------------------------------------------------------------------
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        """Scenes of a split; a smaller split is the beginning of a larger one."""
        if fidelity.size != max(self.n_h, self.n_v):
            raise ValueError(
                f"Fidelity.size is the surface's longer side and must be {max(self.n_h, self.n_v)} for a "
                f"{self.n_h} x {self.n_v} surface; got {fidelity.size}; pin task.n_h and task.n_v in Fidelity.fixed"
            )
        return served(self.scenario, split, fidelity.examples(split), batch_size, rng)

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
        """Weighted terms. In training beta is jittered, one draw a batch."""
        seen = self.sight(model, batch.z)
        with torch.autocast(batch.z.device.type, enabled=False):
            sense = self._sense(batch.z.device)
            values = losses.terms(
                seen.cells,
                seen.q,
                seen.pred,
                self.blended(seen, self._trained_beta(model)),
                truth(batch, sense),
                batch,
                grid=self.grid,
                points_G3=points(self.grid, batch.z.device, torch.float32),
                sense=sense,
                surface=self.surface,
            )
        weights = self.weights(at)
        return {name: weights[name] * value for name, value in values.items()}

    def score(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
        """The complete path of inference: OSPA (m) with a cutoff of 1 m, and everything beside it."""
        judged, errors = [], []
        for batch in batches:
            seen = self.sight(model, batch.z)
            judged.append(judge(self.infer(seen, batch.z), batch, self.view))
            errors.append(self._covariance_errors(seen, batch))
        pred, samp, blended, eye = torch.cat(errors).unbind(1)
        everything = joined(judged)
        scores = summary(everything) | {
            "nmse_pred": float(pred.mean()),
            "nmse_samp": float(samp.mean()),
            "nmse_blend": float(blended.mean()),
            "nmse_eye": float(eye.mean()),
            "k_chance": 1 / self.k_max,
        }
        noisy = everything.snr_db < 0
        if noisy.any():
            scores |= {"nmse_pred_noisy": float(pred[noisy].mean()), "nmse_samp_noisy": float(samp[noisy].mean())}
        return scores

    # -- beside the model --------------------------------------------------------------------------------------
    def baselines(self, batches: Iterable[Batch]) -> dict[str, dict[str, float]]:
        """Beamformer, MVDR, MUSIC with MDL and AIC, greedy ML, and the references; no trial's settings touch them."""
        found: dict[str, list[Judged]] = {}
        for batch in batches:
            for name, estimates in (competitors(batch, self.method) | references(batch, self.method)).items():
                found.setdefault(name, []).append(judge(estimates, batch, self.view))
        return {name: summary(joined(parts)) for name, parts in found.items()}

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        """Errors by SNR beside every classical method, spectra, scenes."""
        from objectives.ris.pictures import charts  # plotly is slow to import, and a trial draws nothing

        return charts(self, model, batches)

    def checks(self, evidence: Evidence) -> list[Check]:
        """G01 to G20: those that the stage can show, the others skipped with the reason."""
        return checks.preflight(self, evidence) if evidence.stage == "preflight" else checks.promotion(evidence)

    def rescored(self) -> Mapping[str, Sequence[Any]]:
        """What inference alone reads; near-field ML before the blend, whose best weight depends on it."""
        return {
            "task.nf_mle_iters": (0, 1, 2, 3),
            "task.beta_eval": (0.0, 0.2, 0.4, 0.6, 0.8),
            "task.newton_iters": (0, 3),
            "task.k_conf_thresh": (0.0, 0.5, 0.8),
            "task.range_grid": (61, 241),
            "task.shrink_alpha": (0.0, 0.15),
        }

    # -- the pipeline ------------------------------------------------------------------------------------------
    def sight(self, model: nn.Module, z: Tensor) -> Sight:
        """Snapshots -> cells -> R_pred, made of the steering vectors of the most likely cells, each computed anew at
        the place that the cell has moved to."""
        device = z.device
        with torch.autocast(device.type, enabled=False):  # half precision has no complex linear algebra
            maps, eigenvalues = features(z, self.surface, self.grid)
        cells = model(maps, eigenvalues)
        with torch.autocast(device.type, enabled=False):
            at_G3 = points(self.grid, device, torch.float32)
            q = at_G3 + cells.offset * at_G3.new_tensor(self.grid.cell)
            q = in_front(torch.cat((q[..., :2], q[..., 2:].clamp_min(self.view.low[2] / 4)), -1))
            weight_BF, top_BF = cells.logits.softmax(-1).topk(self.factors, -1)
            unit_BFR = self._sense(device).unit(q.gather(1, top_BF[..., None].expand(-1, -1, 3)))
            return Sight(cells, q, sample(z), predicted(weight_BF, unit_BFR))

    def blended(self, seen: Sight, beta: float) -> Tensor:
        """The covariance that losses and estimator work on."""
        return effective(blend(seen.pred, seen.samp, beta), 0.0, self.cov_eps)

    def infer(self, seen: Sight, z: Tensor) -> Estimates:
        """Positions, by the trial's own inference settings."""
        cov = self.blended(seen, self.scored_beta)
        return estimate(cov, seen.samp, self.counted(seen, z), self.method, self.k_max)

    def counted(self, seen: Sight, z: Tensor) -> Tensor:
        """How many sources: the network's count, or MDL's where the network is not sure."""
        sure, count = seen.cells.count.softmax(-1).max(-1)
        return torch.where(sure >= self.k_conf_thresh, count + 1, self.order(z, "mdl"))

    def order(self, z: Tensor, rule: str) -> Tensor:
        """MDL's or AIC's count, from the loaded covariance's spectrum."""
        value_Bn, _ = eigenpairs(z.to(torch.complex128))
        loaded = (1 - self.shrink_alpha) * value_Bn + self.shrink_alpha + self.cov_eps
        return order(loaded, z.shape[1], z.shape[2], self.k_max, rule)

    def weights(self, at: Moment) -> dict[str, float]:
        """The weight of every loss term at a moment."""
        stage = losses.curriculum(at, on=self.curriculum)
        return losses.structure(at, phased=self.phased) | {
            "cov": self.lam_cov * stage["cov"],
            "cov_pred": self.lam_cov_pred,
            "heat": self.lam_heat,
            "ang": self.lam_ang * stage["ang"],
            "rng": self.lam_rng * stage["rng"],
            "count": self.lam_count * stage["count"],
        }

    def _trained_beta(self, model: nn.Module) -> float:
        if not model.training or self.jitter == 0:
            return self.beta
        return min(1.0, max(0.0, self.beta + self.jitter * (2 * float(torch.rand(())) - 1)))

    def _covariance_errors(self, seen: Sight, batch: Batch) -> Tensor:
        true = truth(batch, self._sense(batch.z.device))
        eye = torch.eye(true.shape[-1], device=true.device, dtype=true.dtype).expand_as(true)
        covs = (seen.pred, seen.samp, self.blended(seen, self.scored_beta), eye)
        return torch.stack([losses.covariance_error(cov, true) for cov in covs], 1)

    def _sense(self, device: torch.device) -> Sensing:
        return sensing(self.surface, device, torch.float32)

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        """Hashes of each scene's sources, count and SNR: the same scene with other noise is a leak too."""
        rng = torch.Generator().manual_seed(0)
        return {
            example_hash([batch.q[row], batch.count[row], batch.snr_db[row]])
            for batch in self.batches(split, fidelity, 256, rng)
            for row in range(len(batch.z))
        }
