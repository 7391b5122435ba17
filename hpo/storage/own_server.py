"""A PostgreSQL server of the user's own: made, started and stopped without an administrator.

Its folder holds the data, the password, and a service file (in PostgreSQL's own format), which says where the server is
now. A storage that is named by the service keeps its URL when the server moves to another machine.
"""

from __future__ import annotations

import configparser
import os
import platform
import secrets
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import Halted, Refused
from hpo.files import write_whole

URL = "postgresql:///?service=hpo"
ROLE, DATABASE = "hpo", "postgres"
LOOPBACK = "127.0.0.1"
START_S = 60
LOGGED = 3  # lines of the log that an error shows
DEBIAN = "/usr/lib/postgresql"  # which keeps the programs off the path, in a folder a version
NEEDED = (
    "the programs of PostgreSQL are not here (initdb, pg_ctl, pg_isready); without an administrator they come with "
    "conda (conda install postgresql), or on a cluster with module load postgresql"
)


@dataclass(frozen=True)
class OwnServer:
    """The server that is kept in a folder."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables by which `hpo` and its workers find the server."""
        return {"PGSERVICEFILE": str(self._service), "HPO_STORAGE": URL}

    def start(self, host: str = LOOPBACK) -> None:
        """Start the server, and make its data the first time. One that answers is left as it is.

        It listens on loopback, or, where `host` is a name of this machine, to all who have the password. Raises Refused
        where PostgreSQL is not installed or would run as root, and Halted where it does not start.
        """
        if os.geteuid() == 0:
            raise Refused("PostgreSQL does not run as root; start it as the user that runs hpo")
        if self._answers():
            return
        if not self._data.exists():
            self._make()
        if self._node() != platform.node():  # it ran on a machine that is gone: its process is none of this machine's
            (self._data / "postmaster.pid").unlink(missing_ok=True)
        write_whole(self.folder / "node", platform.node().encode())
        port = _free_port()
        listen = LOOPBACK if host == LOOPBACK else "*"
        try:
            _run(
                "pg_ctl", "start", "-D", self._data, "-w", "-t", START_S, "-l", self._log, "-o", _options(listen, port)
            )
        except Halted as error:
            raise Halted(f"{error}; its log ends with: {self._end_of_log()}") from error
        write_whole(self._service, self._as_service(host, port).encode())

    def stop(self) -> None:
        """Stop the server, also while it has clients. Raises Refused where it does not run on this machine."""
        if not (self._data / "postmaster.pid").exists():
            raise Refused(f"no server runs in {self.folder}")
        if self._node() != platform.node():
            raise Refused(f"the server of {self.folder} runs on {self._node()}; stop it there")
        _run("pg_ctl", "stop", "-D", self._data, "-w", "-m", "fast")

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    @property
    def _service(self) -> Path:
        return self.folder / "service.conf"

    @property
    def _passfile(self) -> Path:
        return self.folder / "pgpass"

    def _node(self) -> str:
        """The machine that it was started on last; "" where that is not known."""
        path = self.folder / "node"
        return path.read_text() if path.exists() else ""

    def _end_of_log(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        return " ".join(lines[-LOGGED:])

    def _answers(self) -> bool:
        service = configparser.ConfigParser()
        if not service.read(self._service):
            return False
        host, port = service["hpo"]["host"], service["hpo"]["port"]
        answer = subprocess.run([_program("pg_isready"), "-q", "-h", host, "-p", port]).returncode
        return answer in (0, 1)  # 1: it is about to take connections

    def _make(self) -> None:
        """Make the data whole or not at all, with a password that nobody has to know."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        password, word, unfinished = secrets.token_urlsafe(32), self.folder / "word", self.folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for path, content in ((self._passfile, f"*:*:*:{ROLE}:{password}\n"), (word, password)):
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(content)
        how = ["-U", ROLE, "-A", "scram-sha-256", "--pwfile", word, "-E", "UTF8", "--locale", "C", "--no-instructions"]
        _run("initdb", "-D", unfinished, *how)
        with open(unfinished / "pg_hba.conf", "a") as file:
            file.write(f"host {DATABASE} {ROLE} all scram-sha-256\n")
        word.unlink()
        unfinished.rename(self._data)

    def _as_service(self, host: str, port: int) -> str:
        fields = {"host": host, "port": port, "user": ROLE, "dbname": DATABASE, "passfile": self._passfile}
        return "".join(["[hpo]\n", *(f"{name}={value}\n" for name, value in fields.items())])


def _options(listen: str, port: int) -> str:
    """Of the server: where it listens, with no Unix socket, whose path may be at most 107 characters long."""
    return f"-h '{listen}' -p {port} -k ''"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _program(name: str) -> str:
    """The path of a program of PostgreSQL. Raises Refused where there is none."""
    newest = max(Path(DEBIAN).glob(f"*/bin/{name}"), default=None, key=lambda path: int(path.parts[-3]))
    program = shutil.which(name) or newest
    if program is None:
        raise Refused(NEEDED)
    return str(program)


def _run(program: str, *words: object) -> None:
    """Run a program of PostgreSQL. Raises Halted with what it says where it fails."""
    command = [_program(program), *map(str, words)]
    # Not through a pipe: the server that pg_ctl leaves behind would keep it open.
    with open(os.devnull) as nothing, tempfile.TemporaryFile() as file:
        done = subprocess.run(command, stdin=nothing, stdout=file, stderr=file)
        file.seek(0)
        if done.returncode:
            raise Halted(f"{program} has failed: {file.read().decode(errors='replace').strip()}")
