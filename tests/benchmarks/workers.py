"""What more workers are worth: the same study with one worker, with two and with four, in turn.

    python -m tests.benchmarks.workers [ROUNDS [TRIALS]]

Whole `hpo sweep` processes, imports included. Prints trials an hour and the median ratios to one worker. Two plain
scripts side by side show what the machine itself allows: its cores share their caches and the way to the memory.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpo.storage.folder import RunFolder
from tests.benchmarks.measured import ENVIRONMENT, Measured, Row, spent, spread
from tests.benchmarks.small import study

COUNTS = (1, 2, 4)


@dataclass(frozen=True)
class Round:
    """Trials an hour by the number of workers, and what two scripts side by side are worth."""

    an_hour: dict[int, float]
    scripts: float

    def ratio(self, workers: int) -> float:
        return self.an_hour[workers] / self.an_hour[1]


def measure(rounds: int = 2, trials: int = 16) -> Measured:
    done = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            an_hour = {workers: trials_an_hour(workers, trials, Path(folder) / str(workers)) for workers in COUNTS}
            configurations = configurations_of(Path(folder) / "1", trials // 2)
            scripts = 2 * script_seconds(1, configurations) / script_seconds(2, configurations)
        done.append(Round(an_hour, scripts))
        rates = ", ".join(f"{workers}: {rate:.0f}" for workers, rate in an_hour.items())
        print(f"{number + 1}: trials an hour by the number of workers: {rates}; two scripts {scripts:.2f}", flush=True)
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
    machine = Row(
        "two plain scripts side by side, as a multiple of one: what the machine allows",
        spread([each.scripts for each in done]),
        "",
        "the same for two plain scripts",
    )
    return Measured((rate, *rows, machine), f"{trials} trials of {study.name} on {cores} cores, start-up included.")


def trials_an_hour(workers: int, trials: int, runs: Path) -> float:
    command = (sys.executable, "-m", "hpo", "sweep", "tests/benchmarks/small.py", "--force", "--trials", str(trials))
    return trials / spent(*command, "--workers", str(workers), "--runs", str(runs)).wall * 3600


def configurations_of(runs: Path, trials: int) -> str:
    """The first configurations of a sweep, as the plain script reads them."""
    swept = optuna.load_study(study_name=study.name, storage=RunFolder(runs / study.name).storage)
    return json.dumps([trial.params for trial in swept.trials[:trials]])


def script_seconds(scripts: int, configurations: str) -> float:
    """How long so many plain scripts take side by side, each of which trains all of these configurations."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        (folder / "trials.json").write_text(configurations)
        command = (sys.executable, "-m", "tests.benchmarks.plain", study.name, str(folder / "trials.json"))
        started = time.perf_counter()
        for number in range(scripts):
            script = (*command, str(folder / f"{number}.db"))
            running.enter_context(subprocess.Popen(script, stdout=subprocess.DEVNULL, env=ENVIRONMENT))
        running.close()  # waits for each of them
        return time.perf_counter() - started


if __name__ == "__main__":
    for row in measure(*map(int, sys.argv[1:])).rows:
        print(f"{row.quantity}: {row.measured}")
