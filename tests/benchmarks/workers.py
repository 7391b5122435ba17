"""What more workers are worth: the same study with one worker, with two and with four, in turn.

    python -m tests.benchmarks.workers [ROUNDS [TRIALS]]

Whole `hpo sweep` processes, imports included. Prints trials an hour and the median ratios to one worker.
"""

import os
import sys
import tempfile
from dataclasses import dataclass

from tests.benchmarks.measured import Measured, Row, spent, spread
from tests.benchmarks.small import study

COUNTS = (1, 2, 4)


@dataclass(frozen=True)
class Round:
    """Trials an hour by the number of workers."""

    an_hour: dict[int, float]

    def ratio(self, workers: int) -> float:
        return self.an_hour[workers] / self.an_hour[1]


def measure(rounds: int = 2, trials: int = 8) -> Measured:
    done = []
    for number in range(rounds):
        done.append(Round({workers: trials_an_hour(workers, trials) for workers in COUNTS}))
        rates = ", ".join(f"{workers}: {rate:.0f}" for workers, rate in done[-1].an_hour.items())
        print(f"{number + 1}: trials an hour by the number of workers: {rates}", flush=True)
    cores = len(os.sched_getaffinity(0))
    rows = [
        Row(
            f"trials an hour with {workers} workers, as a multiple of one worker's",
            spread([each.ratio(workers) for each in done]),
            "1.9" if workers == 2 else "",
            f"trials an hour, {workers} workers / one" if workers == 2 else "",
        )
        for workers in COUNTS[1:]
    ]
    rate = Row("trials an hour with one worker", spread([each.an_hour[1] for each in done], ".0f"))
    return Measured((rate, *rows), f"{trials} trials of {study.name} on {cores} cores, start-up included.")


def trials_an_hour(workers: int, trials: int) -> float:
    command = (sys.executable, "-m", "hpo", "sweep", "tests/benchmarks/small.py", "--force", "--trials", str(trials))
    with tempfile.TemporaryDirectory() as runs:
        return trials / spent(*command, "--workers", str(workers), "--runs", runs).wall * 3600


if __name__ == "__main__":
    for row in measure(*map(int, sys.argv[1:])).rows:
        print(f"{row.quantity}: {row.measured}")
