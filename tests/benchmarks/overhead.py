"""What the harness costs: a whole `hpo sweep` against a plain script that trains the same trials, in turn.

    python -m tests.benchmarks.overhead [PAIRS [TRIALS]]

Both are whole processes, imports included, with one worker and glibc's allocator set alike. Prints each pair's
seconds, whether the values agree, and the median ratios hpo / plain.
"""

import json
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpo.storage.folder import RunFolder
from tests.benchmarks.measured import Measured, Row, Spent, spent, spread

LONG = 24  # trials of the sweep that the goal is about


@dataclass(frozen=True)
class Pair:
    """The same trials by hpo and by the plain script."""

    ours: Spent
    plain: Spent
    same: bool  # whether all values agree bit for bit
    trials: int

    @property
    def ratio(self) -> float:
        return self.ours.cpu / self.plain.cpu

    @property
    def added(self) -> float:
        """CPU seconds."""
        return self.ours.cpu - self.plain.cpu

    @property
    def wall_ratio(self) -> float:
        return self.ours.wall / self.plain.wall


def measure(pairs: int = 3, trials: int = 6) -> Measured:
    done = []
    for number in range(pairs):
        done.append(pair(trials))
        print(said(number + 1, done[-1]), flush=True)
    short = pair(1)
    print(said(pairs + 1, short), flush=True)
    seconds = spread([each.plain.cpu / trials for each in done], ".1f")
    return Measured(
        rows=(
            Row(
                "CPU time of a whole sweep, as a multiple of a plain script's",
                spread([each.ratio for each in done], ".3f"),
            ),
            Row(
                f"the same for {LONG} trials, worked out from {trials} trials and from one",
                f"{statistics.median(ratio_of_long(short, each) for each in done):.3f}",
                "1.02",
                f"CPU time of {LONG} trials, hpo / plain script",
            ),
            Row("wall time, likewise", spread([each.wall_ratio for each in done], ".3f"), ""),
            Row("values that agree bit for bit", f"{sum(each.same for each in done)} of {pairs} pairs", "all"),
        ),
        how=f"{trials} trials of lowlight, each {seconds} CPU s in the plain script; start-up included on both sides.",
    )


def ratio_of_long(short: Pair, long: Pair) -> float:
    """The ratio for LONG trials: what hpo adds is a part that is paid once, and one that each trial pays."""
    each = (long.added - short.added) / (long.trials - 1)
    plain = long.plain.cpu / long.trials * LONG
    return 1 + (short.added + each * (LONG - 1)) / plain


def pair(trials: int) -> Pair:
    """Sweep into a fresh folder, and then train the same configurations by the plain script."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = (sys.executable, "-m", "hpo", "sweep", "tests/benchmarks/small.py", "--force", "--workers", "1")
        ours = spent(*command, "--trials", str(trials), "--runs", str(folder / "runs"))
        study = optuna.load_study(study_name="small", storage=RunFolder(folder / "runs" / "small").storage)
        (folder / "trials.json").write_text(json.dumps([trial.params for trial in study.trials]))
        values = [trial.value for trial in study.trials]
        script = (sys.executable, "-m", "tests.benchmarks.plain", str(folder / "trials.json"), str(folder / "plain.db"))
        plain = spent(*script)
    return Pair(ours, plain, json.loads(plain.output.splitlines()[-1]) == values, trials)


def said(number: int, done: Pair) -> str:
    return (
        f"{number}: hpo {done.ours.cpu:.1f} CPU s ({done.ours.wall:.1f} s), plain {done.plain.cpu:.1f} "
        f"({done.plain.wall:.1f}), ratio {done.ratio:.3f} ({done.wall_ratio:.3f}), same values: {done.same}"
    )


if __name__ == "__main__":
    for row in measure(*map(int, sys.argv[1:])).rows:
        print(f"{row.quantity}: {row.measured}")
