"""A study under fire, for the soak: its command, and what the faults that strike it excuse."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hpo.cli.main
from hpo import retrying
from hpo.storage import sqlite
from tests.faults import processes
from tests.faults.processes import children, forked_workers, start
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


Fault = Callable[[Scene], bool]  # strikes a study, and returns whether it did
