"""Which GPU a worker sees, and how many threads it has. The workers are real processes; what they see is in their
environment: no GPU is needed."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from pathlib import Path

import pytest
import torch
from joblib.externals.loky.process_executor import ProcessPoolExecutor

from hpo.errors import Refused
from hpo.workers import ahead
from hpo.workers.local import Backend, Inline, Processes, visible_gpu
from hpo.workers.process import new_process
from tests.faults.processes import alive, until


class Hurrying:
    """What a study file is that sets the number of threads: where it is loaded, there are two."""

    def __reduce__(self) -> tuple[object, ...]:
        return (torch.set_num_threads, (2,))


def threads_beside(_: object) -> int:
    return torch.get_num_threads()


@pytest.mark.parametrize("backend", [Inline, partial(Processes, 1)])
def test_a_job_has_one_thread_whatever_the_study_file_has_set(backend: Callable[[], Backend]) -> None:
    pool, before = backend(), torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert pool.submit(threads_beside, Hurrying()).result() == 1
    finally:
        pool.kill()
        torch.set_num_threads(before)


SeenByWorkers = Callable[..., list[str | None]]


@pytest.fixture
def seen_by_workers(monkeypatch: pytest.MonkeyPatch) -> SeenByWorkers:
    """CUDA_VISIBLE_DEVICES in each of some workers, when this process has the value `ours`; sorted."""

    def values(workers: int, gpus: int, ours: str | None) -> list[str | None]:
        if ours is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
        pool = Processes(workers, gpus)
        try:
            futures = [pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES") for _ in range(workers)]
            wait(futures)
            return sorted((future.result() for future in futures), key=str)
        finally:
            pool.kill()

    return values


def test_each_worker_sees_one_of_the_gpus_that_we_see(seen_by_workers: SeenByWorkers) -> None:
    assert seen_by_workers(3, 2, "5,GPU-7f") == ["5", "5", "GPU-7f"]


@pytest.mark.parametrize(("gpus", "ours"), [(0, None), (1, "3")])
def test_where_there_are_not_several_gpus_nothing_is_hidden(
    seen_by_workers: SeenByWorkers, gpus: int, ours: str | None
) -> None:
    assert seen_by_workers(1, gpus, ours) == [ours]


def test_gpus_are_numbered_from_zero_where_the_environment_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [visible_gpu(slot, 4) for slot in (0, 3, 4)] == [{"CUDA_VISIBLE_DEVICES": str(n)} for n in (0, 3, 0)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that are started ahead, as if torch were still to be imported here."""
    pids: list[int] = []

    def start(*arguments: object) -> ProcessPoolExecutor:
        pool = new_process(*arguments)
        pids.append(pool.submit(os.getpid).result())
        return pool

    monkeypatch.setattr(ahead, "_is_worth_it", lambda: True)
    monkeypatch.setattr(ahead, "new_process", start)
    monkeypatch.setattr(ahead, "_import_what_trains", list)
    return pids


def test_a_worker_that_was_started_ahead_is_the_first_one_and_imports_and_reads_from_where_the_command_does(
    started: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_module.py").write_text("answer = 42")
    pool = Processes(2)
    with ahead.worker_ahead():
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.chdir(tmp_path)
        late = importlib.import_module("late_module")
        futures = [pool.submit(os.getpid), pool.submit(os.getpid)]
        first = [pool._pools[0].submit(getattr, late, "answer"), pool._pools[0].submit(os.getcwd)]
        assert [future.result() for future in first] == [42, str(tmp_path)]
        assert futures[0].result() == started[0] != futures[1].result()
    assert alive(started[0])  # it was taken: whoever has it ends it
    pool.kill()
    until(lambda: not alive(started[0]))


def test_a_worker_that_was_started_ahead_ends_where_nobody_has_taken_it(started: list[int]) -> None:
    with pytest.raises(Refused), ahead.worker_ahead():
        raise Refused("no such study")
    until(lambda: not alive(started[0]))


def test_a_worker_does_not_miss_a_variable_that_the_study_file_has_set(
    started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Processes(1)
    with ahead.worker_ahead():
        monkeypatch.setenv("SET_BY_THE_STUDY", "1")
        assert pool.submit(os.getenv, "SET_BY_THE_STUDY").result() == "1"
    until(lambda: not alive(started[0]))
    pool.kill()
