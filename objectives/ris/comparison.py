"""Every method on the same scenes: learned variants, classical methods and references; by SNR, with intervals.

Shapes: B scenes, K = k_max sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from objectives.ris.baseline import competitors, references
from objectives.ris.data import Batch, Scenario
from objectives.ris.estimator import Estimates, estimate, locate, maximum_likelihood, newton, peaks, signal_basis
from objectives.ris.geometry import View
from objectives.ris.metrics import Bin, Judged, by_snr, interval, judge
from objectives.ris.pipeline import Pipeline, Sight
from objectives.ris.pursuit import pursued, with_count

BINS = 5  # of SNR
CHUNK = 64  # scenes that are estimated together
LEARNED = "learned"


class Tables(NamedTuple):
    """Every method on the same scenes, by name."""

    learned: dict[str, Judged]  # LEARNED is the trial's own pipeline; each variant changes a part of it
    classical: dict[str, Judged]
    references: dict[str, Judged]

    @property
    def everything(self) -> dict[str, Judged]:
        return self.learned | self.classical | self.references


def compare(
    pipeline: Pipeline, model: nn.Module, batch: Batch, settings: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
) -> Tables:
    """Judge the learned variants, the classical methods and the references on the same scenes.

    `settings` are those of classical methods by their names; a method that is not among them has its defaults.
    """
    rivals, knowing = competitors(pipeline.method), references(pipeline.method)
    rivals = {name: partial(solve, **settings.get(name, {})) for name, solve in rivals.items()}
    chunks = []
    for rows in torch.arange(len(batch.z), device=batch.z.device).split(CHUNK):
        part = Batch(*(field[rows] for field in batch))
        tables = Tables(
            learned=_judged(learned(pipeline, model, part), part, pipeline.view),
            classical=_judged({name: solve(part) for name, solve in rivals.items()}, part, pipeline.view),
            references=_judged({name: solve(part) for name, solve in knowing.items()}, part, pipeline.view),
        )
        chunks.append(tables)
    return Tables(
        learned=_joined_methods([chunk.learned for chunk in chunks]),
        classical=_joined_methods([chunk.classical for chunk in chunks]),
        references=_joined_methods([chunk.references for chunk in chunks]),
    )


def learned(pipeline: Pipeline, model: nn.Module, batch: Batch) -> dict[str, Estimates]:
    """The trial's own pipeline, and variants with other positions, another covariance or another polish."""
    method, k_max = pipeline.method, pipeline.k_max
    with_ml = replace(method, nf_mle_iters=max(2, method.nf_mle_iters))
    without_ml = replace(method, nf_mle_iters=0)
    sight = pipeline.sight(model, batch.z)
    count = pipeline.count(sight, batch.z)
    basis = signal_basis(pipeline.blend(sight).to(torch.complex128), count, k_max)
    peak = locate(basis, count, method, k_max)
    fine = peak._replace(q=newton(peak.q, basis, method))
    samp = sight.samp.to(torch.complex128)
    return {
        LEARNED: pipeline.infer(sight, batch.z),
        "learned, MUSIC on R_blend": replace(pipeline, positions="blend", evidence=0.0).infer(sight, batch.z),
        "learned count, positions of the pursuit": with_count(
            pursued(batch.z, method, k_max), replace(pipeline, evidence=0.0).count(sight, batch.z)
        ),
        "learned, R_blend without ML": fine,
        "learned, R_blend + ML": fine._replace(q=maximum_likelihood(fine.q, fine.mask, samp, with_ml)),
        "learned, R_pred without ML": estimate(pipeline.blend(sight, 0.0), sight.samp, count, without_ml, k_max),
        "learned count on R_samp": estimate(sight.samp, sight.samp, count, method, k_max),
        "learned cells alone": cells_alone(pipeline, sight, count),
    }


def cells_alone(pipeline: Pipeline, sight: Sight, count_B: Tensor) -> Estimates:
    """The highest peaks of the network's own map, without any covariance."""
    cell_BK, padded = peaks(sight.cells.logits.double(), pipeline.cell_method, pipeline.k_max)
    q = sight.q.gather(1, cell_BK[..., None].expand(-1, -1, 3)).double()
    mask = torch.arange(pipeline.k_max, device=q.device) < count_B[:, None]
    return Estimates(q, mask, padded & mask)


def bin_edges(scenario: Scenario) -> tuple[float, ...]:
    """Limits of the SNR bins (dB). The last is a little above the highest SNR, so that the last bin holds it."""
    width = scenario.snr_hi - scenario.snr_lo
    lower = (scenario.snr_lo + width * i / BINS for i in range(BINS))
    return (*lower, scenario.snr_hi + 1e-3)


def not_won(tables: Tables, edges: tuple[float, ...]) -> dict[str, list[str]]:
    """Classical method -> the SNR bins where the learned pipeline is not better, each with "loses" or "ties".

    It is better where the 95 % interval of the paired difference lies below 0.
    """
    ours = tables.learned[LEARNED]
    lost = {}
    for name, judged in tables.classical.items():
        bins = by_snr(ours.ospa_m - judged.ospa_m, ours.snr_db, edges)
        not_better = [_outcome(snr_bin) for snr_bin in bins if snr_bin.upper >= 0]
        if not_better:
            lost[name] = not_better
    return lost


def markdown(tables: Tables, edges: tuple[float, ...]) -> Iterator[str]:
    """OSPA (m) by SNR with 95 % intervals, as the rows of a table."""
    yield "| method | " + " | ".join(span(low, high) for low, high in pairwise(edges)) + " | all |"
    yield "|---" * (len(edges) + 1) + "|"
    for name, judged in tables.everything.items():
        cells = [
            f"{snr_bin.mean:.3f} [{snr_bin.lower:.3f}, {snr_bin.upper:.3f}]" for snr_bin in ospa_bins(judged, edges)
        ]
        low, high = interval(judged.ospa_m)
        cells.append(f"{float(judged.ospa_m.mean()):.3f} [{low:.3f}, {high:.3f}]")
        yield f"| {name} | " + " | ".join(cells) + " |"


def ospa_bins(judged: Judged, edges: tuple[float, ...]) -> list[Bin]:
    """Mean OSPA (m) in each SNR bin."""
    return by_snr(judged.ospa_m, judged.snr_db, edges)


def span(low_db: float, high_db: float) -> str:
    return f"{low_db:.0f} to {high_db:.0f} dB"


def _cell(mean: float, lower: float, upper: float) -> str:
    return f"{mean:.3f} [{lower:.3f}, {upper:.3f}]"


def _outcome(difference: Bin) -> str:
    verb = "loses" if difference.lower > 0 else "ties"
    return f"{verb} at {span(difference.low_db, difference.high_db)}"


def _judged(methods: Mapping[str, Estimates], batch: Batch, view: View) -> dict[str, Judged]:
    return {name: judge(estimates, batch, view) for name, estimates in methods.items()}


def _joined_methods(chunks: list[dict[str, Judged]]) -> dict[str, Judged]:
    """The scenes of all chunks, in order."""
    return {
        name: Judged(*(torch.cat(field) for field in zip(*(chunk[name] for chunk in chunks), strict=True)))
        for name in chunks[0]
    }
