"""A worker process of this machine, from its start on. Needs no torch: a command starts one before it imports that."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping

from joblib.externals.loky.process_executor import ProcessPoolExecutor

from hpo import watchdog
from hpo.collector import paused_collector
from hpo.output.streams import steady_streams
from hpo.workers.loky_private import start_tracker

FOLLOW_S = 1.0  # between two looks whether the coordinator is still there
WORKER_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


def new_process(environment: Mapping[str, str], idle_s: float | None = None) -> ProcessPoolExecutor:
    """A pool of one process, which starts with its first job and has `environment` beside a worker's own variables.

    It ends where it has had nothing to do for `idle_s` seconds.
    """
    start_tracker()
    return ProcessPoolExecutor(
        1,
        timeout=idle_s,
        env={**WORKER_ENVIRONMENT, **environment},
        initializer=_start_worker,
        initargs=(os.getpid(),),
    )


def _start_worker(coordinator: int) -> None:
    """The first thing that a worker process runs. `coordinator` is the process that has started it."""
    # A terminal or a batch system may send these to the whole process group. The coordinator alone answers them: it
    # ends its workers, and no trial is blamed for their end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow, args=(coordinator,), daemon=True).start()
    atexit.register(_leave)
    watchdog.may_be_ended()
    allow_processes()
    steady_streams()
    with paused_collector():
        from hpo.workers.preparation import prepare_worker  # brings torch
    prepare_worker()


def _leave() -> None:
    """End this process after all that it has registered for its end. The coordinator waits for it, and Python would
    take seconds to take torch apart."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def _follow(coordinator: int) -> None:
    """End this process when the coordinator has ended: nobody would take its result."""
    while os.getppid() == coordinator:
        time.sleep(FOLLOW_S)
    os._exit(1)


@functools.cache  # once: what the user's own code has chosen later must stay
def allow_processes() -> None:
    """Let the user's code start processes, those of a DataLoader say, from this worker as from any other process.

    Whoever starts a worker leaves its own way of starting processes behind as the default, with which the worker's
    children cannot be started; a daemon may have none at all.
    """
    multiprocessing.set_start_method(None, force=True)  # the platform's default
    multiprocessing.current_process().daemon = False
