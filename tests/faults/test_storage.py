"""Disks that are full, databases that are locked, cut, wiped or lied in, checkpoints and records that are damaged: the
trials wait, fall back, or are refused with the way out named. Nothing damaged is taken for good, and what is rebuilt
equals what was there."""

from __future__ import annotations

import importlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from hpo import retrying
from hpo.engine.checkpoint_files import reached
from hpo.errors import Damaged, Halted, Refused
from hpo.promotion.promote import promote
from hpo.search.sweep import sweep
from hpo.space import choose
from hpo.storage import sqlite
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from tests.faults.processes import alive, code_of, start, until
from tests.faults.studies import (
    INTERRUPTED,
    Victim,
    asked,
    checked,
    coordinator,
    each_as_undisturbed,
    events,
    interrupted,
    stored,
    swept,
    victims,
)

UNTOLD = ("seconds",)  # the clock is not promised


def rows(folder: Path) -> dict:
    found = stored(folder)
    for row in found.values():
        row["attributes"] = {key: value for key, value in row["attributes"].items() if key not in UNTOLD}
    return found


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Path:
    """A finished sweep and one that was interrupted, to be copied and damaged."""
    base = tmp_path_factory.mktemp("once")
    swept(victims(trials=6), base / "finished" / "victims")
    interrupted(base / "interrupted" / "victims")
    swept(INTERRUPTED, base / "unbroken" / "victims")
    return base


@pytest.fixture
def finished(once: Path, folder: Path) -> Path:
    shutil.copytree(once / "finished" / "victims", folder)
    return folder


@pytest.fixture
def broken_off(once: Path, folder: Path) -> Path:
    shutil.copytree(once / "interrupted" / "victims", folder)
    return folder


# -- checkpoints and records ------------------------------------------------------------------------------------------
def _cut(length: Callable[[int], int]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        newest = max(folder.glob("epoch-*.pt"))
        newest.write_bytes(newest.read_bytes()[: length(newest.stat().st_size)])

    return damage


def _flip(seed: int) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        rng = random.Random(seed)
        for path in folder.glob("epoch-*.pt") if seed % 2 else [max(folder.glob("epoch-*.pt"))]:
            content = bytearray(path.read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)

    return damage


def _remove_all(folder: Path) -> None:
    for path in folder.glob("epoch-*.pt"):
        path.unlink()


DAMAGES = {
    "empty": _cut(lambda size: 0),
    "one byte": _cut(lambda size: 1),
    "half": _cut(lambda size: size // 2),
    "one byte short": _cut(lambda size: size - 1),
    "all gone": _remove_all,
    "folder gone": shutil.rmtree,
    **{f"flip {seed}": _flip(seed) for seed in range(8)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_noticed_and_the_trial_comes_out_the_same(
    broken_off: Path, once: Path, damage: Callable[[Path], None]
) -> None:
    damage(broken_off / "sweep" / "0001")
    swept(INTERRUPTED, broken_off)
    checked(broken_off, 3)
    assert rows(broken_off) == rows(once / "unbroken" / "victims")


def test_the_checkpoint_of_another_trial_is_not_gone_on_from(broken_off: Path) -> None:
    """Its checksum holds. The trial fails with the reason; the others are as they would have been."""
    mine, other = broken_off / "sweep" / "0001", broken_off.parent / "other"
    interrupted(other, victims(trials=1, pruning=None, seed=7), trial=0)
    _remove_all(mine)
    for path in other.glob("sweep/0000/epoch-*"):
        shutil.copy(path, mine)
    swept(INTERRUPTED, broken_off)
    assert stored(broken_off)[1]["state"] == "FAIL"
    assert "holds another run" in stored(broken_off)[1]["attributes"]["reason"]


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[1]", b'{"state": "complete", "value": 0.0}', b"\xff\xfe"])
def test_a_result_that_is_not_whole_is_no_result(broken_off: Path, once: Path, content: bytes) -> None:
    (broken_off / "sweep" / "0001" / "result.json").write_bytes(content)
    swept(INTERRUPTED, broken_off)
    assert rows(broken_off) == rows(once / "unbroken" / "victims")


def test_a_result_with_a_digit_changed_is_no_result(finished: Path) -> None:
    path = next(path for path in finished.glob("sweep/*/result.json") if '"complete"' in path.read_text())
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "seconds": record["seconds"] + 1}))
    with pytest.raises(Damaged, match=r"its result\.json is missing or damaged"):
        swept(victims(trials=6), finished)


def test_a_result_that_was_not_told_is_told_and_not_trained_again(finished: Path) -> None:
    """As after a kill between the two."""
    before, starts = rows(finished), len(events(finished, "start"))
    with closing(sqlite3.connect(finished / "study.db")) as connection:
        connection.execute("UPDATE trials SET state = 'RUNNING' WHERE number = 5")
        connection.execute("DELETE FROM trial_values WHERE trial_id = 6")
        connection.commit()
    swept(victims(trials=6), finished)
    assert rows(finished) == before
    assert len(events(finished, "start")) == starts


def test_a_trial_that_comes_out_otherwise_after_its_interruption_fails_and_says_so(broken_off: Path) -> None:
    """Its surroundings have changed: here, what it had reported. The two curves are not mixed."""
    with closing(sqlite3.connect(broken_off / "study.db")) as connection:
        connection.execute("UPDATE trial_intermediate_values SET intermediate_value = 7 WHERE trial_id = 2")
        connection.commit()
    swept(INTERRUPTED, broken_off)
    assert [row["state"] for row in stored(broken_off).values()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert "reported 7.0 at epoch 0 before it was interrupted" in stored(broken_off)[1]["attributes"]["reason"]


def test_the_result_of_another_trial_is_no_result(broken_off: Path, once: Path) -> None:
    shutil.copy(broken_off / "sweep" / "0000" / "result.json", broken_off / "sweep" / "0001")
    swept(INTERRUPTED, broken_off)
    assert rows(broken_off) == rows(once / "unbroken" / "victims")


# -- the database ------------------------------------------------------------------------------------------------------
def _sql(*statements: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "study.db")) as connection:
            connection.execute("PRAGMA foreign_keys=OFF")
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return damage


def _overwrite(offset: Callable[[int], int], content: bytes) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        with open(folder / "study.db", "r+b") as file:
            file.seek(offset((folder / "study.db").stat().st_size))
            file.write(content)

    return damage


LOSSES = {
    "missing": lambda folder: (folder / "study.db").unlink(),
    "empty": lambda folder: (folder / "study.db").write_bytes(b""),
    "truncated": lambda folder: os.truncate(folder / "study.db", (folder / "study.db").stat().st_size // 2),
    "text": lambda folder: (folder / "study.db").write_bytes(b"this was a database\n" * 500),
    "header": _overwrite(lambda size: 0, b"\0" * 100),
    "page": _overwrite(lambda size: size // 4096 // 2 * 4096, b"\0" * 4096),
    "state flipped": _sql("UPDATE trials SET state = 'COMPLETF' WHERE number = 2"),
    "state changed": _sql("UPDATE trials SET state = 'FAIL' WHERE number = 2"),
    "value changed": _sql("UPDATE trial_values SET value = -1.0 WHERE trial_id = 3"),
    "params gone": _sql("DELETE FROM trial_params WHERE trial_id = 3"),
    "last trial gone": _sql("DELETE FROM trials WHERE number = 5"),
    "first trial gone": _sql("DELETE FROM trials WHERE number = 0"),
    "study gone": _sql("DELETE FROM studies"),
    "all rows gone": _sql("DELETE FROM trials", "DELETE FROM studies"),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_damaged_storage_is_refused_and_rebuilt_equal(finished: Path, lose: Callable[[Path], None]) -> None:
    before, study = rows(finished), victims(trials=6)
    lose(finished)
    left = {path: path.read_bytes() for path in finished.glob("study.db*")}
    with pytest.raises(Damaged, match="hpo rebuild"):
        swept(study, finished)
    assert {path: path.read_bytes() for path in finished.glob("study.db*")} == left, "a refusal changes nothing"
    rebuilt = rebuild(study, RunFolder(finished), identity(study))
    assert (rebuilt.trials, rebuilt.storage) == (6, RunFolder(finished).storage)
    assert rows(finished) == before
    checked(finished, 6)
    if left and any(left.values()):
        assert [path.read_bytes() for path in finished.glob("study.db.damaged-*")] == list(left.values())
    swept(victims(trials=7), finished)
    checked(finished, 7)


def test_an_interrupted_study_is_rebuilt_and_goes_on_to_the_same_rows(broken_off: Path, once: Path) -> None:
    for lost in broken_off.glob("study.db*"):  # with the journal of a transaction that the kill may have cut off
        lost.unlink()
    assert rebuild(INTERRUPTED, RunFolder(broken_off), identity(INTERRUPTED)).trials == 2
    swept(INTERRUPTED, broken_off)
    checked(broken_off, 3)
    assert rows(broken_off) == rows(once / "unbroken" / "victims")


def test_a_rebuilding_that_is_killed_can_be_repeated(finished: Path) -> None:
    before, study, at = rows(finished), victims(trials=6), 1
    (finished / "study.db").write_bytes(b"junk")
    while (code := code_of(start(lambda: rebuild(study, RunFolder(finished), identity(study)), die_at=at))) != 0:
        assert code == -signal.SIGKILL
        with pytest.raises(Damaged):
            swept(study, finished)
        at += 9
    assert at > 20
    assert rows(finished) == before
    checked(finished, 6)


def test_trials_of_another_question_are_not_rebuilt_into_this_one(finished: Path) -> None:
    other = victims(trials=6, seed=5)
    with pytest.raises(Refused, match="was asked with another seed"):
        rebuild(other, RunFolder(finished), identity(other))


def kept_content(folder: Path) -> dict[Path, bytes]:
    """All files of a study but its lock, which says who has held it last."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


def rebuilt_by_force(study: StudySpec, folder: Path, *, lacking: int) -> None:
    """Rebuild a storage that knows how this trial ended, which its folder does not say. The old file is kept."""
    content = kept_content(folder)
    with pytest.raises(Refused, match=rf"knows 1 finished trial that .* lack:\n  sweep: trial {lacking}, "):
        rebuild(study, RunFolder(folder), identity(study))
    assert kept_content(folder) == content
    rebuilt = rebuild(study, RunFolder(folder), identity(study), force=True)
    assert [(folder / name).read_bytes() for name in rebuilt.kept] == [content[folder / "study.db"]]


def test_a_folder_that_was_removed_is_trained_again_after_a_rebuild(finished: Path) -> None:
    before, study = rows(finished), victims(trials=6, pruning=None)
    shutil.rmtree(finished / "sweep" / "0003")
    with pytest.raises(Damaged, match=r"knows 1 finished trial that .* lack:\n  sweep: trial 3, "):
        swept(victims(trials=6), finished)
    rebuilt_by_force(victims(trials=6), finished, lacking=3)
    swept(victims(trials=6), finished)
    after = rows(finished)
    assert {number: row for number, row in after.items() if number != 3} == {
        number: row for number, row in before.items() if number != 3
    }
    each_as_undisturbed(study, finished)


@pytest.mark.parametrize("number", [0, 3])
def test_a_result_whose_question_was_lost_is_in_a_rebuilt_storage_with_all_its_reports(
    finished: Path, number: int
) -> None:
    """The default is asked again as it was, and its result is found; others are drawn anew and trained."""
    (finished / "sweep" / f"{number:04d}" / "trial.json").write_bytes(b"{")
    with pytest.raises(Damaged, match=rf"trial {number}: its trial\.json is missing or damaged"):
        swept(victims(trials=6), finished)
    rebuilt_by_force(victims(trials=6), finished, lacking=number)
    for _ in range(2):
        swept(victims(trials=6), finished)
        checked(finished, 6)
    each_as_undisturbed(victims(trials=6), finished)


def test_a_journal_that_a_killed_writer_left_is_rolled_back(folder: Path) -> None:
    """Kill between SQLite's write of its rollback journal and its commit, ten times; then go on."""
    for at in range(3, 43, 4):
        if code_of(start(lambda: swept(victims(trials=4), folder), die_at=at)) == 0:
            break
    swept(victims(trials=4), folder)
    checked(folder, 4)


def test_a_database_that_somebody_locks_is_waited_for(folder: Path, monkeypatch, capfd) -> None:
    """A third process holds it exclusively for longer than SQLite itself would wait."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.3)
    study = victims(task=Victim(pace=0.05), trials=4)
    pid = coordinator(study, folder)
    until(lambda: (folder / "study.db").exists() and events(folder, "start"))
    with closing(sqlite3.connect(folder / "study.db", timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        # what a worker says of its waiting is in the log of its trial
        until(lambda: any(event["pid"] == pid for event in events(folder, "waiting")))
        connection.execute("ROLLBACK")
    assert code_of(pid) == 0
    assert "database is locked; waiting" in capfd.readouterr().err
    assert not events(folder, "death")
    assert any("locked" in event["cause"] for event in events(folder, "waiting"))
    checked(folder, 4)
    each_as_undisturbed(study, folder)


def test_a_database_that_stays_locked_stops_the_command_which_then_goes_on(folder: Path, monkeypatch) -> None:
    study = victims(task=Victim(pace=0.05), trials=4)
    monkeypatch.setattr(sqlite, "BUSY_S", 0.2)
    monkeypatch.setattr(retrying, "PATIENCE_S", 1.0)
    swept(victims(task=Victim(pace=0.05), trials=1), folder)
    with closing(sqlite3.connect(folder / "study.db", timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Halted, match="locked"):
            swept(study, folder)
        connection.execute("ROLLBACK")
    swept(study, folder)
    checked(folder, 4)


@pytest.mark.parametrize(
    ("verb", "after"),
    [
        ("sweep", "hpo.trial.objective._trial"),
        ("promote", "hpo.events.keep"),
        ("promote", "hpo.workers.coordinator.drive"),
        ("promote", "hpo.promotion.promote.judge"),
    ],
)
def test_what_asks_a_locked_database_waits_for_the_answer(folder: Path, monkeypatch, verb: str, after: str) -> None:
    """Somebody locks it when a trial has found itself in it; before a promotion's first question; when its last run has
    ended; when it has judged."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.3)
    study, reached, locked = victims(trials=2, seeds=1), folder.parent / "reached", folder.parent / "locked"
    module, _, name = after.rpartition(".")
    step = getattr(importlib.import_module(module), name)

    def taken(*arguments, **more):
        found = step(*arguments, **more)
        reached.touch()
        until(locked.exists)
        return found

    def act() -> None:
        if verb == "promote":
            swept(study, folder)
        setattr(sys.modules[module], name, taken)
        {"sweep": sweep, "promote": promote}[verb](study, RunFolder(folder), identity(study), device="cpu")

    pid = start(act)
    until(reached.exists)
    with closing(sqlite3.connect(folder / "study.db", timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        locked.touch()
        until(lambda: events(folder, "waiting"))
        connection.execute("ROLLBACK")
    assert code_of(pid) == 0
    assert {row["state"] for row in stored(folder).values()} <= {"COMPLETE", "PRUNED"}
    checked(folder, 2)


# -- full disks --------------------------------------------------------------------------------------------------------
@pytest.fixture
def small_disk(tmp_path: Path, warm: None) -> Iterator[Path]:
    """4 MB, in memory."""
    where = tmp_path / "disk"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", where], capture_output=True).returncode:
        pytest.skip("cannot mount a small disk: not root")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


def fill(disk: Path) -> Path:
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_pauses_the_sweep_until_there_is_room(small_disk: Path, workers: int, capfd) -> None:
    folder, study = small_disk / "victims", victims(task=Victim(pace=0.05), trials=4)
    pid = coordinator(study, folder, workers=workers)
    until(lambda: events(folder, "start"))
    ballast = fill(small_disk)
    until(lambda: "waiting" in capfd.readouterr().err)
    before = len(events(folder, "start"))
    ballast.unlink()
    assert code_of(pid) == 0
    assert len(events(folder, "start")) <= 4 + 1
    assert before <= 4
    checked(folder, 4)
    each_as_undisturbed(study, folder)


def test_a_disk_that_stays_full_stops_the_command_and_nothing_half_written_is_left(
    small_disk: Path, monkeypatch
) -> None:
    monkeypatch.setattr(retrying, "PATIENCE_S", 0.5)
    folder, study = small_disk / "victims", victims(task=Victim(pace=0.1), trials=4)

    def act() -> None:
        try:
            swept(study, folder)
        except Halted as halted:
            os._exit(74 if "No space left" in str(halted) or "full" in str(halted) else 1)

    for room in (200_000, 100_000, 30_000, 0):  # it fails at the storage, at a checkpoint, at a record
        pid = start(act)
        until(lambda: any(event["pid"] == pid for event in events(folder, "start")) or not alive(pid))  # noqa: B023
        ballast = fill(small_disk)
        os.truncate(ballast, max(0, ballast.stat().st_size - room))
        code = code_of(pid)
        ballast.unlink()
        assert code in (74, 0)
        if code == 0:
            break
        for record in folder.glob("sweep/*/*.json"):
            json.loads(record.read_text())
    swept(study, folder)
    checked(folder, 4)
    each_as_undisturbed(study, folder)


@pytest.mark.parametrize(("limit", "value"), [(resource.RLIMIT_FSIZE, 1000), (resource.RLIMIT_NOFILE, 3)])
def test_a_disk_that_cannot_be_written_stops_the_command_and_is_no_trials_fault(
    folder: Path, limit: int, value: int, monkeypatch
) -> None:
    """From outside, in the middle of a trial: files may not be larger than 1 kB any more, or none more be opened."""
    monkeypatch.setattr(retrying, "PATIENCE_S", 0.5)
    study = victims(task=Victim(pace=0.2), trials=3)

    def act() -> None:
        try:
            swept(study, folder)
        except Halted:
            os._exit(74)

    pid = start(act)
    until(lambda: reached(folder / "sweep/0000") >= 0)
    resource.prlimit(pid, limit, (value, value))
    assert code_of(pid) == 74
    swept(study, folder)
    checked(folder, 3)
    each_as_undisturbed(study, folder)


def test_a_trial_that_needs_more_memory_than_there_is_fails_for_it(folder: Path) -> None:
    def act() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
        swept(victims(space={"task.deed": choose("", "hoard")}, trials=4, pruning=None, startup_trials=4), folder)

    assert code_of(start(act)) == 0
    greedy = [number for number in stored(folder) if asked(folder, number)["task.deed"] == "hoard"]
    assert greedy
    for number, row in stored(folder).items():
        assert (row["state"] == "FAIL" and "out of memory" in row["attributes"]["reason"]) == (number in greedy)
