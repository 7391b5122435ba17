"""What a second worker is worth: the same study with one worker and with two, in turn.

    python -m tests.benchmarks.workers [PAIRS]

Whole `hpo sweep` processes, imports included. Prints trials an hour and the median ratio two / one.
"""

import statistics
import sys
import tempfile

from tests.benchmarks.overhead import timed
from tests.benchmarks.small import study

TRIALS = 12


def trials_an_hour(workers: int) -> float:
    with tempfile.TemporaryDirectory() as runs:
        seconds, _ = timed(
            sys.executable,
            "-m",
            "hpo",
            "sweep",
            "tests/benchmarks/small.py",
            "--force",
            "--trials",
            str(TRIALS),
            "--workers",
            str(workers),
            "--runs",
            runs,
        )
    return TRIALS / seconds * 3600


def main(pairs: int) -> None:
    ratios = []
    for number in range(pairs):
        one, two = trials_an_hour(1), trials_an_hour(2)
        ratios.append(two / one)
        print(f"{number + 1}: one worker {one:.0f} trials an hour, two {two:.0f}, ratio {two / one:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f} over {pairs} pairs of {study.name}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
