"""What hpo uses of libraries beside their public interfaces: one file for each library, asked here of the real one.

A test that fails after an upgrade says which of them has changed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from joblib.externals.loky.process_executor import ProcessPoolExecutor
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from scipy.stats import qmc

from hpo.contract import optuna_private as contract_private
from hpo.storage import optuna_private
from hpo.storage.database import open_storage
from hpo.workers import loky_private
from tests.faults.processes import alive, code_of, start

HPO = Path(__file__).parents[1] / "hpo"


def test_loky_a_pool_whose_process_was_killed_is_broken() -> None:
    pool = ProcessPoolExecutor(1)
    try:
        assert pool.submit(os.getpid).result() != os.getpid()
        assert not loky_private.is_broken(pool)
        with pytest.raises(BrokenExecutor):
            pool.submit(signal.raise_signal, signal.SIGKILL).result()
        assert loky_private.is_broken(pool)
    finally:
        pool.shutdown(kill_workers=True)


def test_loky_a_pool_that_is_ended_now_has_no_process_whatever_is_on_its_way_to_it() -> None:
    pool = ProcessPoolExecutor(1)
    first, pending = pool.submit(os.getpid), [pool.submit(time.sleep, 60) for _ in range(9)]
    process = first.result()
    loky_private.end_now(pool)
    for future in pending:
        with pytest.raises(BrokenExecutor):
            future.result()
    assert loky_private.is_broken(pool)
    assert not alive(process)


TRACKED = """
import os, signal
from joblib.externals.loky.backend import resource_tracker
from hpo.workers import loky_private
loky_private.start_tracker()
pid = resource_tracker._resource_tracker._pid
os.kill(pid, signal.SIGUSR2)
blocked = next(line for line in open(f"/proc/{pid}/status") if line.startswith("SigBlk:"))
print(int(blocked.split()[1], 16) >> (signal.SIGUSR2 - 1) & 1, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


def test_loky_its_tracker_outlives_sigusr2_which_a_batch_system_sends_to_every_process() -> None:
    done = subprocess.run([sys.executable, "-c", TRACKED], capture_output=True, text=True, check=True)
    assert done.stdout == "1 set()\n"  # blocked there, and not here


TRAINED = """
import sys
import torch
from hpo.workers import torch_private
def weights(kind, **more):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2, bias=False)
    optimizer = kind(model.parameters(), lr=0.1, **more)
    for _ in range(3):
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.load_state_dict(optimizer.state_dict())
    assert torch.is_grad_enabled()
    return model.weight.detach()
kinds = [torch.optim.Muon, torch.optim.AdamW, torch.optim.SGD, torch.optim.RMSprop, torch.optim.Adagrad]
assert all(torch_private.is_kept_from_compiler(kind.step) for kind in kinds[1:])  # Muon needs no compiler
torch_private.leave_out_compiler()
without = [weights(kind) for kind in kinds]
print("torch._dynamo" in sys.modules)
import torch._dynamo
print(all(torch.equal(weights(kind), before) for kind, before in zip(kinds, without)))
"""


def test_torch_its_optimizers_take_the_same_steps_without_its_compiler_which_takes_a_second_to_import() -> None:
    done = subprocess.run([sys.executable, "-c", TRAINED], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


class Unloadable:
    """Can be sent to a worker, and not be made again there."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_fail, ())


def _fail() -> None:
    raise ImportError("not in a worker")


GROWS = """
import sys, time
import numpy as np
from joblib.externals.loky.process_executor import ProcessPoolExecutor
from hpo.workers import loky_private
def grow(number):
    sys.kept = [*getattr(sys, "kept", []), np.ones(60_000_000)]  # 480 MB that outlive the job
    time.sleep(1.1)  # loky measures once a second
    return number
if __name__ == "__main__":
    with ProcessPoolExecutor(1) as pool:
        print([future.result() for future in [pool.submit(grow, number) for number in range(4)]])
"""


def test_loky_replaces_a_process_that_has_grown_without_a_word(tmp_path: Path) -> None:
    """No job is lost with it, so a user who is told would look for a leak that is none."""
    pytest.importorskip("psutil")
    script = tmp_path / "grows.py"
    script.write_text(GROWS)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[0, 1, 2, 3]\n", "")


def test_loky_says_why_a_worker_could_not_load_a_job_and_nothing_where_it_was_killed() -> None:
    for act, cause in ((Unloadable(), "ImportError: not in a worker"), (signal.SIGKILL, "")):
        pool = ProcessPoolExecutor(1)
        try:
            with pytest.raises(BrokenExecutor) as died:
                pool.submit(signal.raise_signal, act).result()
            assert loky_private.loading_error(died.value) == cause
        finally:
            pool.shutdown(kill_workers=True)


def test_loky_a_result_that_was_cut_off_is_no_task_that_could_not_be_loaded() -> None:
    """A kill while a result is sent leaves a part of it, which cannot be loaded here."""
    pool = ProcessPoolExecutor(1)
    try:
        with pytest.raises(BrokenExecutor) as died:
            pool.submit(Unloadable).result()
        assert loky_private.loading_error(died.value) == ""
    finally:
        pool.shutdown(kill_workers=True)


def test_optuna_studies_are_given_other_names_with_all_that_they_hold(tmp_path: Path) -> None:
    storage = optuna.storages.get_storage(f"sqlite:///{tmp_path / 'study.db'}")
    for name, value in (("old", 1.0), ("new", 2.0)):
        optuna.create_study(study_name=name, storage=storage).add_trial(optuna.create_trial(value=value))
    optuna_private.rename_studies(storage, {"old": "kept", "new": "old"})
    names = ("kept", "old")
    assert {study.study_name for study in storage.get_all_studies()} == set(names)
    assert [optuna.load_study(study_name=name, storage=storage).best_value for name in names] == [1.0, 2.0]


def test_optuna_a_trial_is_found_again_by_its_id_and_goes_on() -> None:
    study = optuna.create_study()
    study.ask()
    trial = study.ask()
    again = optuna_private.live_trial(study, optuna_private.trial_id(trial))
    again.report(0.5, 3)
    assert again.number == trial.number == 1
    assert study.trials[1].intermediate_values == {3: 0.5}
    assert optuna_private.trial_id(study.trials[1]) == optuna_private.trial_id(trial)


def test_optuna_a_running_trial_can_be_added_and_concluded() -> None:
    study = optuna.create_study()
    distribution = optuna.distributions.FloatDistribution(0, 1)
    running = optuna.trial.create_trial(
        state=TrialState.RUNNING, params={"x": 0.25}, distributions={"x": distribution}, user_attrs={"key": "value"}
    )
    trial = optuna_private.add_running_trial(study, running)
    assert study.trials[0].state is TrialState.RUNNING
    assert (study.trials[0].params, study.trials[0].user_attrs) == ({"x": 0.25}, {"key": "value"})
    study.tell(trial, 1.0)
    assert study.trials[0].value == 1.0


def test_dask_a_worker_knows_whether_its_job_is_wanted_and_a_client_whether_it_is_connected() -> None:
    pytest.importorskip("distributed", reason="the private attributes of Dask: distributed is not installed")
    assert code_of(start(_use_dask), 120) == 0  # in a fork: Dask has threads, and later tests fork


began, cancelled, ended = threading.Event(), threading.Event(), threading.Event()


def _job() -> None:
    """What the one worker runs: it is wanted, and when it was cancelled, it no longer is."""
    from distributed import get_worker

    from hpo.workers import dask_private

    worker = get_worker()
    key = worker.get_current_task()
    assert dask_private.is_wanted(worker, key)
    began.set()
    cancelled.wait(60)
    while dask_private.is_wanted(worker, key):
        time.sleep(0.01)
    ended.set()


def _use_dask() -> None:
    """A scheduler and a worker in this process, which is why the job and we can share events."""
    from distributed import LocalCluster

    from hpo.workers import dask_private

    with LocalCluster(
        1, processes=False, threads_per_worker=1, dashboard_address=None, resources={"GPU": 1}
    ) as cluster:
        client = dask_private.connect(cluster.scheduler_address, 60)
        assert dask_private.is_connected(client)
        scheduler = dask_private.ask_scheduler(client, 60)
        assert scheduler is not None
        assert scheduler.id
        assert [(worker.threads, worker.resources) for worker in scheduler.workers] == [(1, {"GPU": 1})]
        future = dask_private.executor(client, {"GPU": 1}).submit(_job)
        assert began.wait(60)
        future.cancel()
        cancelled.set()
        assert ended.wait(60)
        dask_private.close(client, 60)
        assert not dask_private.is_connected(client)
        assert dask_private.ask_scheduler(client, 60) is None


def test_no_other_file_uses_a_private_attribute_of_a_library() -> None:
    """Ruff finds the uses; an exemption may stand in the three files alone."""
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "SLF", str(HPO)]
    done = subprocess.run(ruff, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    exempt = {path.name for path in HPO.rglob("*.py") if "SLF001" in path.read_text()}
    assert exempt <= {"dask_private.py", "loky_private.py", "optuna_private.py"}


def test_optuna_a_sampler_keeps_its_generators_where_copies_are_seeded() -> None:
    state = contract_private.numpy_random_state(vars(optuna.samplers.RandomSampler(seed=1))["_rng"])
    assert state is not None
    assert contract_private.numpy_random_state(object()) is None
    assert contract_private.is_seed(optuna.samplers.QMCSampler(), "_seed")


def test_optuna_a_quasi_random_sampler_draws_the_point_that_it_is_told() -> None:
    sampler = optuna.samplers.QMCSampler(scramble=True, seed=1, warn_independent_sampling=True)
    assert "_seed" in vars(sampler)
    assert "_warn_independent_sampling" in vars(sampler)
    study = optuna.create_study(sampler=sampler)
    study.add_trial(optuna.create_trial(value=0, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)}))
    contract_private.fix_sequence(sampler, seed=2, index=5)
    points = [study.ask().suggest_float("x", 0, 1) for _ in range(2)]
    assert points == [qmc.Sobol(1, seed=2).random(8)[5, 0]] * 2


@pytest.mark.parametrize("where", ["a file", "memory"])
def test_optuna_the_attributes_of_a_trial_are_set_in_one_commit_all_of_them_or_none(where: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=open_storage(url, create=True) if where == "a file" else None)
    trial, commits = study.ask(), []
    trial.set_user_attr("epochs", 1)
    with commits_to(commits):
        optuna_private.set_user_attributes(trial, {"epochs": 2, "scores": {"mse": 0.5}})
    assert len(commits) == (1 if where == "a file" else 0)
    assert study.trials[0].user_attrs == trial.user_attrs == {"epochs": 2, "scores": {"mse": 0.5}}
    study.tell(trial, 1.0)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        optuna_private.set_user_attributes(trial, {"epochs": 3})
    if where == "a file":
        with pytest.raises(TypeError):
            optuna_private.set_user_attributes(study.ask(), {"epochs": 3, "scores": object()})
        assert study.trials[1].user_attrs == {}


@contextmanager
def commits_to(commits: list[object]) -> Iterator[None]:
    """Add to the list whatever is committed to a database meanwhile."""
    add = commits.append  # one object, by which it is removed
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", add)
    try:
        yield
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "commit", add)
