"""PostgreSQL and a Dask cluster, both real, on loopback: workers, coordinator, scheduler and server are killed, and the
same invariants hold as on one machine."""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError

import hpo.cli.main
from hpo.engine.checkpoint_files import reached
from hpo.errors import Damaged, Halted, InUse, Refused
from hpo.search.sweep import sweep
from hpo.space import choose
from hpo.storage.database import open_storage, read_only_storage
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.storage.transient import retry_storage
from hpo.trial.failures import users_line
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from hpo.trial.record import read_outcome
from hpo.watchdog.limit import Limit
from tests.faults import check, servers
from tests.faults.processes import alive, code_of, end_group, start, until
from tests.faults.servers import ABSENT, LOST, PASSWORD, Dask, Postgres, closes, listening
from tests.faults.slow import study as slow
from tests.faults.studies import (
    Victim,
    asked,
    at_work,
    attempts,
    each_as_undisturbed,
    events,
    submitted_by,
    trial_at,
    victims,
)

if importlib.util.find_spec("distributed"):
    from hpo.workers.dask import Cluster, Submitted
LACKING = servers.missing()
pytestmark = [
    pytest.mark.skipif(bool(LACKING), reason=f"many machines need {LACKING}"),
    pytest.mark.timeout(900),  # half a minute on an idle machine, and ten on one that has other things to do
]
WORKERS = 2
SLOW = str(Path(__file__).with_name("slow.py"))


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="hpo-postgres-") as base:  # not pytest's: the user postgres must come in
        Path(base).chmod(0o755)
        with servers.postgres(Path(base) / "server") as running:
            yield running


@pytest.fixture(scope="module")
def cluster(server: Postgres, tmp_path_factory: pytest.TempPathFactory, warm: None) -> Iterator[Dask]:
    environment = {**os.environ, "PGPASSFILE": str(server.passfile), "OMP_NUM_THREADS": "1"}
    with servers.dask(tmp_path_factory.mktemp("dask") / "cluster", environment, WORKERS) as running:
        yield running


@pytest.fixture(autouse=True)
def password(server: Postgres, monkeypatch) -> None:
    monkeypatch.setenv("PGPASSFILE", str(server.passfile))


@pytest.fixture(autouse=True)
def empty(server: Postgres) -> None:
    server.fresh()


def coordinator(study, folder: Path, server: Postgres, cluster: Dask) -> int:
    def act() -> None:
        try:
            sweep(study, RunFolder(folder, server.url), identity(study), workers=0, on=cluster.address, device="cpu")
        except Halted as halted:
            print(halted, file=sys.stderr)
            os._exit(74)

    return start(act)


def checked(folder: Path, trials: int, server: Postgres) -> None:
    assert list(check.violations(folder, trials, server.query)) == []


def test_a_worker_the_coordinator_and_the_scheduler_are_killed_and_nothing_is_lost_or_repeated(
    folder: Path, server: Postgres, cluster: Dask, capfd
) -> None:
    study = victims(task=Victim(pace=0.5), trials=4)
    pid = coordinator(study, folder, server, cluster)
    until(lambda: list(folder.glob("sweep/*/epoch-*.pt")) and at_work(folder))
    victim = at_work(folder)[-1]
    trial = trial_at(folder, victim)
    os.kill(victim, signal.SIGKILL)
    until(lambda: attempts(folder, trial)[1:])
    os.kill(pid, signal.SIGKILL)
    code_of(pid)
    second = coordinator(study, folder, server, cluster)
    until(lambda: submitted_by(folder, second))  # it has connected; the first one's worker may still start a job
    cluster.kill_scheduler()
    code, printed = code_of(second), capfd.readouterr().err
    assert code == 74, printed
    assert LOST.format(cluster.address) in printed
    cluster.stop()
    cluster.start_scheduler()
    cluster.start_workers(WORKERS)
    assert code_of(coordinator(study, folder, server, cluster)) == 0
    checked(folder, 4, server)
    each_as_undisturbed(study, folder)


@pytest.mark.parametrize(("progressed", "deaths"), [(False, 4), (True, 1)])
def test_deaths_count_since_the_last_epoch_though_dask_reports_only_the_fourth(
    tmp_path: Path, progressed: bool, deaths: int
) -> None:
    from distributed import KilledWorker

    pool = object.__new__(Cluster)
    task: Future[None] = Future()
    submitted = Submitted(b"", Future(), epoch_before=-1, folder=tmp_path)
    pool._running = {task: submitted}
    if progressed:
        (tmp_path / f"epoch-000000-{'0' * 16}.pt").touch()
    task.set_exception(KilledWorker("job", None, 3))
    pool._pass_on(task)
    assert submitted.outcome.exception().deaths == deaths
    assert not pool._running


def command(*words: str) -> int:
    """The id of a process that runs `hpo WORDS`."""

    def act() -> None:
        sys.argv = ["hpo", *words]
        try:
            hpo.cli.main.main()
        except SystemExit as ended:
            os._exit(int(ended.code or 0))

    return start(act)


def on_machines(folder: Path, server: Postgres, cluster: Dask) -> list[str]:
    """The options of a command that uses the server and the cluster."""
    return ["--runs", str(folder.parent), "--storage", server.url, "--backend", "dask", "--scheduler", cluster.address]


def test_a_command_ends_with_2_at_a_scheduler_that_was_never_there_and_with_74_at_one_that_was(
    folder: Path, server: Postgres, cluster: Dask, capfd
) -> None:
    """A stand-in has the scheduler's port and closes every connection: before the scheduler is started, and after."""
    sweep_slow = ["sweep", SLOW, "--force", *on_machines(folder, server, cluster)]
    cluster.stop()
    with listening(closes, cluster.holder):
        assert code_of(command(*sweep_slow)) == 2
    assert ABSENT.format(cluster.address) in capfd.readouterr().err
    cluster.start_scheduler()
    pid = command(*sweep_slow)
    until(lambda: submitted_by(folder.parent / "slow", pid))
    cluster.kill_scheduler()
    assert code_of(pid) == 74
    assert LOST.format(cluster.address) in capfd.readouterr().err
    with listening(closes, cluster.holder):
        assert code_of(command(*sweep_slow)) == 74
    assert LOST.format(cluster.address) in capfd.readouterr().err
    cluster.start_scheduler()
    cluster.start_workers(WORKERS)


@pytest.mark.soak
def test_a_study_from_the_command_line_and_its_password_turns_up_nowhere(
    folder: Path, server: Postgres, cluster: Dask, capfd
) -> None:
    """In no argument of any process, log, pickle, record, message or report."""
    where = on_machines(folder, server, cluster)
    pid = command("sweep", SLOW, "--force", *where)
    until(lambda: events(folder.parent / "slow", "start"))
    seen = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert code_of(pid) == 0
    assert code_of(command("promote", SLOW, "--keep", "1", "--seeds", "2", *where)) == 0
    checked(folder.parent / "slow", slow.trials, server)
    each_as_undisturbed(slow, folder.parent / "slow")
    said = capfd.readouterr()
    seen += [said.out.encode(), said.err.encode()]
    files = [path for base in (folder.parent, cluster.folder) for path in base.rglob("*") if path.is_file()]
    seen += [path.read_bytes() for path in files]
    assert server.url.encode() in b"".join(seen)
    for part in (PASSWORD, PASSWORD[:11]):
        assert not [text for text in seen if part.encode() in text]


@pytest.mark.soak
def test_killed_workers_and_coordinators_lose_and_repeat_nothing(folder: Path, server: Postgres, cluster: Dask) -> None:
    rng, kills = random.Random(0), 0
    study = victims(task=Victim(pace=0.1), trials=12)
    pid = coordinator(study, folder, server, cluster)
    until(lambda: at_work(folder))
    while alive(pid):
        time.sleep(rng.uniform(0.2, 1.0))
        training = at_work(folder)
        if not training or not alive(pid) or kills >= 6:
            continue
        if rng.random() < 0.65:
            os.kill(rng.choice(training), signal.SIGKILL)
        else:
            os.kill(pid, signal.SIGKILL)
            code_of(pid)
            pid = coordinator(study, folder, server, cluster)
        kills += 1
    assert code_of(pid) == 0
    assert kills >= 3
    checked(folder, 12, server)
    each_as_undisturbed(study, folder)


@pytest.mark.soak
def test_workers_that_have_lost_their_coordinator_stop_and_the_next_one_goes_on(
    folder: Path, server: Postgres, cluster: Dask
) -> None:
    study = victims(task=Victim(pace=0.5), trials=4, pruning=None)
    pid = coordinator(study, folder, server, cluster)
    until(lambda: sum(reached(trial) >= 0 for trial in folder.glob("sweep/*")) >= 2)
    training = at_work(folder)
    os.kill(pid, signal.SIGKILL)
    lost = time.monotonic()
    code_of(pid)
    until(lambda: not any(map(alive, training)))
    assert time.monotonic() - lost < 10
    assert code_of(coordinator(study, folder, server, cluster)) == 0
    assert [event["epoch"] for event in events(folder, "start") if event["trial"] == 0][-1] >= 1
    checked(folder, 4, server)


@pytest.mark.soak
def test_a_lost_scheduler_stops_the_command_which_then_goes_on_with_a_new_one(
    folder: Path, server: Postgres, cluster: Dask, capfd
) -> None:
    study = victims(task=Victim(pace=0.3), trials=4, pruning=None)
    pid = coordinator(study, folder, server, cluster)
    until(lambda: at_work(folder))
    training = at_work(folder)
    cluster.kill_scheduler()
    assert code_of(pid) == 74
    assert LOST.format(cluster.address) in capfd.readouterr().err
    until(lambda: not any(map(alive, training)))
    cluster.stop()
    cluster.start_scheduler()
    cluster.start_workers(WORKERS)
    assert code_of(coordinator(study, folder, server, cluster)) == 0
    checked(folder, 4, server)
    each_as_undisturbed(study, folder)


@pytest.mark.soak
def test_a_database_server_that_crashes_and_comes_back_is_waited_for(
    folder: Path, server: Postgres, cluster: Dask
) -> None:
    study = victims(task=Victim(pace=0.2), trials=6)
    pid = coordinator(study, folder, server, cluster)
    until(lambda: at_work(folder))
    server.stop()
    until(lambda: events(folder, "waiting"))  # somebody has missed it
    server.start()
    assert code_of(pid) == 0
    checked(folder, 6, server)
    each_as_undisturbed(study, folder)


@pytest.mark.soak
def test_a_trial_that_kills_its_workers_fails_after_three(folder: Path, server: Postgres, cluster: Dask) -> None:
    study = victims(space={"task.deed": choose("", "die")}, trials=4, pruning=None, startup_trials=4)
    assert code_of(coordinator(study, folder, server, cluster)) == 0
    rows = check.rows(server.query, "victims")
    deadly = {number for number in rows if asked(folder, number)["task.deed"] == "die"}
    assert deadly
    assert {number for number, row in rows.items() if row["state"] == "FAIL"} == deadly
    checked(folder, 4, server)


@pytest.mark.soak
def test_a_second_coordinator_with_a_folder_of_its_own_is_refused(
    folder: Path, server: Postgres, cluster: Dask
) -> None:
    study = victims(task=Victim(pace=1.0), trials=2)
    pid = coordinator(study, folder, server, cluster)
    until(lambda: at_work(folder))
    elsewhere = RunFolder(folder.parent / "elsewhere" / "victims", server.url)
    with pytest.raises(InUse, match="another coordinator"):
        sweep(study, elsewhere, identity(study))
    end_group(pid)
    code_of(pid)
    until(lambda: not at_work(folder))


def test_a_connection_that_is_lost_within_a_transaction_is_made_again(server: Postgres) -> None:
    """Until it is rolled back, as Optuna's sessions are, every call on it fails."""
    engine = sqlalchemy.create_engine(server.url)
    with engine.connect() as connection:
        one = partial(connection.scalar, sqlalchemy.text("SELECT 1"))
        assert one() == 1
        server.stop()
        server.start()
        with pytest.raises(sqlalchemy.exc.OperationalError):
            one()
        again = iter([one, connection.rollback, one])
        assert retry_storage(lambda: next(again)()) is None
        assert retry_storage(lambda: next(again)()) == 1


def test_after_a_crash_of_the_server_the_first_to_ask_holds_the_study(folder: Path, server: Postgres) -> None:
    """The server forgets who held it: the holder takes hold again, and stops where another one was faster."""
    one, other = (RunFolder(folder.parent / name / "victims", server.url) for name in ("one", "other"))
    with study_lock(one) as hold:
        for _ in range(2):
            server.stop()
            server.start()
            hold()
            with pytest.raises(InUse, match="another coordinator"), study_lock(other):
                pass
        server.stop()
        server.start()
        with study_lock(other), pytest.raises(InUse, match="another coordinator"):
            hold()


def test_rows_that_are_lost_are_noticed_and_rebuilt(folder: Path, server: Postgres) -> None:
    study = victims(trials=4)
    sweep(study, RunFolder(folder, server.url), identity(study), device="cpu")
    before = check.rows(server.query, "victims")
    server.query("UPDATE trial_values SET value = -1 WHERE trial_id = (SELECT MIN(trial_id) FROM trial_values)")
    with pytest.raises(Damaged, match="hpo rebuild"):
        sweep(study, RunFolder(folder), identity(study), device="cpu")
    rebuild(study, RunFolder(folder), identity(study))
    assert check.rows(server.query, "victims") == before
    server.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    with pytest.raises(Damaged, match="knows nothing of the 4 trials"):
        sweep(study, RunFolder(folder), identity(study), device="cpu")
    rebuild(study, RunFolder(folder), identity(study))
    assert check.rows(server.query, "victims") == before
    checked(folder, 4, server)


def test_an_older_copy_of_the_folders_takes_no_finished_trial_from_the_storage(folder: Path, server: Postgres) -> None:
    """Six trials are in the storage, and the folders here know four of them."""
    study, url = victims(trials=6), server.url
    sweep(study, RunFolder(folder, url), identity(study), device="cpu")
    before = check.rows(server.query, "victims")
    for number in (4, 5):
        shutil.rmtree(folder / "sweep" / f"{number:04d}")
    with pytest.raises(Refused, match=r"knows 2 finished trials that the folders in .* lack") as refused:
        rebuild(study, RunFolder(folder), identity(study))
    for number in (4, 5):
        assert f"sweep: trial {number}, {before[number]['state'].lower()}, " in str(refused.value)
    assert "--force" in str(refused.value)
    assert check.rows(server.query, "victims") == before

    rebuilt = rebuild(study, RunFolder(folder), identity(study), force=True)
    assert (rebuilt.trials, len(rebuilt.kept)) == (4, 1)
    assert check.rows(server.query, "victims") == {number: before[number] for number in range(4)}
    assert check.rows(server.query, rebuilt.kept[0]) == before
    sweep(study, RunFolder(folder), identity(study), device="cpu")
    checked(folder, 6, server)


def test_a_rebuilding_that_is_killed_leaves_the_old_study_or_the_new_one(folder: Path, server: Postgres) -> None:
    study, at = victims(trials=3), 1
    sweep(study, RunFolder(folder, server.url), identity(study), device="cpu")
    before = check.rows(server.query, "victims")
    while (code := code_of(start(lambda: rebuild(study, RunFolder(folder), identity(study)), die_at=at))) != 0:
        assert code == -signal.SIGKILL
        assert check.rows(server.query, "victims") == before
        at += 11
    assert at > 20
    assert check.rows(server.query, "victims") == before
    assert server.query("SELECT COUNT(*) FROM studies WHERE study_name LIKE '%being rebuilt%'") == [(0,)]


def test_a_trial_that_hangs_on_a_worker_of_a_cluster_is_ended_once_and_the_sweep_goes_on(
    folder: Path, server: Postgres, cluster: Dask
) -> None:
    space = {"task.deed": choose("", "lock")}
    study = victims(space=space, trials=3, pruning=None, startup_trials=3, limit=Limit(hang_minutes=20 / 60))
    assert code_of(coordinator(study, folder, server, cluster)) == 0
    hung = [number for number in range(3) if asked(folder, number)["task.deed"] == "lock"]
    assert hung
    for number in range(3):
        outcome = read_outcome(folder / "sweep" / f"{number:04d}")
        assert outcome.reason == (
            "no epoch ended within 20 s (limit.hang_minutes of the study)" if number in hung else ""
        )
        assert len(attempts(folder, number)) == 1
        assert number not in hung or "in _do: sum(" in users_line(outcome.traceback)
    checked(folder, 3, server)


def test_connections_of_the_dashboard_see_what_goes_on_and_cannot_write(server: Postgres) -> None:
    study = optuna.create_study(study_name="looked-at", storage=open_storage(server.url, create=True))
    looked_at = optuna.load_study(study_name="looked-at", storage=read_only_storage(server.url))
    study.add_trial(optuna.create_trial(value=0.5))
    assert [trial.value for trial in looked_at.trials] == [0.5]
    with pytest.raises(StorageInternalError) as refused:
        looked_at.set_user_attr("note", "mine")
    assert "read-only transaction" in str(refused.value.__cause__)
