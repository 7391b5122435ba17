"""The chain of inference: snapshots -> network -> covariance -> blend -> estimator -> positions.

It holds settings only; the network is passed to `sight`. What looks at a trained network (checks, comparison, pictures)
needs this and not the task.
Shapes: B scenes, K = k_max sources, G cells of the network's grid, R = N' entries, F factors of R_pred.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from objectives.ris.covariance import blend, effective, eigenpairs, predicted, sample
from objectives.ris.estimator import Estimates, Method, Order, estimate, order
from objectives.ris.features import Grid, features, points
from objectives.ris.geometry import View, in_front
from objectives.ris.model import Cells
from objectives.ris.pursuit import evidence, pursued, with_count
from objectives.ris.sensing import Sensing, Surface, sensing

Positions = Literal["blend", "pursuit"]


class Sight(NamedTuple):
    """What the network makes of a batch of snapshots."""

    cells: Cells
    q: Tensor  # [B, G, 3]: where each cell places its source
    samp: Tensor  # [B, R, R]: R_samp, the covariance of the snapshots
    pred: Tensor  # [B, R, R]: R_pred, the network's covariance


@dataclass(frozen=True)
class Pipeline:
    """The settings of inference, and its four steps: sight, blend, count, infer."""

    grid: Grid  # the cells that the network scores
    method: Method  # the estimator's settings
    k_max: int
    factors: int  # cells whose steering vectors make R_pred
    beta: float  # weight of R_samp in inference
    shrink_alpha: float  # weight of the identity in what MDL sees
    cov_eps: float
    k_conf_thresh: float  # MDL counts where the network's count is less probable than this
    positions: Positions = "blend"  # where they come from: MUSIC on R_blend, or the pursuit by ML
    evidence: float = 0.0  # weight of what the pursuit's peaks say of the number of sources

    @property
    def surface(self) -> Surface:
        return self.method.surface

    @property
    def view(self) -> View:
        return self.method.view

    @property
    def cell_method(self) -> Method:
        """A search for peaks among the network's own cells."""
        return replace(self.method, grid=self.grid)

    def sense(self, device: torch.device) -> Sensing:
        """The manifold in the precision of network and losses."""
        return sensing(self.surface, device, torch.float32)

    def sight(self, model: nn.Module, z: Tensor) -> Sight:
        """Run the network on snapshots [B, R, L] and make R_pred.

        R_pred is a sum over the most likely cells. The steering vector of each is computed at the place that the cell
        has moved to.
        """
        device = z.device
        with torch.autocast(device.type, enabled=False):  # half precision has no complex linear algebra
            maps, eigenvalues = features(z, self.surface, self.grid)
        cells = model(maps, eigenvalues)
        with torch.autocast(device.type, enabled=False):
            q = self._moved(cells, device)
            weight_BF, top_BF = cells.logits.softmax(-1).topk(self.factors, -1)
            unit_BFR = self.sense(device).unit(q.gather(1, top_BF[..., None].expand(-1, -1, 3)))
            return Sight(cells, q, sample(z), predicted(weight_BF, unit_BFR))

    def blend(self, sight: Sight, beta: float | None = None) -> Tensor:
        """R_blend, [B, R, R]: the covariance that losses and estimator work on. None: the weight of inference."""
        weight = self.beta if beta is None else beta
        return effective(blend(sight.pred, sight.samp, weight), 0.0, self.cov_eps)

    def count(self, sight: Sight, z: Tensor) -> Tensor:
        """The number of sources, [B]: the network's, or MDL's where the network is not sure.

        With `evidence`, what the peaks of the pursuit say is added to the network's logarithms of probabilities.
        """
        logits_BK = sight.cells.count_logits.double()
        if self.evidence:
            steps = pursued(z, self.method, self.k_max)
            logits_BK = logits_BK.log_softmax(-1) + self.evidence * evidence(steps, z.shape[1], z.shape[2])
        probability, index = logits_BK.softmax(-1).max(-1)
        return torch.where(probability >= self.k_conf_thresh, index + 1, self.order(z, "mdl"))

    def infer(self, sight: Sight, z: Tensor) -> Estimates:
        """The positions of the sources."""
        count_B = self.count(sight, z)
        if self.positions == "pursuit":
            return with_count(pursued(z, self.method, self.k_max), count_B)
        return estimate(self.blend(sight), sight.samp, count_B, self.method, self.k_max)

    def order(self, z: Tensor, rule: Order) -> Tensor:
        """The number of sources by MDL or AIC, [B], from the spectrum of the loaded sample covariance."""
        value_Bn, _ = eigenpairs(z.to(torch.complex128))
        loaded = (1 - self.shrink_alpha) * value_Bn + self.shrink_alpha + self.cov_eps
        return order(loaded, z.shape[1], z.shape[2], self.k_max, rule)

    def _moved(self, cells: Cells, device: torch.device) -> Tensor:
        """Each cell's place after its offset, in front of the surface and at a positive 1/r, [B, G, 3]."""
        centre_G3 = points(self.grid, device, torch.float32)
        q = centre_G3 + cells.offset * centre_G3.new_tensor(self.grid.cell)
        least_rho = self.view.low[2] / 4
        return in_front(torch.cat((q[..., :2], q[..., 2:].clamp_min(least_rho)), -1))
