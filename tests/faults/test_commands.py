"""The command line under fire: signals and their exit codes, and real worker processes that are really killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hpo.cli.main
from tests.faults.processes import alive, children, code_of, end_group, forked_workers, start, until
from tests.faults.slow import study
from tests.faults.studies import checked, each_as_undisturbed, events

STUDY = str(Path(__file__).with_name("slow.py"))


def hpo_child(*words: str) -> int:
    """`hpo WORDS` in a fork of this process, its workers forked too."""

    def act() -> None:
        sys.argv = ["hpo", *words]
        try:
            with forked_workers():
                hpo.cli.main.main()
        except SystemExit as ended:
            os._exit(ended.code or 0)

    return start(act)


def sweep(runs: Path, *more: str) -> int:
    return hpo_child("sweep", STUDY, "--force", "--runs", str(runs), "--workers", "2", *more)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR2, 75)], ids=lambda it: str(it)
)
def test_a_signal_ends_the_command_at_once_with_its_code_and_the_same_command_goes_on(
    folder: Path, number: int, code: int, capfd
) -> None:
    pid = sweep(folder.parent)
    slow = folder.parent / "slow"
    until(lambda: events(slow, "start") and children(pid))
    workers = children(pid)
    os.kill(pid, number)
    asked = time.monotonic()
    assert code_of(pid) == code
    assert time.monotonic() - asked < 10
    assert "the same command goes on" in capfd.readouterr().err
    until(lambda: not any(map(alive, workers)))
    assert code_of(sweep(folder.parent)) == 0
    checked(slow, study.trials)
    each_as_undisturbed(study, slow)


def test_a_signal_that_python_drops_ends_the_command_all_the_same(folder: Path) -> None:
    """What a signal's handler raises inside a hook of `fork` is dropped, as in a finalizer."""

    def interrupted_in_a_hook() -> None:
        sent = []

        def send_once() -> None:
            if not sent:
                sent.append(True)
                os.kill(os.getpid(), signal.SIGTERM)

        os.register_at_fork(after_in_parent=send_once)
        sys.argv = ["hpo", "sweep", STUDY, "--force", "--runs", str(folder.parent), "--workers", "2"]
        try:
            with forked_workers():
                hpo.cli.main.main()
        except SystemExit as ended:
            os._exit(ended.code or 0)

    assert code_of(start(interrupted_in_a_hook)) == 143


def test_signals_to_the_whole_group_blame_no_trial(folder: Path) -> None:
    """As a terminal sends Ctrl-C and a batch system SIGTERM: to the workers too."""
    slow = folder.parent / "slow"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGTERM):
        pid = sweep(folder.parent, "--trials", "8")
        until(lambda: {event["pid"] for event in events(slow, "start")} & set(children(pid)))  # noqa: B023
        os.killpg(pid, number)
        assert code_of(pid) in (130, 143, 75)
    assert code_of(sweep(folder.parent, "--trials", "8")) == 0
    assert not events(slow, "death")
    checked(slow, 8)


def test_a_second_command_is_refused_and_told_who_holds_the_study(folder: Path, capfd) -> None:
    pid = sweep(folder.parent)
    until(lambda: events(folder.parent / "slow", "start"))
    assert code_of(sweep(folder.parent)) == 73
    said = capfd.readouterr().err
    assert f"in use by process {pid} on " in said
    assert "traceback" not in said
    end_group(pid)
    code_of(pid)


def test_a_lost_storage_is_refused_rebuilt_and_gone_on_with(folder: Path, capfd) -> None:
    assert code_of(sweep(folder.parent, "--trials", "2")) == 0
    (folder.parent / "slow" / "study.db").unlink()
    assert code_of(sweep(folder.parent)) == 65
    assert "hpo rebuild" in capfd.readouterr().err
    assert code_of(hpo_child("rebuild", STUDY, "--runs", str(folder.parent))) == 0
    assert code_of(sweep(folder.parent, "--trials", "3")) == 0
    checked(folder.parent / "slow", 3)


def test_real_workers_killed_and_left_alone(folder: Path, record_property) -> None:
    """Processes of their own, not forks. A worker is killed and its trial goes on in a new one; then the coordinator
    is killed and the workers end by themselves; then the command finishes, on fewer workers."""
    slow = folder.parent / "slow"
    command = [sys.executable, "-m", "hpo", "sweep", STUDY, "--force", "--runs", str(folder.parent), "--trials", "8"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    coordinator = subprocess.Popen([*command, "--workers", "2"], env=environment, start_new_session=True)
    try:
        until(lambda: list(slow.glob("sweep/*/epoch-000001-*")))
        first = next(iter(slow.glob("sweep/*/epoch-000001-*"))).parent.name
        killed = next(event["pid"] for event in events(slow, "start") if event["trial"] == int(first))
        os.kill(killed, signal.SIGKILL)
        struck = time.monotonic()
        until(lambda: [event for event in events(slow, "start") if event["trial"] == int(first)][1:])
        record_property("seconds from kill to resumption", round(time.monotonic() - struck, 1))
        again = [event for event in events(slow, "start") if event["trial"] == int(first)][-1]
        assert again["epoch"] >= 2
        workers = [event["pid"] for event in events(slow, "start") if alive(event["pid"])]
        assert workers
        coordinator.kill()
        coordinator.wait()
        gone = time.monotonic()
        until(lambda: not any(map(alive, workers)))
        assert time.monotonic() - gone < 10
        until(lambda: not list(Path("/dev/shm").glob(f"sem.loky-{coordinator.pid}-*")), 60)
    finally:
        end_group(coordinator.pid)
    done = subprocess.run([*command, "--workers", "1"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    checked(slow, 8)
    each_as_undisturbed(study, slow)
    assert json.loads((slow / "commands.log").read_text().splitlines()[0])["argv"][:2] == ["hpo", "sweep"]
