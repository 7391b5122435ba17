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
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.processes import end_group, until

PR_SET_PDEATHSIG = 1
LOST = "the Dask scheduler at {} was lost; start it and its workers again"  # what a command says then
ABSENT = "no Dask scheduler answers at {}; start it: dask scheduler"
PASSWORD = "canary-7f3a{}%@/:"  # must turn up nowhere; and no character of it may matter


def missing() -> str:
    """What the tests of many machines lack here, in words; nothing if they can run."""
    lacking = [name for name in ("distributed", "psycopg") if importlib.util.find_spec(name) is None]
    if not _binaries():
        lacking.append("a PostgreSQL server (Debian: apt-get install postgresql)")
    return ", ".join(lacking)


def _binaries() -> Path | None:
    """The folder of PostgreSQL's programs: Debian's newest, or the one on the path."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = debian[-1] if debian else shutil.which("initdb")
    return Path(initdb).parent if initdb else None


def held_port() -> socket.socket:
    """A socket that is bound to a port of its own and never listens. While it is open, nobody else is given the port.
    A server that is told the port, and sets SO_REUSEADDR as all servers here do, can listen on it again and again."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def port_of(holder: socket.socket) -> int:
    return holder.getsockname()[1]


def address(holder: socket.socket) -> str:
    """As Dask writes it."""
    return f"tcp://127.0.0.1:{port_of(holder)}"


def listens(port: int) -> bool:
    """Whether a server takes connections on the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end_with_parent() -> None:
    """In a child, before it becomes another program: it does not outlive a test run that is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@dataclass
class Postgres:
    """A server whose user `hpo` must give a password. `fresh` makes an empty database, which `url` then names."""

    folder: Path
    holder: socket.socket = field(default_factory=held_port)
    process: subprocess.Popen | None = None
    database: str = "postgres"

    @property
    def port(self) -> int:
        return port_of(self.holder)

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

        assert self.process.poll() is None, f"the server has ended; see {self.folder}/log"
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
            result = connection.execute(text)
            return result.fetchall() if result.description else []

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
        server.holder.close()


@dataclass
class Dask:
    """A scheduler and workers, each worker a process under its nanny, as `dask worker` starts them."""

    folder: Path
    environment: dict[str, str]
    holder: socket.socket = field(default_factory=held_port)
    scheduler: subprocess.Popen | None = None
    nannies: list[subprocess.Popen] = field(default_factory=list)

    @property
    def port(self) -> int:
        return port_of(self.holder)

    @property
    def address(self) -> str:
        return address(self.holder)

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

    def wait_for_workers(self, count: int) -> None:
        """Until the scheduler knows so many. In a process of its own: a client's threads do not survive a fork."""
        wait = f"from distributed import Client; Client({self.address!r}).wait_for_workers({count}, timeout=120)"
        subprocess.run([sys.executable, "-c", wait], check=True, timeout=180)

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
        assert self.scheduler.poll() is None, f"the scheduler has ended; see {self.folder}/scheduler-*.log"
        return listens(self.port)

    def _start(self, *words: str) -> subprocess.Popen:
        log = open(self.folder / f"{words[0]}-{time.monotonic_ns()}.log", "wb")  # noqa: SIM115
        settings = {f"DASK_DISTRIBUTED__COMM__TIMEOUTS__{name}": "120s" for name in ("CONNECT", "TCP")}
        settings["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] = "0"  # as in docs/machines.md
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("dask")), *words],
            env=settings | self.environment,
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
        cluster.holder.close()


# -- stand-ins for a scheduler, in this process: each is given a connection that was accepted --------------------------
Answer = Callable[[socket.socket], None]
_left_open: list[socket.socket] = []  # a socket that nobody holds is closed


def closes(connection: socket.socket) -> None:
    connection.close()


def stays_silent(connection: socket.socket) -> None:
    _left_open.append(connection)


def speaks_http(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    _left_open.append(connection)


@contextmanager
def listening(answer: Answer | None, holder: socket.socket) -> Iterator[None]:
    """A server on the port that is held. It accepts every connection, and `answer` says what it does with it.

    Without an answer there is no server: the kernel refuses every connection.
    """
    if answer is None:
        yield
        return
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(holder.getsockname())
        server.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # closed
                    return
                answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown(socket.SHUT_RDWR)  # close alone does not wake the thread, which would keep the port
