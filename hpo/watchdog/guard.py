"""The guard: a small process beside a worker, which ends it where its trial takes more than it may.

It runs this file as a script, with the standard library alone. Nothing that the training does can stop it, not even
native code that never gives Python's lock back. Its orders come through a pipe, a line of JSON each: what to watch from
now on, or null.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

TICK_S = 0.2  # between two looks
IDLE_S = 2.0  # ... where there is nothing to watch
LONGEST_TICK_S = 2.0  # of one look, that counts: longer ones mean that the machine or all its processes were stopped
STACKS_S = 0.5  # for the worker to write its stacks, after the hang limit
DEAREST_SHARE = 0.1  # of the time that may go into measuring memory exactly

RESIDENT = ("RssAnon", "RssShmem", "VmSwap")  # of /proc/PID/status: what cannot be dropped
PROPORTIONAL = ("Pss_Anon", "Pss_Shmem", "SwapPss")  # of /proc/PID/smaps_rollup: the same, shared pages shared out


def main() -> None:
    """Watch the process that has started this one, until it ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2):  # sent to the whole group
        signal.signal(number, signal.SIG_IGN)
    watch(int(sys.argv[1]), sys.stdin.fileno())


def watch(worker: int, orders: int) -> None:
    """Follow the orders until there are no more, or the worker is gone."""
    order, quiet_s, before, rest = None, 0.0, time.monotonic(), b""
    memory = Memory(worker)
    while os.getppid() == worker:
        ready, _, _ = select.select([orders], [], [], TICK_S if order else IDLE_S)
        now = time.monotonic()
        quiet_s += min(now - before, LONGEST_TICK_S)
        before = now
        if ready:
            content = os.read(orders, 2**16)
            if not content:
                return
            *lines, rest = (rest + content).split(b"\n")
            if lines:
                order, quiet_s = json.loads(lines[-1]), 0.0
        reached = order and reached_limit(order, quiet_s, memory)
        if order and reached:
            write_record(order["record"], {**reached, **order["about"]})
            end(worker)
            return


def reached_limit(order: dict[str, Any], quiet_s: float, memory: Memory) -> dict[str, Any] | None:
    """Which limit was reached, if one was: its name, and what was used."""
    seconds, used_s = order["seconds"], order["used_s"] + quiet_s
    if seconds is not None and used_s > seconds:
        return {"name": "minutes", "limit": seconds, "used": used_s}
    if quiet_s > order["hang_s"] + STACKS_S:
        return {"name": "hang_minutes", "limit": order["hang_s"], "used": quiet_s}
    used = memory.above(order["memory"]) if order["memory"] is not None else None
    return None if used is None else {"name": "memory_gb", "limit": order["memory"], "used": used}


class Memory:
    """The memory of a process and of all that it has started, but for this one."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._next_look = 0.0

    def above(self, limit: float) -> float | None:
        """How many bytes there are, where they are more than `limit`; else None.

        What processes share is counted once. To find that out takes long in a large process, so that it is done only
        where the memory is too much if all of it is counted, and takes but a share of the time.
        """
        now = time.monotonic()
        if now < self._next_look:
            return None
        self._next_look = now + TICK_S / 2
        processes = [self._root, *descendants(self._root)]
        if total(processes, "status", RESIDENT) <= limit:
            return None
        exact = total(processes, "smaps_rollup", PROPORTIONAL)
        self._next_look += (time.monotonic() - now) / DEAREST_SHARE
        return exact if exact > limit else None


def descendants(root: int) -> list[int]:
    """The processes that a process has started, and those that they have, without this one."""
    found: list[int] = []
    for process in children(root):
        if process != os.getpid():
            found += [process, *descendants(process)]
    return found


def children(process: int) -> Iterator[int]:
    """The processes that a process has started, by any of its threads."""
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{process}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{process}/task/{thread}/children") as file:
                yield from map(int, file.read().split())


def total(processes: Iterable[int], file: str, fields: tuple[str, ...]) -> int:
    """The sum of some fields of a file in /proc, in bytes, over processes. Those that are gone have nothing."""
    kilobytes = 0
    for process in processes:
        with contextlib.suppress(OSError), open(f"/proc/{process}/{file}") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name in fields:
                    kilobytes += int(value.split()[0])
    return 1024 * kilobytes


def write_record(path: str, record: dict[str, Any]) -> None:
    """Write the record, whole or not at all. Without one the worker's end is a death like any other."""
    with contextlib.suppress(OSError):
        temporary = f"{path}.{os.getpid()}.tmp"
        with open(temporary, "w") as file:
            json.dump(record, file)
        os.replace(temporary, path)


def end(worker: int) -> None:
    """Kill the worker and all that it has started."""
    processes = descendants(worker)
    for process in (worker, *processes):
        if os.getppid() == worker or process != worker:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)


if __name__ == "__main__":
    main()
