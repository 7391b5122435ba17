"""Where studies are kept: folders, locks and the database. Disks that fill and databases that break: tests/faults."""

from __future__ import annotations

import os
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from pydantic import TypeAdapter

from hpo.errors import Refused
from hpo.files import write_json, write_whole
from hpo.promotion.export import write_pictures
from hpo.storage.database import open_storage, open_study
from hpo.storage.folder import RunFolder
from hpo.storage.locks import lease, study_lock
from hpo.trial import record

IDENTITY = {"space": "0123", "code": "4567"}


@pytest.fixture
def tmp_path(memory_disk: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=memory_disk))


def opened(folder: RunFolder, **changes) -> optuna.Study:
    folder.make()
    return open_study(folder, "sweep", "ris", "minimize", IDENTITY | changes)


def everything(path: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


# -- folders -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["with space", "a%20b?c#d&e=f{g}ü'h\"i;j+k@l:m~n%s"])
def test_a_study_can_be_kept_in_a_folder_of_any_name(tmp_path: Path, name: str) -> None:
    """A database is named by a URL and a folder is not: what means something in one must not in the other."""
    folder = RunFolder(tmp_path / name / "ris")
    study = opened(folder)
    study.add_trial(optuna.create_trial(value=0.5))
    assert [trial.value for trial in opened(folder).trials] == [0.5]
    assert optuna.load_study(study_name="ris", storage=open_storage(folder.storage)).trials[0].value == 0.5
    assert (tmp_path / name / "ris" / "study.db").is_file()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_relative_folder_stays_where_it_was_when_the_process_moves(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(Path("runs/ris"))
    url = folder.storage
    opened(folder)
    monkeypatch.chdir("/")
    assert optuna.load_study(study_name="ris", storage=open_storage(url)).study_name == "ris"


def test_a_run_folder_that_cannot_be_written_is_refused_with_the_cause_and_the_way_out(tmp_path: Path) -> None:
    """Root ignores modes, so: a file in the way, a file above, a file system that takes no folders, a name too long."""
    (tmp_path / "file").write_text("mine")
    before = everything(tmp_path)
    for path, cause in (
        (tmp_path / "file", "file"),
        (tmp_path / "file" / "ris", "file"),
        (Path("/proc/hpo/ris"), "No such file or directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(Refused, match=r"^the run folder .* must be a folder that can be written: ") as error:
            opened(RunFolder(path))
        assert str(path) in str(error.value)
        assert cause in str(error.value)
        assert "--runs DIR" in str(error.value)
    assert everything(tmp_path) == before


def test_a_folder_in_which_everybody_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs").chmod(0o777)
    with pytest.raises(Refused, match="world-writable; run chmod o-w"):
        RunFolder(tmp_path / "runs").make()


# -- the lock ------------------------------------------------------------------------------------------------------
def hold(path: Path) -> int:
    """A process that holds the study until it is killed; its id, once it does."""
    pid = os.fork()
    if pid == 0:
        try:
            with study_lock(RunFolder(path)):
                (path / "held").touch()
                time.sleep(60)
        finally:
            os._exit(1)
    while not (path / "held").exists():
        time.sleep(0.01)
    return pid


def test_who_holds_a_study_is_named_and_the_kernel_frees_it_when_he_dies(tmp_path: Path) -> None:
    pid = hold(tmp_path)
    try:
        with (
            pytest.raises(Refused, match=rf"{tmp_path} is in use by process {pid}\b.*; wait until"),
            study_lock(RunFolder(tmp_path)),
        ):
            pass
        with pytest.raises(Refused, match=f"process {pid}"), study_lock(RunFolder(tmp_path)):
            pass  # being refused does not take it over
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with study_lock(RunFolder(tmp_path)):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()
    with study_lock(RunFolder(tmp_path)):
        pass


# -- the database --------------------------------------------------------------------------------------------------
def test_every_connection_syncs_fully_and_keeps_a_rollback_journal(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    opened(folder)
    for storage in (open_storage(folder.storage, create=True), open_storage(folder.storage)):
        engine = storage._backend.engine
        with engine.connect() as one, engine.connect() as other:
            for connection in (one, other):
                assert connection.execute(sqlalchemy.text("PRAGMA synchronous")).scalar() == 2  # FULL
                assert connection.execute(sqlalchemy.text("PRAGMA journal_mode")).scalar() == "delete"


def test_only_a_sweep_creates_a_storage(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"there is no storage .*study\.db; a sweep makes it"):
        open_storage(RunFolder(tmp_path).storage)
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_asked_something_else_is_refused_part_by_part_and_left_as_it_was(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    opened(folder)
    before = everything(tmp_path)
    with pytest.raises(Refused) as error:
        opened(folder, space="ffff", data="89ab")
    said = str(error.value).splitlines()
    assert said[0] == "study 'ris' exists with other data, space:"
    assert said[1:3] == ["  data: None there, 89ab now", "  space: 0123 there, ffff now"]
    assert "another name" in said[3]
    assert everything(tmp_path) == before


def test_a_study_whose_creator_was_killed_before_it_wrote_the_identity_is_a_new_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.make()
    optuna.create_study(study_name="ris", storage=open_storage(folder.storage, create=True), direction="minimize")
    assert opened(folder).user_attrs["identity"] == IDENTITY
    with pytest.raises(Refused, match="exists with other code"):
        opened(folder, code="ffff")


def test_trials_of_a_study_that_is_not_ours_are_not_adopted(tmp_path: Path) -> None:
    """Somebody's own Optuna study of that name, without an identity."""
    folder = RunFolder(tmp_path)
    folder.make()
    theirs = optuna.create_study(study_name="ris", storage=open_storage(folder.storage, create=True))
    theirs.add_trial(optuna.create_trial(value=0.0))
    with pytest.raises(Refused, match="exists with other code, space"):
        opened(folder)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    (tmp_path / "study.db").write_bytes(b"my notes" * 100)
    with pytest.raises(Refused, match=r"study.db is damaged \(file is not a database\)"):
        opened(folder)
    assert (tmp_path / "study.db").read_bytes() == b"my notes" * 100


def test_a_database_that_is_missing_beside_its_trials_is_no_new_study(tmp_path: Path) -> None:
    """Else the results that lie there would be taken for those of other configurations."""
    folder = RunFolder(tmp_path)
    folder.trial("sweep", 0).mkdir(parents=True)
    for make_empty in (False, True):
        if make_empty:
            (tmp_path / "study.db").touch()
        with pytest.raises(Refused, match="but 1 trials lie in"):
            opened(folder)
    with sqlite3.connect(tmp_path / "study.db") as other:
        other.execute("CREATE TABLE notes (line TEXT)")
    with pytest.raises(Refused, match="knows nothing of the 1 trials"):
        opened(folder)


# -- who may write -------------------------------------------------------------------------------------------------
def test_nobody_else_may_write_what_is_made_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = RunFolder(tmp_path / "new" / "runs" / "ris")
        opened(folder)
        with study_lock(folder), lease(folder.trial("sweep", 0)):
            write_json(folder.trial("sweep", 0) / "trial.json", {})
            write_whole(folder.path / "winner" / "weights", b"")
            write_pictures(folder.pictures, [])
    finally:
        os.umask(before)
    made = list((tmp_path / "new").rglob("*"))
    assert len(made) > 10
    assert {oct(path.stat().st_mode & 0o777) for path in [tmp_path / "new", *made] if path.is_dir()} == {"0o755"}
    assert {oct(path.stat().st_mode & 0o777) for path in made if path.is_file()} == {"0o644"}


def test_what_reads_the_records_of_trials_is_made_once_for_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume reads the records of every trial."""
    made: list[type] = []
    monkeypatch.setattr(record, "_READERS", {})
    monkeypatch.setattr(record, "TypeAdapter", lambda kind: made.append(kind) or TypeAdapter(kind))
    ended = record.Outcome("failed", reason="diverged")
    for number in range(3):
        record.write_outcome(tmp_path / str(number), ended, "inputs")
    assert [record.read_outcome(tmp_path / str(number)) for number in range(3)] == [ended] * 3
    assert made == [record.Outcome]
