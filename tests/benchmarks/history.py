"""The folder of a sweep of thousands of finished trials, in seconds.

A hundred trials are written as a sweep leaves them, and their storage is made by `hpo rebuild`. The others repeat them
under other numbers: their folders are written, and their rows are copied within the SQLite file.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna

from hpo import space
from hpo.epoch import Epoch
from hpo.plain import fingerprint
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from hpo.trial.record import Asked, summary, write_asked, write_outcome
from tests.epochs import epoch

DIFFERENT = 100  # trials that are repeated
KEPT = 3  # epochs of each


def make_history(study: StudySpec, folder: RunFolder, length: int) -> None:
    """A sweep of `length` finished trials, a multiple of 100: in memory where that can be, then moved to its place."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="hpo-history-") as name:
        first = RunFolder(Path(name) / study.name)
        write_folders(study, first, range(DIFFERENT))
        rebuild(study, first, identity(study))
        write_folders(study, first, range(DIFFERENT, length))
        multiply(first.database, DIFFERENT, length)
        shutil.copytree(first.path, folder.path)


def write_folders(study: StudySpec, folder: RunFolder, numbers: range) -> None:
    """What was asked of these trials, and how they ended: the default, and configurations drawn at random."""
    parts, draws = identity(study), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [study.defaults(), *(space.suggest(draws.ask(), study.space) for _ in range(DIFFERENT - 1))]
    for number in numbers:
        params: dict[str, Any] = drawn[number % DIFFERENT]
        inputs = fingerprint({"params": params, "fidelity": study.cheap, "seed": study.training_seed(number)})
        write_asked(folder.trial("sweep", number), Asked(number, params, {}, parts))
        history = list(level_epochs(KEPT, random.Random(number % DIFFERENT).uniform(1, 2)))
        write_outcome(folder.trial("sweep", number), summary("complete", history), inputs)


def multiply(database: Path, held: int, length: int) -> None:
    """Copy the rows of the trials 0 to `held` - 1 of Optuna's tables until there are `length` of them."""
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
            kept = [name for _, name, *_, is_key in columns if not is_key or name == "trial_id"]
            if "trial_id" in kept:
                copied = ", ".join(f"{name} + ?1" if name in ("trial_id", "number") else name for name in kept)
                copy = f"INSERT INTO {table} ({', '.join(kept)}) SELECT {copied} FROM {table} WHERE trial_id <= {held}"
                connection.executemany(copy, [(shift,) for shift in range(held, length, held)])
    connection.close()


def level_epochs(count: int, value: float) -> Iterator[Epoch]:
    """Epochs of a trial whose score is the same after each."""
    for number in range(count):
        scores = {"mse": value}
        yield epoch(number, loss=value, terms=scores, scores=scores, best_epoch=0, seconds=0.01)
