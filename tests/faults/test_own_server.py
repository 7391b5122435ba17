"""A PostgreSQL server of the user's own, real: started, killed, moved and stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from hpo.errors import Refused
from hpo.storage.database import open_storage
from hpo.storage.own_server import URL, OwnServer
from tests.faults import servers
from tests.faults.processes import code_of, start, until

pytestmark = pytest.mark.skipif(bool(servers.missing()), reason=f"a server of one's own needs {servers.missing()}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnServer]:
    """A folder for one, and the variables that name it. Where we are root, it is the user postgres who starts it."""
    with tempfile.TemporaryDirectory(prefix="hpo-own-") as base:  # not pytest's: that user must come in
        server = OwnServer(Path(base) / "server")
        if os.geteuid() == 0:
            shutil.chown(base, "postgres")
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        yield server
        if (server.folder / "data" / "postmaster.pid").exists():
            as_user(server.stop)


def as_user(act: Callable[[], None]) -> None:
    """Run `act` in a process whose user is not root: PostgreSQL refuses to be run by root."""

    def as_postgres() -> None:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
        act()

    assert code_of(start(as_postgres)) == 0


def process_of(server: OwnServer) -> int:
    return int((server.folder / "data" / "postmaster.pid").read_text().splitlines()[0])


def processes_in(folder: Path) -> list[int]:
    """The processes whose current folder it is: those of a server."""
    places = [(int(entry.name), entry / "cwd") for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid, place in places if place_of(place) == str(folder)]


def place_of(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:  # it has ended
        return ""


def studies() -> list[str]:
    storage = open_storage(URL)
    names = optuna.get_all_study_names(storage)
    storage.remove_session()
    return names


def test_it_is_made_and_keeps_its_data_and_its_url_when_it_is_killed_or_starts_elsewhere(server: OwnServer) -> None:
    as_user(server.start)
    storage = open_storage(URL, create=True)
    optuna.create_study(study_name="kept", storage=storage)
    storage.remove_session()
    first = process_of(server)
    as_user(server.start)  # it answers, and is left as it is
    assert process_of(server) == first

    os.kill(first, signal.SIGQUIT)  # a crash: nothing is written any more
    until(lambda: not processes_in(server.folder / "data"))  # its children end by themselves
    as_user(server.start)
    assert studies() == ["kept"]

    as_user(server.stop)
    (server.folder / "node").write_text("another machine")
    (server.folder / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")  # a process there, and one of ours here
    with pytest.raises(Refused, match="runs on another machine; stop it there"):
        server.stop()
    as_user(server.start)
    assert studies() == ["kept"]


def test_nobody_comes_in_without_the_password_and_only_its_user_can_read_that(server: OwnServer) -> None:
    import psycopg

    as_user(server.start)
    assert [oct((server.folder / name).stat().st_mode & 0o777) for name in ("", "pgpass")] == ["0o700", "0o600"]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect("service=hpo passfile=/nonexistent").close()


@pytest.mark.skipif(os.geteuid() != 0, reason="we are not root")
def test_root_is_refused(server: OwnServer) -> None:
    with pytest.raises(Refused, match="does not run as root"):
        server.start()
    assert not server.folder.exists()
