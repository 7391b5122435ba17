"""The check of preflight on the data: every split holds what it should."""

from __future__ import annotations

import time
from collections.abc import Iterable

from hpo.checking.overlaps import check_disjoint
from hpo.checking.splits import Reading, read_all
from hpo.checking.wording import first_fault, status_of
from hpo.formatting import duration
from hpo.study import StudySpec
from hpo.task import Check


def check_splits(study: StudySpec) -> list[Check]:
    """Every split of every fidelity holds what it should, and no two splits of one fidelity share an example.

    Each is read once, and a split that fidelities share is not read again. Fields are tensors with the examples first,
    of a sensible dtype, and finite; there are as many examples as the fidelity says; the task's `inputs` and `labels`
    are fields. A split that cannot be read is named.
    """
    started = time.perf_counter()
    readings = read_all(study)
    faults = [f"{reading.split}: {fault}" for reading in readings.values() for fault in _faults(study, reading)]
    seconds = time.perf_counter() - started
    data = Check(
        name="data",
        status=status_of(not faults),
        seen=first_fault(faults) or f"finite, shapes agree; {_counts(readings.values())}, read in {duration(seconds)}",
        allowed="finite; examples first; as many as the fidelities say",
        look_at="the task's batches(), and how many examples the fidelities ask for",
    )
    return [data] if faults else [data, check_disjoint(study, readings)]


def _faults(study: StudySpec, reading: Reading) -> list[str]:
    unknown = [name for name in (*study.task.inputs, *study.task.labels) if name not in reading.fields]
    if unknown and reading.fields:
        return [*reading.faults(), f"inputs or labels name {unknown}, but the batch has {list(reading.fields)}"]
    return reading.faults()


def _counts(readings: Iterable[Reading]) -> str:
    """How many examples each fidelity has; a split that was read for an earlier one is left out."""
    counts: dict[str, list[str]] = {}
    for reading in readings:
        counts.setdefault(reading.tier, []).append(f"{reading.split} {reading.examples}")
    return "; ".join(f"{tier}: {', '.join(parts)}" for tier, parts in counts.items())
