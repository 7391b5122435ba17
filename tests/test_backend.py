"""Which GPU a worker sees. Real worker processes; what they would see is in their environment, so no GPU is needed."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import wait

import pytest

from hpo.workers.local import Processes, visible_gpu


@pytest.fixture
def seen(monkeypatch) -> Callable[..., list[str | None]]:
    def of(workers: int, gpus: int, ours: str | None) -> list[str | None]:
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

    return of


def test_each_worker_sees_one_of_the_gpus_that_we_see(seen) -> None:
    assert seen(3, 2, "5,GPU-7f") == ["5", "5", "GPU-7f"]


@pytest.mark.parametrize(("gpus", "ours"), [(0, None), (1, "3")])
def test_where_there_is_no_choice_nothing_is_hidden(seen, gpus: int, ours: str | None) -> None:
    assert seen(1, gpus, ours) == [ours]


def test_gpus_are_numbered_from_zero_where_nobody_chose(monkeypatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [visible_gpu(slot, 4) for slot in (0, 3, 4)] == [{"CUDA_VISIBLE_DEVICES": str(n)} for n in (0, 3, 0)]
