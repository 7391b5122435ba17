"""Processes that can be killed: forked from this one, so that torch is imported once."""

from __future__ import annotations

import faulthandler
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy

from hpo.storage import database
from hpo.workers import coordinator, local, process

_started: set[int] = set()


def start(act: Callable[[], Any], *, die_at: int = 0, with_signal: int = signal.SIGKILL) -> int:
    """Run `act` in a child with a session of its own; returns its id. It exits with 0, or 1 where `act` raises.

    With `die_at`, the child sends itself the signal at that moment: before a commit to a storage, before the rename of
    a file, or before the removal of one.
    """
    pid = os.fork()
    if pid:
        _started.add(pid)
        return pid
    code = 1
    try:
        _started.clear()  # they are the parent's
        os.setsid()  # not setpgid: an orphaned group of the same session would be sent SIGHUP
        database._opened_once.cache_clear()  # connections do not survive a fork
        faulthandler.register(signal.SIGUSR1, file=2)  # where it hangs: see code_of
        if die_at:
            _die(die_at, with_signal)
        act()
        code = 0
    except BaseException as error:
        if not isinstance(error, KeyboardInterrupt):
            traceback.print_exc()
    finally:
        os._exit(code)


def _die(at: int, number: int) -> None:
    moments = 0

    def moment(*_: Any) -> None:
        nonlocal moments
        moments += 1
        if moments == at:
            os.kill(os.getpid(), number)

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", moment)
    sys.addaudithook(lambda name, arguments: moment() if name in ("os.rename", "os.remove") else None)


def code_of(pid: int, seconds: float = 900) -> int:
    """Wait until the process has ended: its exit code, or minus the signal."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            _started.discard(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)  # it prints its stacks
    time.sleep(1)
    end_group(pid)
    raise AssertionError(f"process {pid} has not ended after {seconds} s; its stacks are in its output")


def end_group(pid: int) -> None:
    """SIGKILL a process started here, with all that it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def end_all() -> None:
    """SIGKILL what is left of all that was started here, and wait for its end."""
    for pid in tuple(_started):
        end_group(pid)
        with suppress(ChildProcessError):  # the test has waited for it
            os.waitpid(pid, 0)
        _started.discard(pid)


def children(pid: int) -> list[int]:
    """Of a process, directly."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return state(pid) not in ("", "Z")


def state(pid: int) -> str:
    """The kernel's letter for what a process does: T when it is stopped, Z for a zombie; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def waits_for_lock(pid: int) -> bool:
    """Whether a process is blocked in its request for a lock of a file."""
    waiting = (line.split() for line in Path("/proc/locks").read_text().splitlines() if "->" in line)
    return any(str(pid) in fields for fields in waiting)


def group(pid: int) -> list[int]:
    """The living processes of a group."""
    members = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == pid and fields[0] != "Z":
                members.append(int(entry.name))
    return members


def until(holds: Callable[[], Any], seconds: float = 600) -> Any:
    """Wait for a condition; returns its value. Fails at once where a process that was started here has failed."""
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        for pid in _started:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            assert not ended or ended.si_code != os.CLD_EXITED or not ended.si_status, f"process {pid} failed: {ended}"
        assert time.monotonic() < deadline, f"the condition did not come true within {seconds} s"
        time.sleep(0.01)
    return value


class Forks(local.Backend):
    """One forked process a job: what loky's do, without the import of torch in each."""

    workers = 1

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pids: set[int] = set()

    def submit(self, fn: Callable, /, *args, **kwargs) -> Future:
        reading, writing = os.pipe()
        coordinator, future = os.getpid(), Future()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _work(writing, coordinator, lambda: local._prepared(fn, *args, **kwargs))
        os.close(writing)
        self._pids.add(pid)
        threading.Thread(target=self._wait, args=(pid, reading, future), daemon=True).start()
        return future

    def _wait(self, pid: int, reading: int, future: Future) -> None:
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        os.waitpid(pid, 0)
        self._pids.discard(pid)
        if not content:
            future.set_exception(BrokenExecutor(f"process {pid} died"))
            return
        kind, value = pickle.loads(content)
        (future.set_result if kind == "result" else future.set_exception)(value)

    def kill(self) -> None:
        for pid in list(self._pids):
            os.kill(pid, signal.SIGKILL)


def _work(writing: int, coordinator: int, act: Callable[[], Any]) -> None:
    """In the child; never returns."""
    try:
        database._opened_once.cache_clear()
        process._start_worker(coordinator)
        try:
            outcome = ("result", act())
        except BaseException as error:
            outcome = ("raised", error)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(pickle.dumps(outcome))
    finally:
        os._exit(0)


@contextmanager
def forked_workers() -> Iterator[None]:
    """Sweeps and promotions of this process run on Forks."""
    real = coordinator.executor

    def executor(workers: int, *_: Any, **__: Any) -> local.Backend:
        return Forks(workers) if workers > 1 else real(1, "inline")

    coordinator.executor = executor
    try:
        yield
    finally:
        coordinator.executor = real
