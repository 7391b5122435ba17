"""Every method on the same scenes: learned paths, classical methods, references; by SNR, with intervals.

Shapes: B scenes, K = k_max sources.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from objectives.ris.baseline import competitors, references
from objectives.ris.data import Batch
from objectives.ris.estimator import Estimates, estimate, locate, maximum_likelihood, newton, peaks, signal_basis
from objectives.ris.metrics import Bin, Judged, by_snr, interval, joined, judge

if TYPE_CHECKING:
    from objectives.ris.task import RIS, Sight

BINS = 5  # of SNR
TOGETHER = 64  # scenes at a time
LEARNED = "learned"


class Tables(NamedTuple):
    """Every method on the same scenes."""

    learned: dict[str, Judged]  # LEARNED is the trial's own path; the others leave something out of it
    classical: dict[str, Judged]
    references: dict[str, Judged]

    @property
    def everything(self) -> dict[str, Judged]:
        return self.learned | self.classical | self.references


def compare(task: RIS, model: nn.Module, batch: Batch) -> Tables:
    """Judge the learned paths, the classical methods and the references on the same scenes."""
    found: list[dict[str, dict[str, Judged]]] = []
    for rows in torch.arange(len(batch.z), device=batch.z.device).split(TOGETHER):
        part = Batch(*(field[rows] for field in batch))
        kinds = {
            "learned": learned(task, model, part),
            "classical": competitors(part, task.method),
            "references": references(part, task.method),
        }
        found.append(
            {
                kind: {name: judge(one, part, task.view) for name, one in methods.items()}
                for kind, methods in kinds.items()
            }
        )
    return Tables(
        **{kind: {name: joined([part[kind][name] for part in found]) for name in found[0][kind]} for kind in found[0]}
    )


def learned(task: RIS, model: nn.Module, batch: Batch) -> dict[str, Estimates]:
    """The trial's own path, and variants that tell its gains apart: other covariances, other polish."""
    seen = task.sight(model, batch.z)
    count = task.counted(seen, batch.z)
    basis = signal_basis(task.blended(seen, task.scored_beta).to(torch.complex128), count, task.k_max)
    found = locate(basis, count, task.method, task.k_max)
    fine = found._replace(q=newton(found.q, basis, task.method))
    samp = seen.samp.to(torch.complex128)
    return {
        LEARNED: task.infer(seen, batch.z),
        "learned, R_blend without ML": fine,
        "learned, R_blend + ML": fine._replace(q=maximum_likelihood(fine.q, fine.mask, samp, task.polished)),
        "learned, R_pred without ML": estimate(task.blended(seen, 0.0), seen.samp, count, task.unpolished, task.k_max),
        "learned count on R_samp": estimate(seen.samp, seen.samp, count, task.method, task.k_max),
        "learned cells alone": cells_alone(task, seen, count),
    }


def cells_alone(task: RIS, seen: Sight, count_B: Tensor) -> Estimates:
    """The highest peaks of the network's own map, without any covariance."""
    cell_BK, padded = peaks(seen.cells.logits.double(), task.cell_method, task.k_max)
    q = seen.q.gather(1, cell_BK[..., None].expand(-1, -1, 3)).double()
    mask = torch.arange(task.k_max, device=q.device) < count_B[:, None]
    return Estimates(q, mask, padded & mask)


def bin_edges(task: RIS) -> tuple[float, ...]:
    span = task.snr_hi - task.snr_lo
    return tuple(task.snr_lo + span * i / BINS for i in range(BINS)) + (task.snr_hi + 1e-3,)


def not_won(tables: Tables, edges: tuple[float, ...]) -> dict[str, list[str]]:
    """Classical method -> SNR bins where the learned path is not better beyond the 95 % interval of the paired
    difference."""
    ours = tables.learned[LEARNED]
    lost = {}
    for name, judged in tables.classical.items():
        bins = by_snr(ours.ospa_m - judged.ospa_m, ours.snr_db, edges)
        words = [
            f"{'loses' if one.lower > 0 else 'ties'} at {span(one.low_db, one.high_db)}"
            for one in bins
            if one.upper >= 0
        ]
        if words:
            lost[name] = words
    return lost


def markdown(tables: Tables, edges: tuple[float, ...]) -> Iterator[str]:
    """OSPA (m) by SNR with 95 % intervals, as the rows of a table."""
    yield "| method | " + " | ".join(span(a, b) for a, b in zip(edges, edges[1:], strict=False)) + " | all |"
    yield "|---" * (len(edges) + 1) + "|"
    for name, judged in tables.everything.items():
        cells = [f"{one.mean:.3f} [{one.lower:.3f}, {one.upper:.3f}]" for one in ospa_bins(judged, edges)]
        low, high = interval(judged.ospa_m)
        yield f"| {name} | " + " | ".join(cells) + f" | {float(judged.ospa_m.mean()):.3f} [{low:.3f}, {high:.3f}] |"


def ospa_bins(judged: Judged, edges: tuple[float, ...]) -> list[Bin]:
    return by_snr(judged.ospa_m, judged.snr_db, edges)


def span(low_db: float, high_db: float) -> str:
    return f"{low_db:.0f} to {high_db:.0f} dB"
