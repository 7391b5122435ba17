"""Does a long sweep grow? The memory of the process that trains and coordinates, over 200 trials.

    python -m tests.benchmarks.memory [TRIALS]

One worker, which trains in the coordinator's own process: so what both keep shows. The first quarter is left out of the
slope, since caches fill.
"""

import json
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from hpo.search.sweep import sweep
from hpo.storage.folder import RunFolder
from hpo.storage.summary import Summary
from hpo.trial.provenance import identity
from tests.benchmarks.measured import Measured, Row, spent
from tests.benchmarks.quick import study as quick

SHORT = replace(quick.cheap, epochs=6)
study = replace(quick, smoke=SHORT, cheap=SHORT)
PAGE_MIB = os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(trials: int = 200) -> Measured:
    output = spent(sys.executable, "-m", "tests.benchmarks.memory", "--here", str(trials)).output
    resident = json.loads(output.splitlines()[-1])  # MiB by the number of trials that have ended
    numbers = range(trials // 4, len(resident))
    slope = statistics.linear_regression(numbers, [resident[number] for number in numbers]).slope
    return Measured(
        rows=(
            Row(f"MiB after {trials} trials", f"{resident[-1]:.0f}"),
            Row("MiB that 100 more trials add", f"{100 * slope:.2f}", "", "MiB that 100 more trials add"),
        ),
        how=f"{trials} trials of {study.cheap.epochs} epochs, one worker; the slope is over the last three quarters.",
    )


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MIB


def swept(trials: int) -> list[float]:
    """The memory after each trial, from none on."""
    resident: list[float] = []

    def watch(summary: Summary) -> None:
        resident.extend([resident_mib()] * (summary.done + 1 - len(resident)))

    with tempfile.TemporaryDirectory() as runs:
        folder = RunFolder(Path(runs) / study.name)
        sweep(replace(study, trials=trials), folder, identity(study), device="cpu", watch=watch)
    return resident


if __name__ == "__main__":
    if sys.argv[1:2] == ["--here"]:
        print(json.dumps(swept(int(sys.argv[2]))))
    else:
        for row in measure(*map(int, sys.argv[1:])).rows:
            print(f"{row.quantity}: {row.measured}")
