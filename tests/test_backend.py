"""Which GPU a worker sees, and how many threads it has. The workers are real processes; what they see is in their
environment: no GPU is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial

import pytest
import torch

from hpo.workers.local import Backend, Inline, Processes, visible_gpu


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
