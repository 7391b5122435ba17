"""A Dask scheduler that was never there, and one that is gone: before, during and after the handshake. The first is the
user's mistake (exit code 2), the second is a loss that the same command recovers from (exit code 74)."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from hpo.errors import Halted, Refused
from tests.faults import servers
from tests.faults.processes import code_of, start, until
from tests.faults.servers import ABSENT, LOST, Answer, closes, listening, speaks_http, stays_silent

pytest.importorskip("distributed", reason="a lost Dask scheduler: distributed is not installed")
from hpo.workers import dask


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is going to answer, it is not waited for as long as for a scheduler on a busy machine."""
    monkeypatch.setattr(dask, "CONNECT_S", 1.5)


@pytest.fixture
def holder() -> Iterator[socket.socket]:
    with servers.held_port() as held:
        yield held


def in_fork(act: Callable[[], None]) -> None:
    """Dask's client has threads, and later tests fork: it lives in a fork."""
    assert code_of(start(act), 120) == 0


# -- where nothing has ever answered -----------------------------------------------------------------------------------
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answer", [None, closes, stays_silent, speaks_http])
def test_an_address_where_no_scheduler_has_answered_is_refused_and_not_remembered(
    tmp_path: Path, holder: socket.socket, answer: Answer | None
) -> None:
    record, address = tmp_path / "schedulers", servers.address(holder)

    def act() -> None:
        with pytest.raises(Refused) as refused:
            dask.Cluster(address, record=record)
        assert str(refused.value) == ABSENT.format(address)

    with listening(answer, holder):
        in_fork(act)
    assert not record.exists()


# -- where one has answered --------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("answer", [None, closes, stays_silent, speaks_http])
def test_a_scheduler_that_has_answered_this_study_and_is_gone_at_the_next_contact_was_lost(
    tmp_path: Path, holder: socket.socket, answer: Answer | None
) -> None:
    record, address = tmp_path / "schedulers", servers.address(holder)
    record.write_text(f"tcp://10.0.0.1:8786\n{address}\n")

    def act() -> None:
        with pytest.raises(Halted) as halted:
            dask.Cluster(address, record=record)
        assert str(halted.value) == LOST.format(address)

    with listening(answer, holder):
        in_fork(act)


@pytest.mark.usefixtures("impatient")
def test_the_record_is_not_read_through_a_link(tmp_path: Path, holder: socket.socket) -> None:
    (tmp_path / "elsewhere").write_text(f"{servers.address(holder)}\n")
    (tmp_path / "schedulers").symlink_to(tmp_path / "elsewhere")

    def act() -> None:
        with pytest.raises(Refused):
            dask.Cluster(servers.address(holder), record=tmp_path / "schedulers")

    in_fork(act)


class Proxy:
    """Stands between a client and a scheduler. When the scheduler has sent `allowance` bytes, it is gone: the port and
    all connections are closed, or else (`silent`) stay open and carry nothing more."""

    def __init__(self, scheduler_port: int, allowance: int, *, silent: bool) -> None:
        self._scheduler_port, self._allowance, self._silent = scheduler_port, allowance, silent
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = servers.address(self._server)
        self._connections: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._server, *self._connections):
            with suppress(OSError):  # it is closed already
                end.shutdown(socket.SHUT_RDWR)  # close alone does not wake a thread that reads it
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._server.accept()
                scheduler = socket.create_connection(("127.0.0.1", self._scheduler_port))
                self._connections += [client, scheduler]
                threading.Thread(target=self._to_scheduler, args=(client, scheduler), daemon=True).start()
                threading.Thread(target=self._to_client, args=(scheduler, client), daemon=True).start()

    def _to_scheduler(self, client: socket.socket, scheduler: socket.socket) -> None:
        with suppress(OSError):
            while content := client.recv(65536):
                scheduler.sendall(content)

    def _to_client(self, scheduler: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while content := scheduler.recv(64):
                with self._lock:
                    self._allowance -= len(content)
                if self._allowance >= 0:
                    client.sendall(content)
                elif not self._silent:
                    self.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("silent", "allowances"),
    [(False, (0, 1, 50, 200, 400, 800, 1500, 3000, 6000, 20_000)), (True, (50, 400, 1500, 20_000))],
    ids=["closed", "silent"],
)
def test_a_scheduler_that_is_lost_after_any_number_of_bytes_is_a_loss(
    tmp_path: Path, silent: bool, allowances: tuple[int, ...]
) -> None:
    """In the midst of the first answer, of the handshake, of the questions for the workers, and when a job waits."""
    record = tmp_path / "schedulers"

    def act() -> None:
        with servers.dask(tmp_path / "dask", dict(os.environ), workers=0) as running:
            for allowance in allowances:
                with closing(Proxy(running.port, allowance, silent=silent)) as proxy:
                    record.write_text(f"{proxy.address}\n")
                    with pytest.raises(Halted) as halted:
                        work(proxy.address, record)
                    assert str(halted.value) == LOST.format(proxy.address), allowance

    def work(address: str, record: Path) -> None:
        cluster = dask.Cluster(address, record=record)
        try:
            future = cluster.submit(time.sleep, 60)
            until(lambda: future.done() or not cluster.workers, 30)
            future.result()
        finally:
            cluster.kill()

    in_fork(act)


def test_a_connected_scheduler_that_is_killed_is_a_loss_for_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask, "CONNECT_S", 10.0)  # after which the client gives up

    def act() -> None:
        with servers.dask(tmp_path / "dask", dict(os.environ), workers=0) as running:
            cluster = dask.Cluster(running.address, record=tmp_path / "schedulers")
            assert (tmp_path / "schedulers").read_text() == f"{running.address}\n"
            running.kill_scheduler()
            until(lambda: cluster._client.status == "closed")
            with pytest.raises(Halted, match=r"scheduler at .* was lost"):
                print(cluster.workers)
            with pytest.raises(Halted, match=r"scheduler at .* was lost"):
                cluster.submit(print)
            cluster.kill()

    in_fork(act)


def test_a_scheduler_that_was_started_again_does_not_know_our_jobs_and_counts_as_lost(tmp_path: Path) -> None:
    def act() -> None:
        with servers.dask(tmp_path / "dask", dict(os.environ), workers=0) as running:
            cluster = dask.Cluster(running.address)
            assert cluster.workers == 1
            running.kill_scheduler()
            until(lambda: cluster._client.status == "connecting")
            running.start_scheduler()
            until(lambda: cluster._client.status == "running")  # Dask has connected again by itself
            with pytest.raises(Halted, match=r"scheduler at .* was lost"):
                print(cluster.workers)
            cluster.kill()

    in_fork(act)
