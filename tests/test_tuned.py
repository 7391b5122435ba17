"""Baselines with a space of their own: what is chosen, on which examples, and how often it is searched."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import hpo
from hpo import (
    OwnEpoch,
    OwnTraining,
    Recipe,
    Tuned,
    baseline_columns,
    choose,
    integer,
    log,
    scores_of,
    tune_baselines,
    uniform,
    when,
)
from hpo.checking.own import smoke_checks
from hpo.checking.promotable import check_promotable
from hpo.cli.results import Terminal, _tuned
from hpo.errors import Damaged, SweepFailed
from hpo.page.decoding import decode_verdict
from hpo.promotion.test_split import score_baselines
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Columns, Fidelity, Method, Split
from hpo.trial.guard import run_check
from tests.toy import A_OI, Batch, Toy, toy_study

CALLS: list[float] = []  # the gain of each batch that the method was given


@dataclass(frozen=True)
class Scaled(Toy):
    """A baseline that multiplies the known answer by a gain. On training examples the best gain is 1."""

    test_gain: float = 1.0  # the best one on the test split

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        for batch in super().batches(split, fidelity, batch_size, rng):
            yield batch._replace(y_BO=batch.y_BO * (self.test_gain if split == "test" else self.training_gain))

    @property
    def training_gain(self) -> float:
        return 1.0

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {**super().baselines(fidelity), "scaled": Tuned({"gain": uniform(0.0, 2.0)}, self.scaled)}

    def scaled(self, batch: Batch, gain: float = 0.2) -> Columns:
        CALLS.append(gain)
        return self.judged(gain * batch.x_BI @ A_OI.T, batch)


@dataclass(frozen=True)
class Folded(Scaled):
    """The training data of the second fold want another gain."""

    folds = 2
    fold: int = 0

    @property
    def training_gain(self) -> float:
        return (1.0, 0.5)[self.fold]


def study_of(task: Toy, **changes: object) -> StudySpec:
    return toy_study(task=task, **{"trials": 30, **changes})


# -- the search ------------------------------------------------------------------------------------------------------
def test_a_planted_setting_is_found_and_the_default_is_the_first_trial() -> None:
    """The error is NOISE**2 + (gain - 1)**2 times the mean square of an answer."""
    CALLS.clear()
    tuning = tune_baselines(study_of(Scaled()))["scaled"]
    assert tuning.settings["gain"] == pytest.approx(1.0, abs=0.1)
    assert CALLS[0] == 0.2
    assert tuning.value < tuning.default
    assert (tuning.trials, tuning.failed, tuning.examples) == (30, 0, 64)
    assert str(tuning).endswith("tuned on 64 training examples, 30 trials")


def test_the_choice_comes_from_training_examples_alone(tmp_path: Path) -> None:
    study = study_of(Scaled(test_gain=0.5))
    (scaled,) = [each for each in score_baselines(study, RunFolder(tmp_path)) if each.name == "scaled"]
    assert scaled.tuned[0].settings["gain"] == pytest.approx(1.0, abs=0.1)
    chosen = dict(scaled.tuned[0].settings)
    batches = list(study.task.batches("test", study.full, 16, torch.Generator()))
    columns = baseline_columns(study.task, study.full, batches, {"scaled": chosen})["scaled"]
    assert scaled.scores["mse"] == pytest.approx(scores_of(study.task, columns)["mse"])


def test_each_fold_is_tuned_on_its_own_training_data(tmp_path: Path) -> None:
    baselines = score_baselines(study_of(Folded()), RunFolder(tmp_path))
    gains = {each.name: [tuning.settings["gain"] for tuning in each.tuned] for each in baselines}
    assert gains["scaled"] == pytest.approx([1.0, 0.5], abs=0.1)
    assert gains["zero"] == []


def test_the_same_study_chooses_the_same_and_the_default_stays_where_nothing_is_better() -> None:
    study = study_of(Scaled(), trials=5)
    assert tune_baselines(study) == tune_baselines(study)

    class Best(Scaled):
        def scaled(self, batch: Batch, gain: float = 1.0) -> Columns:
            return super().scaled(batch, gain)

    tuning = tune_baselines(study_of(Best(), trials=5))["scaled"]
    assert (tuning.settings, tuning.value) == ({"gain": 1.0}, tuning.default)


class Fragile(Scaled):
    """It fails below a gain of 0.5, the default included, and knows no number above 1.5."""

    def scaled(self, batch: Batch, gain: float = 0.2) -> Columns:
        if gain < 0.5:
            raise RuntimeError("too dark")
        columns = super().scaled(batch, gain)
        return columns if gain < 1.5 else {"mse": columns["mse"] * torch.nan}


def test_a_trial_that_fails_is_not_the_end() -> None:
    tuning = tune_baselines(study_of(Fragile()))["scaled"]
    assert tuning.settings["gain"] == pytest.approx(1.0, abs=0.1)
    assert tuning.default is None
    assert tuning.failed >= 2
    assert f"of which {tuning.failed} failed" in str(tuning)


def test_where_all_fail_the_reason_is_said() -> None:
    class Broken(Scaled):
        def scaled(self, batch: Batch, gain: float = 0.2) -> Columns:
            raise RuntimeError("no such file")

    with pytest.raises(SweepFailed, match=r"baseline 'scaled' failed in each of 3 trials: .*no such file"):
        tune_baselines(study_of(Broken(), trials=3))


@dataclass(frozen=True)
class Own(OwnTraining):
    """It trains itself, and reads the toy's batches where the baselines are asked for."""

    goal, direction, cluster = "mse", "minimize", None

    def train(self, recipe: Recipe, fidelity: Fidelity, seed: int, folder: Path) -> Iterator[OwnEpoch]:
        error = np.full(8, 1 + seed % 7)
        for epoch in range(fidelity.epochs):
            yield OwnEpoch(epoch, {"mse": error}, test=lambda: {"mse": error})

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        return Scaled().batches(split, fidelity, batch_size, rng)

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {"scaled": Tuned({"gain": uniform(0.0, 2.0)}, Scaled().scaled)}


@dataclass(frozen=True)
class OwnMisspelt(Own):
    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {"scaled": Tuned({"gian": uniform(0.0, 2.0)}, Scaled().scaled)}


@dataclass(frozen=True)
class OwnWithoutBatches(Own):
    def batches(self, *_: object) -> Iterator[Batch]:
        return iter(())


def test_a_baseline_of_a_task_that_trains_itself_is_tuned_on_its_training_batches() -> None:
    def study_with(task: Own) -> StudySpec:
        return study_of(task, space={"recipe.lr": log(1e-3, 0.3)})

    assert tune_baselines(study_with(Own()))["scaled"].settings["gain"] == pytest.approx(1.0, abs=0.1)
    with pytest.raises(SweepFailed, match="has no training example to tune a baseline on"):
        tune_baselines(study_with(OwnWithoutBatches()))
    _, checks = smoke_checks(study_with(OwnMisspelt()))
    (check,) = [each for each in checks if each.name == "can be promoted"]
    assert check.status == "no-go"
    assert "'gian' must be an argument of" in check.seen


class Grouped(NamedTuple):
    """The toy's batch, with what belongs together."""

    x_BI: Tensor
    y_BO: Tensor
    group_B: Tensor


class Clustered(Scaled):
    cluster = "group_B"

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Grouped]:
        for batch in super().batches(split, fidelity, batch_size, rng):
            yield Grouped(*batch, torch.arange(len(batch.x_BI)) // 2)


def test_clusters_of_the_task_are_kept(tmp_path: Path) -> None:
    baselines = score_baselines(study_of(Clustered(), trials=2), RunFolder(tmp_path))
    assert {each.folds[0].clusters for each in baselines} == {8}


# -- what is kept ----------------------------------------------------------------------------------------------------
def test_what_is_kept_is_not_searched_again_unless_method_or_budget_differ(tmp_path: Path) -> None:
    folder, study = RunFolder(tmp_path), study_of(Scaled(), trials=6)
    notes: list[str] = []
    first = score_baselines(study, folder, notes.append)
    assert notes[-1] == "tuning scaled: trial 6 of 6"
    notes.clear()
    assert score_baselines(study, folder, notes.append) == first
    assert notes == []

    class Mended(Scaled):
        def scaled(self, batch: Batch, gain: float = 0.2) -> Columns:
            return super().scaled(batch, gain / 2)

    Mended.__qualname__ = "Scaled"  # the same task, whose code was edited
    score_baselines(replace(study, task=Mended()), folder, notes.append)
    assert len(notes) == 6
    score_baselines(replace(study, trials=7), folder, notes.append)
    assert notes[-1] == "tuning scaled: trial 7 of 7"
    folder.baselines.write_text("[{}]")
    with pytest.raises(Damaged, match=r"baselines\.json is damaged"):
        score_baselines(study, folder)


@pytest.mark.slow
def test_page_terminal_and_verdict_say_what_was_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = study_of(Scaled(), trials=2, keep=1, seeds=1)
    hpo.sweep(study, runs=tmp_path, workers=1, force=True)
    verdict = hpo.promote(study, runs=tmp_path, workers=1, progress=Terminal())
    (tuning,) = next(each for each in verdict.baselines if each.name == "scaled").tuned
    folder = RunFolder(tmp_path / "toy")
    assert decode_verdict(folder).baselines[-1].tuned == (tuning,)
    assert f"scaled: {tuning.choice}, tuned on 64 training examples, 2 trials" in capsys.readouterr().out
    page = hpo.report(study, runs=tmp_path).read_text()
    assert tuning.choice in page
    assert "tuned on 64 training examples, 2 trials" in page
    assert (
        _tuned((tuning, tuning)) == "tuned on 64 training examples, 2 trials, in each of 2 folds; the report lists them"
    )


# -- refusals --------------------------------------------------------------------------------------------------------
def method(batch: Batch, gain: float = 0.2, power: int = 1, kind: str = "a") -> Columns:
    return {"mse": gain**power * batch.x_BI[:, 0]}


REFUSED = {
    "'gian' must be an argument of method with a default; did you mean 'gain'?": {"gian": uniform(0, 1)},
    "'batch' must be an argument of method with a default": {"batch": uniform(0, 1)},
    r"space\['gain'\]: the default 0.2 must lie in the space": {"gain": uniform(1, 2)},
    r"space\['gain'\]: must be log, uniform": {"gain": (0, 1)},
    "its condition names 'kind', which is not searched": {"power": when("kind", "a", integer(1, 3))},
    "must map at least one setting": {},
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_space_that_the_method_does_not_take_is_refused(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tuned(REFUSED[message], method)


class Misspelt(Scaled):
    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        return {"scaled": Tuned({"gian": uniform(0.0, 2.0)}, self.scaled)}


def test_preflight_refuses_it_before_anything_is_trained() -> None:
    study = study_of(Misspelt())
    (check,) = run_check("can be promoted", lambda: check_promotable(study, study.task.model()))
    assert check.status == "no-go"
    assert "'gian' must be an argument of" in check.seen


def test_a_setting_whose_condition_does_not_hold_is_not_given() -> None:
    space = {"kind": choose("a", "b"), "power": when("kind", "b", integer(1, 3))}
    tuned = Tuned(space, method)
    assert tuned.defaults == {"kind": "a"}
    batch = Batch(torch.full((2, 6), 0.5), torch.zeros(2, 2))
    assert tuned(batch)["mse"].tolist() == pytest.approx([0.1, 0.1])
    assert tuned.with_settings({"kind": "b", "power": 2})(batch)["mse"].tolist() == pytest.approx([0.02, 0.02])
