"""What one more trial costs where there are already 100, 1,000 or 5,000: ask, 30 reports, tell, and a resume.

    python -m tests.benchmarks.store [TRIALS ...]

hpo's own coordinator on SQLite, beside plain Optuna on a copy of the same file, with the same sampler and pruner. The
earlier trials are made by tests/benchmarks/history.py.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import optuna

from hpo import Median, space
from hpo.search.sweep import SweepTrials
from hpo.storage.folder import RunFolder
from hpo.storage.optuna_private import live_trial
from hpo.trial.objective import report_epochs, settle
from hpo.trial.provenance import identity
from hpo.trial.record import summary
from tests.benchmarks.history import KEPT, level_epochs, make_history
from tests.benchmarks.measured import Measured, Row, spread
from tests.benchmarks.quick import study as quick

EPOCHS = quick.cheap.epochs
TIMES = 3  # trials that are added at each length
WAITING = "seconds that a resume of {:,} finished trials takes to its first trial"

study = replace(quick, pruning=Median(), trials=10**6)


@dataclass(frozen=True)
class Cost:
    """Seconds of one trial's ask, reports and tell."""

    ask: float
    report: float
    tell: float

    @property
    def whole(self) -> float:
        return self.ask + self.report + self.tell


def measure(*lengths: int) -> Measured:
    rows = []
    for length in lengths or (100, 1_000, 5_000):
        with tempfile.TemporaryDirectory(prefix="hpo-store-") as name:
            rows += rows_at(length, Path(name))
    return Measured(
        rows=tuple(rows),
        how=f"Ten parameters, {EPOCHS} reports a trial, SQLite on this disk, median of {TIMES} trials; earlier ones "
        f"have {KEPT} reports. Plain Optuna asks, reports and tells on a copy of the same file.",
    )


def rows_at(length: int, base: Path) -> list[Row]:
    """The costs where there are so many trials."""
    folder = RunFolder(base / "runs" / study.name)
    make_history(study, folder, length)
    shutil.copy(folder.database, base / "plain.db")
    began = time.perf_counter()
    source = SweepTrials(study, folder, identity(study), device="cpu")
    opened = time.perf_counter() - began
    plain = optuna.load_study(
        study_name=study.name,
        storage=f"sqlite:///{base / 'plain.db'}",
        sampler=study.sampler(length),
        pruner=study.pruner(),
    )
    plain.get_trials(deepcopy=False)  # reads all trials once, as opening the other has
    pairs = [(our_trial(source), plain_trial(plain)) for _ in range(TIMES)]
    ours, theirs = zip(*pairs, strict=True)
    first = opened + ours[0].ask
    print(f"{length}: {ours}, plain {theirs}, opened in {opened:.2f} s", flush=True)
    ratio = spread([a.whole / b.whole for a, b in pairs])
    each = ", ".join(f"{name} {1000 * middle(ours, name):.0f}" for name in ("ask", "report", "tell"))
    whole, bare = 1000 * middle(ours, "whole"), 1000 * middle(theirs, "whole")
    short = "ms of harness a trial after 1,000 trials" if length == 1_000 else ""
    return [
        Row(f"ms a trial after {length:,} trials", f"{whole:.0f} ({each}); plain Optuna {bare:.0f}", "", short),
        Row(f"the same as a multiple of plain Optuna's, after {length:,} trials", ratio),
        Row(WAITING.format(length), f"{first:.1f}", "3.0" if length == 1_000 else ""),
    ]


def middle(costs: tuple[Cost, ...], name: str) -> float:
    """The median of one part of the costs."""
    return sorted(getattr(cost, name) for cost in costs)[len(costs) // 2]


def our_trial(source: SweepTrials) -> Cost:
    """A trial as the coordinator and a worker pass it through the storage, without its training."""
    started = time.perf_counter()
    job = source.next()
    assert job is not None
    asked = time.perf_counter()
    history = list(
        report_epochs(live_trial(source.optuna, job.trial_id), level_epochs(EPOCHS, 0.0), EPOCHS, spare=False)
    )
    reported = time.perf_counter()
    source.tell(job, settle(job, summary("complete", history)))
    return Cost(asked - started, reported - asked, time.perf_counter() - reported)


def plain_trial(plain: optuna.Study) -> Cost:
    """The same with Optuna alone."""
    started = time.perf_counter()
    trial = plain.ask()
    space.suggest(trial, study.space)
    asked = time.perf_counter()
    for epoch in range(EPOCHS):
        trial.report(0.0, epoch)
        trial.should_prune()
    reported = time.perf_counter()
    plain.tell(trial, 0.0)
    return Cost(asked - started, reported - asked, time.perf_counter() - reported)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for row in measure(*map(int, sys.argv[1:])).rows:
        print(f"{row.quantity}: {row.measured}")
