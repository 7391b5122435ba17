"""Data as people have it: DataLoaders in real worker processes, streams without an end, fields that are no tensors.

Shape suffixes: B batch, N examples, I inputs, O outputs.
"""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hpo.checking import checks
from hpo.checking.preflight import preflight
from hpo.seeds import generator
from hpo.space import log
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.provenance import data_hash, identity
from hpo.workers.local import Processes
from tests.faults.processes import code_of, start
from tests.loaders import Loaded, Streamed, plain_process, values
from tests.toy import INPUTS, Toy, toy_study

TINY = Fidelity(size=INPUTS, train=40, val=32, epochs=3)


@pytest.fixture(scope="module")
def worker() -> Iterator[Processes]:
    pool = Processes(1)
    yield pool
    pool.kill()


def loaded_study(task: Toy) -> StudySpec:
    return toy_study(task=task, space={"recipe.lr": log(1e-3, 0.3)})


# -- processes of the user's own -------------------------------------------------------------------------------------
def test_a_worker_starts_processes_as_any_other_process_does(worker: Processes) -> None:
    assert worker.submit(plain_process).result() == 0
    assert worker.submit(multiprocessing.get_start_method).result() == multiprocessing.get_start_method()


def test_a_worker_of_a_cluster_starts_processes_too() -> None:
    pytest.importorskip("distributed", reason="processes on a Dask worker: distributed is not installed")
    assert code_of(start(_use_cluster), 120) == 0  # in a fork: Dask has threads, and later tests fork


def _use_cluster() -> None:
    from distributed import LocalCluster

    from hpo.workers.dask import Cluster

    with LocalCluster(1, threads_per_worker=1, dashboard_address=None) as cluster:
        pool = Cluster(cluster.scheduler_address)
        assert pool.submit(plain_process).result() == 0
        assert len(pool.submit(values, Loaded(workers=2), TINY).result()) == 2 * TINY.epochs
        pool.kill()


@pytest.mark.parametrize("own_generator", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_over_a_dataloader_repeats_bit_for_bit_in_a_worker_and_here_and_when_it_is_resumed(
    worker: Processes, tmp_path: Path, workers: int, own_generator: bool
) -> None:
    """Its transforms draw from the global generators of torch, numpy and Python."""
    task = Loaded(workers=workers, augmented=True, own_generator=own_generator)
    undisturbed = values(task, TINY)
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    assert worker.submit(values, task, TINY).result() == undisturbed
    assert values(task, TINY, tmp_path, epochs=1) == undisturbed[:2]
    assert values(task, TINY, tmp_path) == undisturbed
    assert values(Loaded(workers=workers), TINY) != undisturbed, "the transforms change what is learned"


def test_every_epoch_is_augmented_anew() -> None:
    task = Loaded(augmented=True)
    first, second = (
        [batch.x_BI.sum(1).sort().values for batch in checks.one_pass(task, "train", TINY, 40, generator(epoch))]
        for epoch in range(2)
    )
    assert not torch.equal(first[0], second[0])


def test_what_a_model_draws_does_not_change_the_batches() -> None:
    """Dropout and transforms draw from the same generator of torch; a configuration must not change its data."""

    def batches(draws: int) -> list[torch.Tensor]:
        served = []
        for batch in checks.one_pass(Loaded(augmented=True), "train", TINY, 16, generator(1)):
            torch.rand(draws)
            served.append(batch.x_BI)
        return served

    assert all(torch.equal(a, b) for a, b in zip(batches(0), batches(5), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_checks_take_random_transforms_of_training_data_for_what_they_are(workers: int) -> None:
    (check,) = checks.check_repeatable(loaded_study(Loaded(workers=workers, augmented=True, own_generator=False)))
    assert (check.status, check.seen) == ("go", "repeats: yes; epochs differ: yes; validation fixed: yes")


# -- streams ---------------------------------------------------------------------------------------------------------
def test_a_stream_with_a_length_trains_like_the_points_that_it_gives() -> None:
    study = loaded_study(Streamed())
    assert all(check.status == "go" for check in checks.check_batches(study))
    assert len(values(study.task, TINY)) == 2 * TINY.epochs


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_endless_stream_is_stopped_one_batch_past_the_count_that_is_known(split: str, tmp_path: Path) -> None:
    study = loaded_study(Streamed(endless=(split,)))
    told = rf"Streamed.batches must end after the \d+ examples of '{split}' that the fidelity asks for, and goes on"
    with pytest.raises(ValueError, match=told):
        values(study.task, TINY)
    assert identity(study)["data"] == data_hash(study.task, study.cheap)
    result = preflight(study, RunFolder(tmp_path), identity(study))
    assert result.status == "no-go"
    (check,) = [check for check in result.checks if check.name == "data"]
    assert "and goes on" in check.seen


def test_an_endless_test_split_is_stopped_in_preflight(tmp_path: Path) -> None:
    result = preflight(loaded_study(Streamed(endless=("test",))), RunFolder(tmp_path), {})
    assert any("'test' that the fidelity asks for, and goes on" in check.seen for check in result.checks)
    assert result.status == "no-go"
