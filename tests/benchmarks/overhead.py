"""What the harness costs: a whole `hpo sweep` against a plain script that trains the same trials, in turn.

    python -m tests.benchmarks.overhead [PAIRS [TRIALS]]

Both are whole processes, imports included, with one worker and glibc's allocator set alike. The speed of a machine
changes by a tenth from minute to minute, which is more than the harness costs. So that is measured by itself, in trials
that take 9 s and mostly wait, and set against trials that train as long. Beside it, sweeps that really train show that
the values are the same.
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import optuna

from hpo.storage.folder import RunFolder
from tests.benchmarks.measured import Measured, Row, Spent, spent, spread
from tests.benchmarks.patient import TRIAL_S

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

    def __str__(self) -> str:
        return (
            f"{self.trials} trials: hpo {self.ours.cpu:.1f} CPU s ({self.ours.wall:.1f} s), plain script "
            f"{self.plain.cpu:.1f} ({self.plain.wall:.1f}), same values: {self.same}"
        )


@dataclass(frozen=True)
class Added:
    """What hpo adds to the plain script's seconds: once, and for each further trial."""

    once: float
    each: float

    @property
    def ratio(self) -> float:
        """The seconds of LONG trials by hpo, as a multiple of the plain script's."""
        return 1 + (self.once + (LONG - 1) * self.each) / (LONG * TRIAL_S)


def measure(pairs: int = 3, trials: int = 6) -> Measured:
    cpu, wall = [], []
    for _ in range(pairs):
        one, many = pair("patient", 1), pair("patient", trials)
        cpu.append(added(one, many, "cpu"))
        wall.append(added(one, many, "wall"))
    trained = [pair("small", trials) for _ in range(pairs)]
    seconds = spread([each.plain.cpu / trials for each in trained], ".1f")
    return Measured(
        rows=(
            Row(
                f"CPU time of {LONG} trials of {TRIAL_S:.0f} s, as a multiple of a plain script's",
                spread([each.ratio for each in cpu], ".3f"),
                "1.02",
                f"CPU time of {LONG} trials of {TRIAL_S:.0f} s, hpo / plain script",
            ),
            Row("wall time, likewise", spread([each.ratio for each in wall], ".3f"), "1.02"),
            Row("CPU seconds that hpo adds once", spread([each.once for each in cpu])),
            Row("CPU seconds that it adds for each trial", spread([each.each for each in cpu], ".3f")),
            Row(
                f"{trials} trials that train for {seconds} s: CPU time, as a multiple of a plain script's",
                spread([each.ratio for each in trained], ".3f"),
            ),
            Row("values that agree bit for bit", f"{sum(each.same for each in trained)} of {pairs} pairs", "all"),
        ),
        how=f"Lowlight's trials, six epochs each. The first rows are worked out from a sweep of one trial and one of "
        f"{trials} that mostly wait. Start-up is included.",
    )


def added(one: Pair, many: Pair, kind: str) -> Added:
    """By a sweep of one trial, and one of many. `kind` is "cpu" or "wall"."""
    once, all_of_them = (getattr(each.ours, kind) - getattr(each.plain, kind) for each in (one, many))
    return Added(once, (all_of_them - once) / (many.trials - 1))


def pair(name: str, trials: int) -> Pair:
    """Sweep into a fresh folder, and then train the same configurations by the plain script."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sweep = (sys.executable, "-m", "hpo", "sweep", f"tests/benchmarks/{name}.py", "--force", "--workers", "1")
        ours = spent(*sweep, "--trials", str(trials), "--runs", str(folder / "runs"))
        study = optuna.load_study(study_name=name, storage=RunFolder(folder / "runs" / name).storage)
        (folder / "trials.json").write_text(json.dumps([trial.params for trial in study.trials]))
        values = [trial.value for trial in study.trials]
        script = (sys.executable, "-m", "tests.benchmarks.plain", name)
        plain = spent(*script, str(folder / "trials.json"), str(folder / "plain.db"))
    done = Pair(ours, plain, json.loads(plain.output.splitlines()[-1]) == values, trials)
    print(done, flush=True)
    return done


if __name__ == "__main__":
    for row in measure(*map(int, sys.argv[1:])).rows:
        print(f"{row.quantity}: {row.measured}")
