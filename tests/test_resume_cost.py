"""What a resume reads: the trials that have ended once, and of those that only have to be counted their numbers."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState

import hpo
from hpo.collector import paused_collector
from hpo.errors import Damaged
from hpo.search.sweep import SweepTrials
from hpo.storage.folder import RunFolder
from hpo.storage.optuna_private import ended_numbers, storage_of
from hpo.trial.lifecycle import standing
from hpo.trial.provenance import identity
from tests.toy import toy_study

STUDY = toy_study(trials=4, startup_trials=6, pruning=None)


def sweep(runs: Path) -> None:
    hpo.sweep(STUDY, runs=runs, backend="inline", device="cpu", force=True)


@contextmanager
def heard(target: type, event: str, listener: Callable[..., None]) -> Iterator[None]:
    """Let SQLAlchemy call the listener at each such event meanwhile."""
    sqlalchemy.event.listen(target, event, listener)
    try:
        yield
    finally:
        sqlalchemy.event.remove(target, event, listener)


def test_a_resume_reads_the_trials_that_have_ended_once_and_still_finds_that_one_is_gone(tmp_path: Path) -> None:
    sweep(tmp_path)
    statements: list[str] = []
    opened: list[object] = []

    def note_statement(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    def note_connection(connection: object, _: object) -> None:
        opened.append(connection)

    with (
        heard(sqlalchemy.engine.Engine, "before_cursor_execute", note_statement),
        heard(sqlalchemy.pool.Pool, "first_connect", note_connection),
    ):
        sweep(tmp_path)
    assert sum("FROM trial_params" in statement for statement in statements) == 1
    assert len(opened) <= 5
    source = SweepTrials(STUDY, RunFolder(tmp_path / "toy"), identity(STUDY), device="cpu")
    trials = source.trials()
    statements.clear()
    with heard(sqlalchemy.engine.Engine, "before_cursor_execute", note_statement):
        now = source.standing(trials)
    assert (now, statements) == (standing(source.optuna, STUDY.trials), [])
    shutil.rmtree(tmp_path / "toy" / "sweep" / "0002")
    with pytest.raises(Damaged, match=r"lack:\n  sweep: trial 2, complete, "):
        sweep(tmp_path)


def test_the_trials_that_have_ended_are_counted_without_what_is_known_of_them(tmp_path: Path) -> None:
    storage = optuna.storages.get_storage(f"sqlite:///{tmp_path / 'study.db'}")
    for name in ("first", "second"):
        study = optuna.create_study(study_name=name, storage=storage)
        for state in (TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL, TrialState.WAITING):
            study.add_trial(optuna.create_trial(state=state))
        study.add_trial(optuna.create_trial(value=1.0))
    assert storage_of(study) is storage
    assert sorted(ended_numbers(storage, "first")) == [0, 2, 4]
    assert ended_numbers(storage, "third") == []


def test_the_collector_waits_and_is_then_as_it_was() -> None:
    assert gc.isenabled()
    with paused_collector():
        with paused_collector():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
