"""A real PostgreSQL server and a real Dask cluster on loopback, for the tests of many machines."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.processes import end_group, until

PR_SET_PDEATHSIG = 1
PASSWORD = "canary-7f3a{}%@/:"  # must turn up nowhere; and no character of it may matter


def missing() -> str:
    """What the tests of many machines lack here, in words; nothing if they can run."""
    lacks = [name for name in ("distributed", "psycopg") if importlib.util.find_spec(name) is None]
    if not _binaries():
        lacks.append("a PostgreSQL server (Debian: apt-get install postgresql)")
    return ", ".join(lacks)


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else Path(shutil.which("initdb")).parent if shutil.which("initdb") else None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def end_with_parent() -> None:
    """In a child, before it becomes another program: it does not outlive a test run that is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Postgres:
    """A server whose user `hpo` must give a password. `fresh` makes an empty database, which `url` then names."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None
    database: str = "postgres"

    @property
    def url(self) -> str:
        return f"postgresql://hpo@127.0.0.1:{self.port}/{self.database}"

    @property
    def passfile(self) -> Path:
        return self.folder / "pgpass"

    def start(self) -> None:
        self.process = self._popen(
            "postgres",
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
            "-h",
            "127.0.0.1",
            "-k",
            str(self.folder),
            "-c",
            "fsync=off",
        )
        until(self._answers)

    def stop(self) -> None:
        """A crash: no goodbye to any client."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def _answers(self) -> bool:
        import psycopg

        try:
            return self.query("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def make(self) -> None:
        self.folder.mkdir()
        escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
        self.passfile.write_text(f"127.0.0.1:{self.port}:*:*:{escaped}\n")
        self.passfile.chmod(0o600)
        word = self.folder / "word"
        word.write_text(PASSWORD)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            shutil.chown(word, "postgres")
        made = self._popen(
            "initdb",
            "-D",
            str(self.folder / "data"),
            "-U",
            "hpo",
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(word),
            "-E",
            "UTF8",
            "--no-sync",
        )
        assert made.wait() == 0
        self.start()

    def fresh(self) -> None:
        name = f"hpo_{time.monotonic_ns()}"
        self.query(f"CREATE DATABASE {name}")
        self.database = name

    def query(self, text: str) -> list[tuple]:
        import psycopg

        where = {"host": "127.0.0.1", "port": self.port, "user": "hpo", "dbname": self.database, "password": PASSWORD}
        with psycopg.connect(**where, autocommit=True) as connection:
            found = connection.execute(text)
            return found.fetchall() if found.description else []

    def _popen(self, program: str, *words: str) -> subprocess.Popen:
        """As the user postgres where we are root: the server refuses to run as root."""
        user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                [str(_binaries() / program), *words],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                preexec_fn=end_with_parent,
                **user,
            )


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    server = Postgres(folder)
    server.make()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Dask:
    """A scheduler and workers, each worker a process under its nanny, as `dask worker` starts them."""

    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)
    scheduler: subprocess.Popen | None = None
    nannies: list[subprocess.Popen] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--no-dashboard",
            "--dashboard-address",
            "127.0.0.1:0",
        )
        until(self._answers)

    def start_workers(self, count: int, *more: str) -> None:
        self.nannies += [
            self._start(
                "worker",
                self.address,
                "--nthreads",
                "1",
                "--no-dashboard",
                "--local-directory",
                str(self.folder),
                "--host",
                "127.0.0.1",
                *more,
            )
            for _ in range(count)
        ]

    def stop(self) -> None:
        for process in [*self.nannies, self.scheduler]:
            if process is not None:
                end_group(process.pid)
                process.wait()
        self.nannies.clear()

    def kill_scheduler(self) -> None:
        self.scheduler.send_signal(signal.SIGKILL)
        self.scheduler.wait()

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _start(self, *words: str) -> subprocess.Popen:
        log = open(self.folder / f"{words[0]}-{time.monotonic_ns()}.log", "wb")  # noqa: SIM115
        settings = {f"DASK_DISTRIBUTED__COMM__TIMEOUTS__{name}": "120s" for name in ("CONNECT", "TCP")}
        settings["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"  # as in the README
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *words],
            env=self.environment | settings,
            cwd=Path.cwd(),
            start_new_session=True,
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent,
        )


@contextmanager
def dask(folder: Path, environment: dict[str, str], workers: int) -> Iterator[Dask]:
    folder.mkdir()
    cluster = Dask(folder, environment)
    try:
        cluster.start_scheduler()
        cluster.start_workers(workers)
        yield cluster
    finally:
        cluster.stop()
