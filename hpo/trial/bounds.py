"""What a job may take: the limits of its study, and a hang limit that derives from what preflight has measured."""

from __future__ import annotations

import json
from pathlib import Path

from hpo.storage.folder import Kind, RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.watchdog.limit import GB, Bounds

TIMES_SLOWEST = 10  # an epoch may take so many times as long as the slowest one of preflight
DEAREST = 100  # how many times dearer an epoch is taken to be than a cheap one, where that is not known


def bounds_of(study: StudySpec, fidelity: Fidelity, kind: Kind, folder: RunFolder) -> Bounds:
    """The bounds of a trial of the sweep, or of a run of the promotion: that has no limit of time, and its epochs may
    take longer, as `times_dearer` says."""
    limit, times = study.limit, 1.0 if kind == "sweep" else times_dearer(study.cheap, fidelity)
    minutes = limit.minutes if kind == "sweep" else None
    seconds = None if minutes is None else 60 * minutes
    memory = None if limit.memory_gb is None else limit.memory_gb * GB
    if limit.hang_minutes is not None:
        hang_s = 60 * limit.hang_minutes * times
        return Bounds(hang_s=hang_s, seconds=seconds, memory=memory, is_hang_given=True)
    cheap_s = measured_epoch(study, folder.preflight)
    if cheap_s is None:
        return Bounds(hang_s=Bounds.hang_s * times, seconds=seconds, memory=memory)
    epoch_s = cheap_s * times
    return Bounds(max(Bounds.hang_s, TIMES_SLOWEST * epoch_s), seconds=seconds, memory=memory, epoch_s=epoch_s)


def measured_epoch(study: StudySpec, preflight: Path) -> float | None:
    """The seconds of the slowest epoch at the cheap fidelity that preflight has timed; None where it has not."""
    try:
        slowest = json.loads(preflight.read_bytes())["cost"]["slowest_seconds"]
    except (OSError, ValueError, KeyError, TypeError):  # none, one of before, or one that did not come so far
        return None
    return slowest / study.cheap.epochs if isinstance(slowest, int | float) else None


def times_dearer(cheap: Fidelity, dear: Fidelity) -> float:
    """How many times as long an epoch may take as a cheap one: as many as it has examples, and elements of each.

    Where the number of examples is not known, it is taken to be much larger.
    """
    return max(1.0, _ratio(cheap.train, dear.train)) * max(1.0, _ratio(cheap.size, dear.size)) ** 2


def _ratio(cheap: int | None, dear: int | None) -> float:
    if cheap == dear:
        return 1.0
    return dear / cheap if cheap and dear else DEAREST
