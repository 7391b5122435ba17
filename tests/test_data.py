"""Data as people have it: DataLoaders in real worker processes, streams without an end, fields that are no tensors.

Shape suffixes: B batch, N examples, I inputs, O outputs.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import random
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from weakref import WeakSet

import numpy as np
import optuna
import pytest
import torch
from torch.utils.data import DataLoader, Subset

from hpo.checking.data import check_splits
from hpo.checking.folds import check_folds, check_parts
from hpo.checking.preflight import preflight
from hpo.checking.repeatable import check_repeatable
from hpo.data.batch import example_hash, examples_in, pieces, rows, without_padding
from hpo.data.passes import one_pass
from hpo.engine.cross_validation import fit_parts
from hpo.engine.evaluation import evaluate, place
from hpo.engine.training import Progress, fit
from hpo.errors import ContractError, SweepFailed
from hpo.promotion.promote import promote
from hpo.recipe import Recipe
from hpo.search.sweep import SweepTrials, sweep
from hpo.seeds import derive, generator
from hpo.space import choose, log, uniform
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity, Split
from hpo.trial.artifact import load_winner
from hpo.trial.data_identity import data_hash
from hpo.trial.lifecycle import state_of
from hpo.trial.objective import trained
from hpo.trial.over_limit import outcome_over_limit
from hpo.trial.provenance import identity, promotion_identity
from hpo.workers.local import Processes
from tests.faults.processes import code_of, start
from tests.loaders import Bags, Loaded, Points, Streamed, plain_process, values
from tests.toy import A_OI, CHEAP, FULL, INPUTS, Batch, Toy, toy_study

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


@pytest.mark.slow
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
        [batch.x_BI.sum(1).sort().values for batch in one_pass(task, "train", TINY, 40, generator(epoch))]
        for epoch in range(2)
    )
    assert not torch.equal(first[0], second[0])


def test_what_a_model_draws_does_not_change_the_batches() -> None:
    """Dropout and transforms draw from the same generator of torch; a configuration must not change its data."""

    def batches(draws: int) -> list[torch.Tensor]:
        served = []
        for batch in one_pass(Loaded(augmented=True), "train", TINY, 16, generator(1)):
            torch.rand(draws)
            served.append(batch.x_BI)
        return served

    assert all(torch.equal(a, b) for a, b in zip(batches(0), batches(5), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_checks_take_random_transforms_of_training_data_for_what_they_are(workers: int) -> None:
    (check,) = check_repeatable(loaded_study(Loaded(workers=workers, augmented=True, own_generator=False)))
    assert (check.status, check.seen) == ("go", "repeats: yes; epochs differ: yes; validation fixed: yes")


@dataclass(frozen=True)
class Killed(Toy):
    """The toy, whose first DataLoader processes are killed, as many as there are files in a folder."""

    kills: str = ""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        data = Dying(split, fidelity.examples(split), Path(self.kills))
        yield from DataLoader(data, batch_size, shuffle=split == "train", generator=rng, num_workers=1)


class Dying(Points):
    def __init__(self, split: Split, size: int, kills: Path) -> None:
        super().__init__(split, size)
        self.kills = kills if split == "train" else None

    def __getitem__(self, row: int) -> Batch:
        for kill in self.kills.iterdir() if self.kills else ():
            kill.unlink()
            signal.raise_signal(signal.SIGKILL)
        return super().__getitem__(row)


@pytest.mark.parametrize(("kills", "state"), [(2, "complete"), (3, "failed")])
def test_a_killed_process_of_a_dataloader_is_not_the_fault_of_the_trial(kills: int, state: str, tmp_path: Path) -> None:
    (tmp_path / "kills").mkdir()
    task = Killed(kills=str(tmp_path / "kills"))
    study = toy_study(task=task, smoke=TINY, cheap=TINY, full=TINY, trials=1, pruning=None)
    folder = RunFolder(tmp_path / "run")
    hashes = identity(study)
    for number in range(kills):
        (tmp_path / "kills" / str(number)).touch()
    with contextlib.suppress(SweepFailed):
        sweep(study, folder, hashes, device="cpu")
    (trial,) = optuna.load_study(study_name=study.name, storage=folder.storage).trials
    assert state_of(trial) == state, trial.user_attrs
    if state == "failed":
        assert "DataLoader worker (pid" in trial.user_attrs["reason"]


# -- streams ---------------------------------------------------------------------------------------------------------
def test_a_stream_with_a_length_trains_like_the_points_that_it_gives() -> None:
    study = loaded_study(Streamed())
    assert all(check.status == "go" for check in check_splits(study))
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


# -- fields that are no tensors --------------------------------------------------------------------------------------
def test_lists_dicts_and_ragged_fields_go_the_whole_way(worker: Processes, tmp_path: Path) -> None:
    """Padded batches of several lengths, a mask, integer labels and names; also in a worker, and in pieces."""
    study = loaded_study(Bags())
    result = preflight(study, RunFolder(tmp_path), identity(study))
    assert result.status == "go", [check for check in result.checks if check.status != "go"]
    whole = values(study.task, TINY)
    assert worker.submit(values, study.task, TINY).result() == whole
    assert values(study.task, TINY, accumulate=3) == pytest.approx(whole, rel=1e-4)


def test_a_batch_is_cut_along_its_examples_and_counted_whatever_its_first_field_is() -> None:
    (batch,) = one_pass(Bags(), "val", replace(TINY, val=5), 5, generator(0))
    parts = pieces(batch, 2)
    assert [examples_in(part) for part in (batch, *parts)] == [5, 3, 2]
    assert [name for part in parts for name in part.name_B] == batch.name_B
    assert torch.equal(torch.cat([part.words["ids"] for part in parts]), batch.words["ids"])
    ragged = [row for part in parts for row in part.parts.unbind()]
    assert all(torch.equal(a, b) for a, b in zip(ragged, batch.parts.unbind(), strict=True))
    assert parts[1].note is None


def test_every_tensor_of_a_batch_is_moved() -> None:
    (batch,) = one_pass(Bags(), "val", replace(TINY, val=5), 5, generator(0))
    moved = place(batch, torch.device("meta"))
    tensors = [moved.words["ids"], moved.words["mask"], moved.label_B, *moved.weights_B]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.name_B == batch.name_B


def test_a_numpy_array_stays_as_it_is_where_tensors_are_moved() -> None:
    (batch,) = one_pass(Bags(), "val", replace(TINY, val=5), 5, generator(0))
    moved = place(batch._replace(name_B=np.arange(5)), torch.device("meta"))
    assert moved.label_B.device.type == "meta"
    np.testing.assert_array_equal(moved.name_B, np.arange(5))


@pytest.mark.parametrize("shape", [(3,), (2, 3)])
def test_an_example_is_the_same_however_far_its_batch_is_padded(shape: tuple[int, ...]) -> None:
    tokens = torch.arange(1, 1 + math.prod(shape)).reshape(shape)
    further = torch.nn.functional.pad(tokens, (0, 2) * len(shape))
    short, long = ({"ids": ids, "mask": ids != 0, "name": "a"} for ids in (tokens, further))
    assert example_hash([without_padding(short)]) == example_hash([without_padding(long)])
    leading = torch.nn.functional.pad(tokens, (1, 1) * len(shape))
    assert example_hash([without_padding(further)]) != example_hash([without_padding(leading)])


@pytest.mark.parametrize("field", ["name_B", "words", "parts", "weights_B", "label_B"])
def test_every_field_counts_in_the_identity_of_the_data(field: str) -> None:
    (batch,) = one_pass(Bags(), "val", replace(TINY, val=5), 5, generator(0))
    assert example_hash([batch]) == example_hash([batch._replace()])
    assert example_hash([batch]) != example_hash([batch._replace(**{field: rows(getattr(batch, field), slice(4))})])


@dataclass(frozen=True)
class Odd(Bags):
    """A batch with a field that has nothing to do with its examples."""

    kind: str = ""

    def batches(self, *args) -> Iterator[NamedTuple]:
        odd = {"a set": {1, 2}, "too few": ["a"], "a number": 3, "inside": {"ids": torch.zeros(2, 1)}}[self.kind]
        for batch in super().batches(*args):
            yield batch._replace(note=odd)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("a set", "note must be a tensor, a list or an array with one item for each example, a dict of such, or None"),
        ("too few", "note must have one item for each of the 16 examples; it has 1"),
        ("a number", "it is of type int"),
        ("inside", "note['ids'] must be a tensor whose first dimension is the 16 examples"),
    ],
)
def test_a_field_that_cannot_be_cut_is_refused_in_words_and_not_by_a_crash(
    kind: str, told: str, tmp_path: Path
) -> None:
    study = loaded_study(Odd(kind=kind))
    with pytest.raises(ContractError, match=re.escape(told.replace("16", "4"))):
        identity(study)
    result = preflight(study, RunFolder(tmp_path), {})
    (check,) = [check for check in result.checks if check.name == "data"]
    assert check.status == "no-go"
    assert told in check.seen


# -- whole splits ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Whole(Toy):
    """The toy without a size, whose splits have as many examples as they have. The last training batch is dropped."""

    size_unit = ""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        points = Points(split, {"train": 70, "val": 33, "test": 21}[split])
        data = Subset(points, range(len(points))[: fidelity.limit(split)])
        is_train = split == "train"
        yield from DataLoader(data, batch_size, shuffle=is_train, generator=rng, drop_last=is_train)


def test_a_fidelity_may_ask_for_whole_splits_and_its_schedule_knows_the_number_of_steps(tmp_path: Path) -> None:
    whole = Fidelity(epochs=3)
    epochs = list(fit(Whole(), Recipe(lr=0.1, batch_size=16), whole, seed=3, device="cpu"))
    assert [epoch.batches for epoch in epochs] == [4, 4, 4]
    exact = list(fit(Whole(), Recipe(lr=0.1, batch_size=16), Fidelity(train=64, epochs=3), seed=3, device="cpu"))
    assert [epoch.lr for epoch in epochs] == [epoch.lr for epoch in exact], "the cosine ends with the run"
    undisturbed = values(Whole(), whole)
    assert values(Whole(), whole, tmp_path, epochs=1) == undisturbed[:2]
    assert values(Whole(), whole, tmp_path) == undisturbed


def test_a_study_of_whole_splits_goes_through_preflight_and_promotion(tmp_path: Path) -> None:
    whole = Fidelity(epochs=2)
    smoke = Fidelity(train=32, val=32, test=21, epochs=1)
    study = replace(
        loaded_study(Whole()), smoke=smoke, cheap=whole, full=whole, trials=1, keep=1, seeds=2, pruning=None
    )
    folder = RunFolder(tmp_path)
    result = preflight(study, folder, identity(study))
    assert result.status == "go", [check for check in result.checks if check.status != "go"]
    sweep(study, folder, identity(study), device="cpu")
    verdict = promote(study, folder, identity(study), device="cpu")
    assert "21 test examples" in verdict.sentence


def test_no_fidelity_is_larger_than_a_dearer_one_and_a_whole_split_is_the_largest() -> None:
    with pytest.raises(ValueError, match=r"cheap.train: must be at most full.train = 256; got None, the whole split"):
        toy_study(cheap=replace(CHEAP, train=None))
    assert toy_study(full=replace(FULL, train=None, val=None)).full.limit("test") == 200


def test_a_task_that_needs_a_number_of_examples_says_so() -> None:
    with pytest.raises(ValueError, match=r"asks for the whole 'train' split, and this task needs a number of examples"):
        values(Toy(), Fidelity(epochs=1))


# -- data that is larger than memory ---------------------------------------------------------------------------------
ALIVE: list[int] = []  # how many batches of a split were alive together, at each of them


@dataclass(frozen=True)
class Large(Toy):
    """The toy, which counts how many of its batches are held at a time."""

    def batches(self, *args) -> Iterator[Batch]:
        alive: WeakSet[torch.Tensor] = WeakSet()
        for batch in super().batches(*args):
            alive.add(batch.x_BI)
            ALIVE.append(len(alive))
            yield batch


def test_no_split_is_held_in_memory_by_a_sweep_or_a_promotion(tmp_path: Path) -> None:
    long = Fidelity(size=INPUTS, train=96, val=96, epochs=1, test=96)  # of 6 batches
    study = toy_study(task=Large(), smoke=long, cheap=long, full=long, trials=1, keep=1, seeds=2, pruning=None)
    folder = RunFolder(tmp_path)
    ALIVE.clear()
    sweep(study, folder, promotion_identity(study), device="cpu")
    promote(study, folder, promotion_identity(study), device="cpu")
    assert ALIVE
    assert max(ALIVE) <= 2, "the batch at work, and the one that is being made"


# -- fields that follow from the data --------------------------------------------------------------------------------
LOOKS: list[int] = []  # one for each time that data was looked at


@dataclass(frozen=True)
class Scaled(Toy):
    """The toy, whose model needs the mean and the number of the features."""

    mean: float = 0.0
    features: int | None = None

    def from_data(self, fidelity: Fidelity) -> Scaled:
        LOOKS.append(1)
        (batch,) = self.batches("train", fidelity, fidelity.examples("train"), torch.Generator().manual_seed(0))
        return replace(self, mean=float(batch.x_BI.mean()), features=batch.x_BI.shape[1])

    def model(self) -> torch.nn.Module:
        model = super().model()
        model.map = torch.nn.Linear(self.features, model.map.out_features)
        return model


def test_fields_that_follow_from_the_data_travel_to_the_winner_which_needs_none(tmp_path: Path) -> None:
    study = toy_study(task=Scaled(), cheap=TINY, smoke=TINY, pruning=None, trials=2, keep=1, seeds=2)
    folder = RunFolder(tmp_path)
    LOOKS.clear()
    sweep(study, folder, identity(study), device="cpu")
    promote(study, folder, identity(study), device="cpu")
    looked = len(LOOKS)
    task, model = load_winner(folder.export, Scaled)
    assert len(LOOKS) == looked, "a winner is loaded without the data"
    assert task.features == model.map.in_features == INPUTS
    assert task.mean == study.configure({}, study.full).task.mean != study.configure({}, study.cheap).task.mean


def test_the_data_is_looked_at_once_for_a_task_and_a_fidelity() -> None:
    study = toy_study(task=Scaled())
    study.configure({"task.shift": 0.123}, study.cheap)
    LOOKS.clear()
    study.configure({"task.shift": 0.123}, study.cheap)
    assert not LOOKS
    study.configure({"task.shift": 0.321}, study.cheap)
    assert len(LOOKS) == 1
    assert study.as_smoke().task == Scaled(), "a rehearsal has the fields of its own data"


def test_what_is_searched_cannot_follow_from_the_data() -> None:
    study = toy_study(task=Scaled(), space={"task.mean": uniform(-1, 1)})
    with pytest.raises(ValueError, match=r"Scaled.from_data changes \['task.mean'\], which the space searches"):
        study.configure({"task.mean": 0.5}, study.cheap)


# -- folds -----------------------------------------------------------------------------------------------------------
class Visit(NamedTuple):
    x_BI: torch.Tensor
    y_BO: torch.Tensor
    patient_B: torch.Tensor


@dataclass(frozen=True)
class Patients(Toy):
    """Visits of nine patients: 0 to 2 always validate, and each fold is tested on two others."""

    fold: int = 0
    fault: str = ""

    folds = 3
    cluster = "patient_B"

    def patients(self, split: Split) -> list[int]:
        fold = 0 if self.fault == "stays" else self.fold
        tested = [3 + 2 * fold, 4 + 2 * fold]
        if self.fault == "changes" and fold == 2:
            tested = tested[:1]
        if split == "val":
            validating = {"chooses": [0, 1, 2, 3], "moves": [0, 1, 2][fold:]}
            return validating.get(self.fault, [0, 1, 2])
        if split == "test":
            return tested
        return [patient for patient in range(3, 9) if self.fault == "trains" or patient not in tested]

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Visit]:
        patients = torch.tensor(self.patients(split)).repeat_interleave(8)
        x_NI = torch.randn(9, 8, INPUTS, generator=generator("patients")).flatten(0, 1)
        chosen = [8 * patient + visit for patient in self.patients(split) for visit in range(8)]
        data = [Visit(x, x @ A_OI.T, patient) for x, patient in zip(x_NI[chosen], patients, strict=True)]
        yield from DataLoader(data, batch_size, shuffle=split == "train", generator=rng)


def folded(fault: str = "") -> StudySpec:
    whole = Fidelity(epochs=2)
    return replace(
        toy_study(task=Patients(fault=fault), space={"recipe.lr": log(1e-3, 0.3)}, pruning=None),
        smoke=whole,
        cheap=whole,
        full=whole,
        trials=2,
        keep=1,
        seeds=3,
    )


def test_each_run_of_a_promotion_is_tested_on_a_fold_of_its_own(tmp_path: Path) -> None:
    study, folder = folded(), RunFolder(tmp_path)
    sweep(study, folder, identity(study), device="cpu")
    verdict = promote(study, folder, identity(study), device="cpu")
    assert verdict.sample.folds == 3
    for result in verdict.results:
        for run in result.runs:
            task, recipe = study.configure(result.candidate.params, study.full, fold=run.seed_index)
            assert task.fold == run.seed_index
            trained = values_of(task, recipe, study, run.seed_index)
            assert run.test["mse"] == pytest.approx(trained, rel=1e-6)


def values_of(task: Patients, recipe: Recipe, study: StudySpec, run: int) -> float:
    """The test error of a run that is trained by hand, on the fold that its task says."""
    seed = derive(study.seed, "promotion", run)
    best = list(fit(task, recipe, study.full, seed=seed, device="cpu"))[-1]
    model = task.model()
    model.load_state_dict(best.best_weights)
    batches = one_pass(task, "test", study.full, 16, generator("test"))
    return evaluate(task, model, batches)["mse"]


def test_what_another_fold_trains_on_is_no_leak() -> None:
    (check,) = check_folds(folded())
    assert (check.status, check.seen) == ("go", "3 folds test on 2 + 2 + 2, and validate on none of them")


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("chooses", "fold 0 tests on 1 cluster of the validation split"),
        ("moves", "fold 1 validates on other examples than fold 0"),
        ("stays", "folds 0 and 1 both test on 2 clusters"),
        ("trains", "fold 0 trains on 16 origins that it tests on"),
    ],
)
def test_folds_that_choose_and_judge_by_the_same_things_are_refused(fault: str, seen: str, tmp_path: Path) -> None:
    result = preflight(folded(fault), RunFolder(tmp_path), {})
    assert ("folds", "no-go", seen) in {(check.name, check.status, check.seen) for check in result.checks}


def test_a_task_with_folds_has_a_field_that_says_which_one_it_is() -> None:
    class Unsaid(Toy):
        folds = 3

    with pytest.raises(ValueError, match=r"a task with 3 folds needs a field .*: `fold: int = 0` in Unsaid"):
        toy_study(task=Unsaid())
    with pytest.raises(ValueError, match=r"space\['task.fold'\]: a fold is no hyperparameter"):
        replace(folded(), space={"task.fold": choose(0, 1, 2)})


def test_a_promotion_rests_on_the_test_data_of_every_fold() -> None:
    before, after = folded(), folded(fault="changes")  # of fold 2 alone
    assert identity(before)["data"] == identity(after)["data"]
    assert promotion_identity(before)["data"] != promotion_identity(after)["data"]


# -- cross-validation ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Parted(Toy):
    """The toy on 60 points: part p of them validates, and the others are trained on."""

    part: int = 0
    parts: int = 1
    leaks: bool = False

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if split == "test":
            yield from DataLoader(Points("test", 20), batch_size)
            return
        points = Points("train", 60)
        parts = torch.arange(60) % max(2, self.parts)
        chosen = parts == self.part if split == "val" else (parts != self.part) | self.leaks
        data = Subset(points, chosen.nonzero().flatten().tolist())
        yield from DataLoader(data, batch_size, shuffle=split == "train", generator=rng)


def parted(**changes) -> StudySpec:
    whole = Fidelity(epochs=3)
    study = toy_study(task=Parted(), space={"recipe.lr": log(1e-3, 0.3)}, smoke=whole, cheap=whole, full=whole)
    return replace(study, **{"trials": 3, "keep": 1, "seeds": 2, "pruning": None, "cross_validate": 3, **changes})


def test_a_trial_of_a_cross_validation_is_the_mean_of_its_runs(tmp_path: Path) -> None:
    study, folder = parted(), RunFolder(tmp_path)
    sweep(study, folder, identity(study), device="cpu")
    for trial in optuna.load_study(study_name=study.name, storage=folder.storage).trials:
        runs = []
        for part in range(3):
            task, recipe = study.configure(trial.params, study.cheap, part=part)
            assert (task.part, task.parts) == (part, 3)
            seed = derive(study.training_seed(trial.number), "part", part)
            runs.append([epoch.value for epoch in fit(task, recipe, study.cheap, seed=seed, device="cpu")])
        means = np.mean(runs, axis=0)
        assert trial.value == pytest.approx(means.min(), rel=1e-12)
        assert list(trial.intermediate_values.values()) == pytest.approx(
            np.minimum.accumulate(means).tolist(), rel=1e-12
        )
    assert not list(tmp_path.rglob("*.pt")), "checkpoints have done their work, those of every part"
    verdict = promote(study, folder, identity(study), device="cpu")
    assert {run.seed_index for run in verdict.results[0].runs} == {0, 1}, "a promotion trains one run a seed"


def test_a_cross_validation_goes_on_from_the_checkpoints_of_all_its_runs(tmp_path: Path) -> None:
    study = parted()
    configured = [study.configure({}, study.cheap, part=part) for part in range(3)]
    tasks, recipe = [each.task for each in configured], configured[0].recipe

    def epochs(folder: Path | None, number: int | None = None) -> list[Progress]:
        return list(islice(fit_parts(tasks, recipe, study.cheap, seed=5, device="cpu", resume=folder), number))

    whole = epochs(None)
    assert epochs(tmp_path, 2) == whole[:2]
    newest = max((tmp_path / "part-2").glob("*.pt"))
    newest.unlink()  # it was killed before its last run had finished the epoch
    resumed = epochs(tmp_path)
    assert resumed == whole
    assert [epoch.replayed for epoch in resumed] == [True, False, False]


def test_patience_looks_at_the_mean() -> None:
    study = parted()
    tasks = [study.configure({}, study.cheap, part=part).task for part in range(3)]
    recipe = Recipe(lr=1e-9, batch_size=16, patience=1, weight_decay=0.0)
    long = replace(study.cheap, epochs=9)
    epochs = list(fit_parts(tasks, replace(recipe, lr=10.0, clip=1e9), long, seed=5, device="cpu"))
    first_rise = next(n for n in range(1, len(epochs)) if epochs[n].value >= min(e.value for e in epochs[:n]))
    assert len(epochs) == first_rise + 1
    assert epochs[-1].stopped


def test_parts_that_train_on_what_they_validate_on_are_refused(tmp_path: Path) -> None:
    (check,) = check_parts(parted())
    assert (check.status, check.seen) == ("go", "3 parts validate on 20 + 20 + 20")
    result = preflight(parted(task=Parted(leaks=True)), RunFolder(tmp_path), {})
    assert result.status == "no-go"
    (check,) = check_parts(parted(task=Parted(leaks=True)))
    assert check.seen == "part 0 trains on 20 origins that it validates on"


def test_the_epochs_of_a_trial_that_a_limit_has_ended_are_the_means_of_its_runs(tmp_path: Path) -> None:
    study = parted(cross_validate=3)
    job = SweepTrials(study, RunFolder(tmp_path), identity(study), device="cpu").next()
    epochs = [progress.record for progress in islice(trained(job), 3)]
    (job.folder / "limit.json").write_text('{"name": "minutes", "limit": 60, "used": 61}')
    outcome = outcome_over_limit(job)
    assert (outcome.state, list(outcome.history)) == ("failed", epochs)
    assert outcome.value == epochs[-1].best


def test_a_task_without_parts_cannot_be_cross_validated() -> None:
    with pytest.raises(ValueError, match=r"cross_validate: Toy needs the fields `part: int = 0` and `parts: int = 1`"):
        toy_study(cross_validate=3)
    with pytest.raises(ValueError, match=r"cross_validate: must be a whole number of at least 1; got 0"):
        toy_study(cross_validate=0)
    assert identity(parted()) != identity(parted(cross_validate=2))
