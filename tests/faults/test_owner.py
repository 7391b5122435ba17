"""Nothing that is finished is destroyed: not by a study of the same name, a copy of the folder, an older version, or a
second change. On PostgreSQL, which folders share."""

from __future__ import annotations

import json
import platform
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.errors import Damaged, Refused
from hpo.space import uniform
from hpo.storage.folder import RunFolder
from hpo.storage.owner import ids_of
from hpo.study import StudySpec
from hpo.trial.ownership import require_claimable
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from hpo.trial.record import Outcome, write_outcome
from tests.faults import check, servers
from tests.faults.processes import code_of, start
from tests.faults.servers import Postgres
from tests.faults.studies import victims

LACKING = servers.missing()
pytestmark = [
    pytest.mark.skipif(bool(LACKING), reason=f"many machines need {LACKING}"),
    pytest.mark.timeout(900),
]
STUDY = victims(trials=3, pruning=None)
WIDER = replace(STUDY, space={**STUDY.space, "task.shift": uniform(-2, 2)})


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="hpo-postgres-") as base:  # not pytest's: the user postgres must come in
        Path(base).chmod(0o755)
        with servers.postgres(Path(base) / "server") as running:
            yield running


@pytest.fixture(autouse=True)
def empty(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", str(server.passfile))
    server.fresh()


@pytest.fixture
def mine(folder: Path, server: Postgres) -> Path:
    """A folder with three finished trials in the database."""
    swept(folder, server)
    return folder


def swept(folder: Path, server: Postgres | None, study: StudySpec = STUDY, **options: Any) -> None:
    url = server.url if server else None
    hpo.sweep(study, runs=folder.parent, storage=url, backend="inline", device="cpu", force=True, **options)


def another(folder: Path) -> Path:
    return folder.parent / "another" / folder.name


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, another(folder)))


def rows(server: Postgres, name: str = "victims") -> dict:
    return check.rows(server.query, name)


def files(folder: Path) -> dict[Path, bytes]:
    """All files but the lock, which says who has held it last."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def without_ids(folder: Path, server: Postgres) -> None:
    """As a version before made both."""
    (folder / "owner").unlink()
    server.query("DELETE FROM study_user_attributes WHERE key = 'owner'")


# -- another study of the name -----------------------------------------------------------------------------------------
def test_a_name_that_another_folder_owns_is_taken_and_nothing_is_written(mine: Path, server: Postgres) -> None:
    before = rows(server)
    for study in (STUDY, WIDER):
        with pytest.raises(Refused, match="another name") as refused:
            swept(another(mine), server, study, accept=["space"])
        assert f"is taken by {platform.node()}:{mine.resolve()}: " in str(refused.value)
        assert "rebuild" not in str(refused.value)
    assert not another(mine).exists()
    assert rows(server) == before


@pytest.mark.parametrize("force", [False, True])
def test_a_rebuilding_does_not_take_the_name_of_another_folder(mine: Path, server: Postgres, force: bool) -> None:
    """This is how a colleague's trials were lost: both studies are the same, and each has a folder of its own."""
    other, before = another(mine), rows(server)
    swept(other, None, replace(STUDY, trials=4))
    (other / "study.db").unlink()
    with pytest.raises(Refused, match="is taken by"):
        rebuild(STUDY, RunFolder(other, server.url), identity(STUDY), force=force)
    assert rows(server) == before
    assert not (other / "storage").exists()
    rebuild(STUDY, RunFolder(other), identity(STUDY))
    swept(other, None, replace(STUDY, trials=4))


# -- copies ------------------------------------------------------------------------------------------------------------
def test_a_copy_writes_only_while_the_storage_knows_nothing_that_it_lacks(mine: Path, server: Postgres) -> None:
    copy = copied(mine)
    swept(copy, None, replace(STUDY, trials=4))
    before, content = rows(server), files(mine)
    assert len(before) == 4
    with pytest.raises(Damaged, match=r"knows 1 finished trial that .* lack:\n  sweep: trial 3, complete, ") as refused:
        swept(mine, None, replace(STUDY, trials=5))
    assert f"an older copy of {platform.node()}:{copy.resolve()}, which wrote last" in str(refused.value)
    with pytest.raises(Damaged, match="an older copy"):
        hpo.promote(STUDY, runs=mine.parent, backend="inline", device="cpu")
    with pytest.raises(Refused, match="an older copy"):
        rebuild(STUDY, RunFolder(mine), identity(STUDY))
    assert (rows(server), files(mine)) == (before, content)
    assert hpo.report(STUDY, runs=mine.parent).exists()

    shutil.rmtree(mine)
    shutil.copytree(copy, mine)
    swept(mine, None, replace(STUDY, trials=5))
    assert {number: rows(server)[number] for number in before} == before
    assert list(check.violations(mine, 5, server.query)) == []


def test_a_copy_in_which_a_trial_still_is_failed_does_not_take_back_what_its_retry_came_to(
    mine: Path, server: Postgres
) -> None:
    copy, before = copied(mine), rows(server)
    trial = copy / "sweep" / "0002"
    failed = Outcome("failed", reason="it was out of memory")
    write_outcome(trial, failed, json.loads((trial / "result.json").read_text())["inputs"])
    with pytest.raises(Damaged, match="trial 2: complete"):
        swept(copy, None)
    with pytest.raises(Refused, match=r"knows 1 finished trial that .* lack:\n  sweep: trial 2, complete, "):
        rebuild(STUDY, RunFolder(copy), identity(STUDY))
    assert rows(server) == before


def test_an_older_copy_that_is_forced_becomes_another_owner_and_the_newer_one_is_told(
    mine: Path, server: Postgres
) -> None:
    copy = copied(mine)
    swept(mine, None, replace(STUDY, trials=4))
    newest = rows(server)
    rebuilt = rebuild(STUDY, RunFolder(copy), identity(STUDY), force=True)
    assert rows(server, rebuilt.kept[0]) == newest
    swept(copy, None, replace(STUDY, trials=4))
    before = rows(server)
    for force in (False, True):
        with pytest.raises(Refused, match=f"is taken by {platform.node()}:{copy.resolve()}"):
            rebuild(STUDY, RunFolder(mine), identity(STUDY), force=force)
    with pytest.raises(Refused, match=f"is taken by {platform.node()}:{copy.resolve()}"):
        swept(mine, None, replace(STUDY, trials=5))
    assert rows(server) == before

    server.fresh()
    elsewhere = server.url
    with pytest.raises(Refused, match="or move it there: hpo rebuild STUDY --storage URL"):
        hpo.sweep(STUDY, runs=mine.parent, storage=elsewhere, backend="inline", device="cpu", force=True)
    assert rebuild(STUDY, RunFolder(mine, elsewhere), identity(STUDY)).trials == 4
    swept(mine, None, replace(STUDY, trials=5))
    assert RunFolder(mine).storage == elsewhere
    assert len(rows(server)) == 5


def test_a_study_moves_to_another_database_only_with_all_that_the_one_before_knows(
    folder: Path, server: Postgres
) -> None:
    swept(folder, None)
    kept = folder.parent / "kept"
    (folder / "sweep" / "0002").rename(kept)
    with pytest.raises(Refused, match=r"study\.db knows 1 finished trial that"):
        rebuild(STUDY, RunFolder(folder, server.url), identity(STUDY))
    assert not (folder / "storage").exists()
    kept.rename(folder / "sweep" / "0002")
    rebuild(STUDY, RunFolder(folder, server.url), identity(STUDY))
    swept(folder, None)
    assert len(rows(server)) == 3


@pytest.mark.soak
def test_a_forced_rebuilding_that_is_killed_leaves_a_study_that_is_still_ours(mine: Path, server: Postgres) -> None:
    copy, at = copied(mine), 1
    swept(mine, None, replace(STUDY, trials=4))

    def force() -> None:
        rebuild(STUDY, RunFolder(copy), identity(STUDY), force=True)

    while (code := code_of(start(force, die_at=at))) != 0:
        assert code == -signal.SIGKILL
        with suppress(Damaged):  # it is the older copy again, and not "taken"
            require_claimable(RunFolder(copy), "victims")
        at += 17
    assert at > 30
    swept(copy, None)
    assert len(ids_of(RunFolder(copy))) == 1


def test_a_change_that_an_older_copy_does_not_know_is_not_overwritten(mine: Path, server: Postgres) -> None:
    copy = copied(mine)
    swept(mine, None, replace(WIDER, trials=4), accept=["space"])
    before = rows(server, "victims@2")
    assert len(before) == 4
    with pytest.raises(Damaged, match="sweep: trial 3, complete, "):
        swept(copy, None)
    shutil.copytree(mine / "sweep" / "0003", copy / "sweep" / "0003")
    with pytest.raises(Damaged, match=r"another change .* was accepted before, in .*'victims@2'"):
        swept(copy, None, replace(STUDY, space={**STUDY.space, "task.shift": uniform(-3, 3)}), accept=["space"])
    assert rows(server, "victims@2") == before


# -- folders and databases of before -----------------------------------------------------------------------------------
def test_a_study_of_before_goes_on_and_gets_its_id(mine: Path, server: Postgres) -> None:
    before = rows(server)
    without_ids(mine, server)
    with pytest.raises(Refused, match="is taken by another folder, which an older version of hpo did not name"):
        swept(another(mine), server)
    older = copied(mine)
    shutil.rmtree(older / "sweep" / "0002")
    with pytest.raises(Damaged, match=r"lack:\n  sweep: trial 2, "):
        swept(older, None)
    swept(mine, None)
    assert rows(server) == before
    owner = server.query("SELECT value_json FROM study_user_attributes WHERE key = 'owner'")[0][0]
    assert ids_of(RunFolder(mine))[0] in owner
    with pytest.raises(Refused, match="is taken by"):  # it has no id, and lacks a trial
        swept(older, None)
    shutil.copytree(mine / "sweep" / "0002", older / "sweep" / "0002")
    swept(older, None)  # a copy, as its trials say
    assert ids_of(RunFolder(older)) == ids_of(RunFolder(mine))


def test_a_folder_of_before_does_not_take_the_unmarked_study_of_another(mine: Path, server: Postgres) -> None:
    """The trials have the same numbers, and other parameters."""
    before = rows(server)
    without_ids(mine, server)
    other, study = another(mine), replace(STUDY, seed=1)
    swept(other, None, study)
    for name in ("owner", "study.db"):
        (other / name).unlink()
    with pytest.raises(Refused, match="knows 2 finished trials that"):  # trial 0 is the default in both
        rebuild(study, RunFolder(other, server.url), identity(study))
    assert rows(server) == before
