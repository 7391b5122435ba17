"""An epoch of each task's tier for a GPU at its real size: memory and time, for at most 20 seconds a task.

Examples and batches have their real size. The first steps are not counted: kernels are chosen in them. The length of an
epoch is worked out from the steps that are timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from hpo.engine.evaluation import resolve_device
from hpo.engine.run import Run
from hpo.engine.totals import StepTotals
from hpo.study import StudySpec
from hpo.task import Fidelity
from objectives import cloak, hdr, lowlight, ris, xtrans
from studies.cloak_tinyface import study as cloak_study
from studies.hdr import study as hdr_study
from studies.lowlight import study as lowlight_study
from studies.ris_seed import study as ris_study
from studies.xtrans import study as xtrans_study
from tests.benchmarks.gpu.claim import Claim, clear_peak, peak_mb, result, synchronize

MOST_S = 20.0
WARM_STEPS = 3
MOST_STEPS = 40  # for which examples are made: to make those of a whole epoch may take minutes
MOST_VALIDATED = 32  # examples: it is shown that the score can be computed, and no more


@dataclass(frozen=True)
class Tier:
    """A study's default configuration at the tier that is made for a GPU."""

    study: StudySpec
    fidelity: Fidelity


TIERS = {
    "lowlight": Tier(lowlight_study, lowlight.FULL_GPU),
    "ris": Tier(ris_study, ris.FULL_GPU),
    "ris, search": Tier(ris_study, ris.CHEAP_GPU),
    "xtrans": Tier(xtrans_study, xtrans.FULL_GPU),
    "hdr": Tier(hdr_study, hdr.FULL_GPU),
    "cloak, tinyface": Tier(cloak_study, cloak.FULL_GPU),  # the encoders that need no extra package
}


def check(device: str) -> Iterator[Claim]:
    for name in TIERS:
        yield measured(name, device)


def measured(name: str, device: str) -> Claim:
    """Train for an epoch, or for as long as the time allows, and score."""
    tier = TIERS[name]
    real = tier.fidelity if device != "cpu" else tier.study.smoke
    task, recipe = tier.study.configure({}, real)
    train, val = min(real.train, MOST_STEPS * recipe.batch_size), min(real.val, MOST_VALIDATED)
    fidelity, whole = replace(real, train=train, val=val), math.ceil(real.train / recipe.batch_size)
    clear_peak(device)
    began = time.monotonic()
    run, totals = Run(task, recipe, fidelity, 1, resolve_device(device)), StepTotals()
    run.model.train()
    batches = run._training_batches(0)
    for batch in islice(batches, min(WARM_STEPS, run.batches - 1)):
        run.step(run.place(batch), 0, totals)
    synchronize(device)
    made, started, steps = time.monotonic() - began, time.monotonic(), 0
    for batch in batches:
        run.step(run.place(batch), 0, totals)
        synchronize(device)
        steps += 1
        if time.monotonic() - started > MOST_S:
            break
    step = (time.monotonic() - started) / max(1, steps)
    value = run._validate()[task.goal]
    return result(
        steps > 0 and not totals.unexpected_skips and math.isfinite(value),
        f"{name}, size {fidelity.size}, batch {recipe.batch_size}, {recipe.precision}: {1000 * step:.0f} ms a step, "
        f"{step * whole:.1f} s an epoch of {whole} steps ({steps} timed), {peak_mb(device):,.0f} MiB; "
        f"ready after {made:.1f} s; {totals.skipped} skipped; {task.goal} {value:.4g}",
    )
