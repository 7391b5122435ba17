"""Faults that strike the study of a scene while its command runs."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing

from tests.faults import processes
from tests.faults.processes import alive, end_group
from tests.faults.scene import ENDED_BY, HALTED, IN_USE, KILLED, REFUSED, Fault, Scene


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


def _kill(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


ANYWHERE: list[Fault] = [coordinator_killed, signalled, second_coordinator, disk_full, database_locked]
WHILE_IT_RUNS: dict[str, list[Fault]] = {
    "sequential": [*ANYWHERE, coordinator_killed],
    "parallel": [*ANYWHERE, worker_killed, worker_killed, everything_killed, worker_stopped_for_a_while],
    "many": [*ANYWHERE, worker_killed, worker_killed, worker_stopped_for_a_while, server_crashed, scheduler_killed],
}
