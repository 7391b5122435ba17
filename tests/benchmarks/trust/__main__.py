"""Try every claim, or those whose names begin as the arguments say; exit 1 where one is missed."""

from __future__ import annotations

import os
import sys
import time

import joblib

from tests.benchmarks.trust import coverage, failures, gate, importance, pruning, race, repeats
from tests.benchmarks.trust.experiment import Experiment, Measured, measured

PARTS = (coverage, race, gate, failures, pruning, importance, repeats)


def main(prefixes: list[str]) -> int:
    """Print a line a row as soon as it is known."""
    missed = 0
    for experiment in (experiment for part in PARTS for experiment in part.experiments()):
        if prefixes and not any(row.name.startswith(tuple(prefixes)) for row in experiment.rows):
            continue
        began = time.monotonic()
        for row in _tried(experiment):
            missed += row.misses
            print(f"MISSED {row}" if row.misses else row, flush=True)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return int(missed > 0)


def _tried(experiment: Experiment) -> list[Measured]:
    jobs = (joblib.delayed(experiment.once)(seed) for seed in range(experiment.repeats))
    repeats = joblib.Parallel(n_jobs=os.cpu_count())(jobs)
    return [measured(row, [figures[row.name] for figures in repeats]) for row in experiment.rows]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
