"""A study under fire, for the soak: its command, the faults that can strike it, and what they excuse."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hpo.cli.main
from hpo import retrying
from hpo.storage import sqlite
from tests.faults import check, processes
from tests.faults.processes import alive, children, end_group, forked_workers, start
from tests.faults.servers import Dask, Postgres
from tests.faults.studies import at_work

STUDY = str(Path(__file__).with_name("soaked.py"))
KILLED = -signal.SIGKILL
ENDED_BY = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR2: 75}
HALTED, DAMAGED, REFUSED, TRIALS_FAILED, IN_USE = 74, 65, 2, 70, 73


@dataclass
class Scene:
    """One study in one folder. `excused` are the codes that its command may end with beside 0."""

    runs: Path
    mode: str  # "sequential", "parallel" or "many"
    seed: int
    deed: str
    is_ladder: bool
    rng: random.Random
    disk: Path | None  # the small disk that it lies on, if it does
    server: Postgres | None = None
    cluster: Dask | None = None
    verb: str = "sweep"
    pid: int = 0
    excused: set[int] = field(default_factory=set)
    exact: bool = True  # every row must be that of the unbroken study
    tainted: bool = False  # a trial may have failed: it does on purpose, or the database lied about it
    pids: list[int] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.runs / "soaked"

    @property
    def log(self) -> Path:
        return self.runs.parent / f"{self.runs.name}.log"

    def command(self, verb: str) -> int:
        """`hpo VERB` in a process of its own; returns its id."""
        words = ["hpo", verb, STUDY, "--runs", str(self.runs)]
        if verb in ("sweep", "rebuild"):  # damaged records are not read: their trials are trained again
            words += ["--force"]
        if self.server:
            words += ["--storage", self.server.url]
        if verb in ("sweep", "promote"):
            words += ["--device", "cpu", *self._where()]
        if verb == "retry":
            words += ["--failed"]
        hasty = self.rng.random() < 0.3

        def act() -> None:
            self._redirect()
            sys.argv = words
            os.environ.update(
                SOAK_SEED=str(self.seed), SOAK_DEED=self.deed, SOAK_LADDER="yes" if self.is_ladder else ""
            )
            sqlite.BUSY_S, retrying.PATIENCE_S = 0.3, 1.0 if hasty else 600.0
            try:
                if self.mode == "many":
                    hpo.cli.main.main()
                with forked_workers():
                    hpo.cli.main.main()
            except SystemExit as ended:
                os._exit(ended.code or 0)

        if hasty:
            self.excused.add(HALTED)
        pid = start(act)
        processes._started.discard(pid)  # it may end as it likes
        self.pids.append(pid)
        return pid

    def _where(self) -> list[str]:
        if self.mode == "many":
            return ["--backend", "dask", "--scheduler", self.cluster.address]
        return ["--workers", "1" if self.mode == "sequential" else "2"]

    def _redirect(self) -> None:
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)

    def workers(self) -> list[int]:
        return at_work(self.folder) if self.mode == "many" else children(self.pid)

    def holds(self) -> bool:
        """Whether the command has come to hold the study. Before that, what moves is the jobs of the one before."""
        lock = self.folder / "lock"
        return lock.exists() and lock.read_text().startswith(f"process {self.pid} ")

    def progress(self) -> set[Path]:
        """Files that tell of an epoch or of a result."""
        return {
            path
            for pattern in ("*/*/epoch-*.pt", "*/*/paused.json", "*/*/result.json", "verdict.json")
            for path in self.folder.glob(pattern)
        }


# -- faults while it runs: each returns whether it struck --------------------------------------------------------------
def worker_killed(scene: Scene) -> bool:
    workers = scene.workers()
    if not workers:
        return False
    return _kill(scene.rng.choice(workers), signal.SIGKILL)


def worker_stopped_for_a_while(scene: Scene) -> bool:
    workers = scene.workers()
    worker = scene.rng.choice(workers) if workers else 0
    if not worker or not _kill(worker, signal.SIGSTOP):
        return False
    time.sleep(scene.rng.uniform(0.2, 1.0))
    return _kill(worker, signal.SIGCONT)


def coordinator_killed(scene: Scene) -> bool:
    scene.excused.add(KILLED)
    return _kill(scene.pid, signal.SIGKILL)


def everything_killed(scene: Scene) -> bool:
    scene.excused.add(KILLED)
    end_group(scene.pid)
    return True


def signalled(scene: Scene) -> bool:
    """Ctrl-C, or as a batch system asks: to the command, or to all of its processes."""
    number = scene.rng.choice(list(ENDED_BY))
    scene.excused |= {ENDED_BY[number]}
    if scene.rng.random() < 0.5:
        return _kill(scene.pid, number)
    os.killpg(scene.pid, number)
    return True


def second_coordinator(scene: Scene) -> bool:
    second = scene.command(scene.verb)
    code = processes.code_of(second)
    if code not in (IN_USE, *([0] if not alive(scene.pid) else [])) and alive(scene.pid):
        raise AssertionError(f"a second coordinator ended with {code}")
    return code == IN_USE


def disk_full(scene: Scene) -> bool:
    if scene.disk is None:
        return False
    scene.excused.add(HALTED)
    ballast = scene.disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    time.sleep(scene.rng.uniform(0.2, 2.0))
    ballast.unlink()
    return True


def database_locked(scene: Scene) -> bool:
    seconds = scene.rng.uniform(0.5, 3.0)
    if scene.server:
        import psycopg

        with psycopg.connect(scene.server.url) as connection:
            connection.execute("LOCK TABLE trials IN ACCESS EXCLUSIVE MODE")
            time.sleep(seconds)
        return True
    if not scene.folder.joinpath("study.db").exists():
        return False
    with closing(sqlite3.connect(scene.folder / "study.db", timeout=60, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
    return True


def server_crashed(scene: Scene) -> bool:
    scene.server.stop()
    time.sleep(scene.rng.uniform(0, 2))
    scene.server.start()
    scene.excused |= {HALTED, REFUSED}  # a hasty command does not wait for it; one that begins meanwhile is refused
    return True


def scheduler_killed(scene: Scene) -> bool:
    """With all workers; and all are started again."""
    scene.excused.add(HALTED)
    scene.cluster.kill_scheduler()
    processes.until(lambda: not alive(scene.pid))
    scene.cluster.stop()
    scene.cluster.start_scheduler()
    scene.cluster.start_workers(2)
    return True


# -- faults while it is stopped ----------------------------------------------------------------------------------------
def checkpoint_damaged(scene: Scene) -> bool:
    return _spoil(scene, list(scene.folder.glob("*/*/epoch-*.pt")))


def record_damaged(scene: Scene) -> bool:
    """Of a trial that has ended or paused: what it came to is lost, and it is trained again, among others than
    before."""
    records = [path for name in ("result", "trial", "paused") for path in scene.folder.glob(f"sweep/*/{name}.json")]
    struck = _spoil(scene, records)
    if struck:
        scene.exact = False
        scene.excused |= {DAMAGED}
    return struck


def database_damaged(scene: Scene) -> bool:
    """Cut, wiped, removed, or one bit of it flipped, which may be anywhere."""
    database = scene.folder / "study.db"
    if scene.server:
        scene.server.query(
            scene.rng.choice(
                [
                    "UPDATE trial_values SET value = value - 1",
                    "DELETE FROM trial_params WHERE trial_id % 2 = 0",
                    "UPDATE trials SET state = 'FAIL' WHERE state = 'COMPLETE'",
                    "UPDATE trial_intermediate_values SET intermediate_value = intermediate_value + 1",
                ]
            )
        )
        scene.tainted = True  # a trial that runs has reported something else than it will compute
        scene.exact = False
    elif not database.exists():
        return False
    else:
        kind = scene.rng.choice(["cut", "empty", "gone", "flip", "flip", "page"])
        content = bytearray(database.read_bytes())
        if kind == "gone":
            database.unlink()
        elif kind == "flip":
            content[scene.rng.randrange(len(content))] ^= 1 << scene.rng.randrange(8)
            database.write_bytes(content)
            scene.tainted, scene.exact = True, False
        elif kind == "page":
            at = scene.rng.randrange(len(content) // 4096) * 4096
            content[at : at + 4096] = bytes(4096)
            database.write_bytes(content)
            scene.tainted, scene.exact = True, False
        else:
            os.truncate(database, len(content) // 2 if kind == "cut" else 0)
    scene.excused |= {DAMAGED, REFUSED}
    return True


def log_cut(scene: Scene) -> bool:
    log = scene.folder / "events.log"
    if not log.exists() or log.stat().st_size < 10:
        return False
    os.truncate(log, log.stat().st_size - scene.rng.randrange(1, 10))
    return True


def failed_trials_retried(scene: Scene) -> bool:
    """By their owner, who does not know that some of them fail on purpose. Those that hang would take too long."""
    if scene.deed == "hang" or not any(record["state"] == "failed" for record in _results(scene)):
        return False
    code = processes.code_of(scene.command("retry"))
    if code not in (0, DAMAGED, REFUSED, *scene.excused):
        raise AssertionError(f"hpo retry ended with {code}")
    scene.exact = False
    return True


def _results(scene: Scene) -> list[dict[str, Any]]:
    """The records of the trials that have ended, without those that were damaged."""
    records = []
    for path in scene.folder.glob("sweep/*/result.json"):
        with suppress(ValueError):
            records.append(json.loads(path.read_bytes()))
    return records


def namesake_tries(scene: Scene) -> bool:
    """A colleague's study of the same name, in a folder of his own: he is told that the name is taken."""
    return _refused(scene, lambda folder: None, {REFUSED})


def older_copy_tries(scene: Scene) -> bool:
    """A copy of the folder that lacks a finished trial, as a backup does."""

    def copy(folder: Path) -> None:
        shutil.copytree(scene.folder, folder)
        shutil.rmtree(folder / "sweep" / f"{scene.rng.choice(_finished(scene)):04d}")

    return _refused(scene, copy, {DAMAGED, REFUSED})


def _refused(scene: Scene, prepare: Callable[[Path], None], codes: set[int]) -> bool:
    """Let another folder sweep and rebuild in the database of this one: both are refused, and nothing changes there."""
    if not scene.server or not scene.folder.joinpath("owner").exists() or not _finished(scene):
        return False
    other = replace(scene, runs=scene.runs.with_name(f"{scene.runs.name}-other"), pids=[])
    other.runs.mkdir()
    prepare(other.folder)
    before = scene.server.query("SELECT trial_id, state FROM trials ORDER BY trial_id")
    for verb in ("sweep", "promote"):
        code = processes.code_of(other.command(verb))
        if code not in codes:
            raise AssertionError(f"hpo {verb} in another folder ended with {code}; allowed were {codes}")
    if scene.server.query("SELECT trial_id, state FROM trials ORDER BY trial_id") != before:
        raise AssertionError("another folder changed the trials")
    shutil.rmtree(other.runs)
    other.log.unlink(missing_ok=True)
    return True


def _finished(scene: Scene) -> list[int]:
    """The trials that have ended, says the server. A record that was damaged since is no end: its trial goes on."""
    rows = check.rows(scene.server.query, "soaked")
    return [number for number, row in rows.items() if row["state"] not in ("RUNNING", "WAITING")]


def _spoil(scene: Scene, paths: list[Path]) -> bool:
    if not paths:
        return False
    path = scene.rng.choice(sorted(paths))
    content = bytearray(path.read_bytes())
    if content and scene.rng.random() < 0.5:
        content[scene.rng.randrange(len(content))] ^= 1 << scene.rng.randrange(8)
    else:
        del content[scene.rng.randrange(len(content) + 1) :]
    path.write_bytes(content)
    return True


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


Fault = Callable[[Scene], bool]
ANYWHERE: list[Fault] = [coordinator_killed, signalled, second_coordinator, disk_full, database_locked]
WHILE_IT_RUNS: dict[str, list[Fault]] = {
    "sequential": [*ANYWHERE, coordinator_killed],
    "parallel": [*ANYWHERE, worker_killed, worker_killed, everything_killed, worker_stopped_for_a_while],
    "many": [*ANYWHERE, worker_killed, worker_killed, worker_stopped_for_a_while, server_crashed, scheduler_killed],
}
WHILE_IT_IS_STOPPED: list[Fault] = [
    checkpoint_damaged,
    checkpoint_damaged,
    record_damaged,
    database_damaged,
    log_cut,
    failed_trials_retried,
    failed_trials_retried,
    namesake_tries,
    older_copy_tries,
]
