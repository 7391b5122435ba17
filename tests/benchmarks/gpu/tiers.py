"""An epoch of each task's tier for a GPU at its real size: memory and time, for at most 20 seconds a task.

The first steps are not counted: kernels are chosen in them. Where an epoch would take longer, its length is worked out
from the steps that fit into the time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from hpo.engine.evaluation import resolve_device
from hpo.engine.run import Run
from hpo.engine.totals import StepTotals
from tests.benchmarks.gpu.claim import Claim, clear_peak, peak_mb, result, synchronize
from tests.benchmarks.gpu.tasks import TIERS, tier

MOST_S = 20.0
WARM_STEPS = 3
MOST_VALIDATED = 32  # examples: it is shown that the score can be computed, and no more


def check(device: str) -> Iterator[Claim]:
    for name in TIERS:
        yield measured(name, device)


def measured(name: str, device: str) -> Claim:
    """Train for an epoch, or for as long as the time allows, and score."""
    at = tier(name, device)
    task, recipe = at.configured()
    fidelity = replace(at.fidelity, val=min(at.fidelity.val, MOST_VALIDATED))
    clear_peak(device)
    began = time.monotonic()
    run, totals = Run(task, recipe, fidelity, 1, resolve_device(device)), StepTotals()
    run.model.train()
    batches = run._training_batches(0)
    for batch in islice(batches, min(WARM_STEPS, run.batches - 1)):
        run._step(run._place(batch), 0, totals)
    synchronize(device)
    made, started, steps = time.monotonic() - began, time.monotonic(), 0
    for batch in batches:
        run._step(run._place(batch), 0, totals)
        synchronize(device)
        steps += 1
        if time.monotonic() - started > MOST_S:
            break
    step = (time.monotonic() - started) / max(1, steps)
    value = run._validate()[task.goal]
    return result(
        steps > 0 and not totals.unexpected_skips and math.isfinite(value),
        f"{name}, size {fidelity.size}, batch {recipe.batch_size}, {recipe.precision}: {1000 * step:.0f} ms a step, "
        f"{step * run.batches:.1f} s an epoch of {run.batches} steps ({steps} timed), {peak_mb(device):,.0f} MiB; "
        f"ready after {made:.1f} s; {totals.skipped} skipped; {task.goal} {value:.4g}",
    )
