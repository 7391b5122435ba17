"""Tasks that train themselves: three kinds of training that are not ours, through the whole path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import hpo
from hpo import Fidelity, NoGo, OwnEpoch, OwnTraining, Recipe, StudySpec, uniform
from hpo.engine.own_training import follow
from hpo.errors import Diverged
from hpo.storage.folder import RunFolder
from hpo.trial.artifact import load_winner
from hpo.trial.record import read_outcome
from hpo.verbs.load import load_study

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"
FIDELITY = Fidelity(train=8, val=6, epochs=4, test=6)


@pytest.mark.parametrize("name", ["boosting", "plain_loop", "lightning_module"])
def test_an_example_goes_the_whole_path(name: str, tmp_path: Path) -> None:
    if name == "lightning_module":
        pytest.importorskip("pytorch_lightning")
    study = load_study(EXAMPLES / f"{name}.py")
    study = replace(study, trials=4, keep=1, seeds=2, full=replace(study.full, epochs=study.cheap.epochs))
    verdict = hpo.run(study, runs=tmp_path, backend="inline")
    folder = tmp_path / study.name
    assert verdict.sample.examples == study.full.test
    assert (folder / "report.html").exists()
    preflight = json.loads((folder / "preflight.json").read_text())
    (check,) = [check for check in preflight["checks"] if check["name"] == "its own training"]
    assert "a resume that is the same to the bit" in check["seen"]
    with pytest.raises(ValueError, match="of a task that trains itself: load its files"):
        load_winner(folder / "winner")
    if name == "boosting":
        model = joblib.load(folder / "winner" / "model.joblib")
        x, y = study.task.rows("test", study.full)
        card = json.loads((folder / "winner" / "card.json").read_text())
        assert roc_auc_score(y, model.decision_function(x)) == pytest.approx(card["test"]["auc"])


@dataclass(frozen=True)
class Curve(OwnTraining):
    """A plan of errors, epoch by epoch; its `luck` comes from the seed alone."""

    plan: tuple[float, ...] = (3.0, 1.0, 2.0, 4.0)
    offset: float = 0.0
    checkpoints: bool = False
    fault: str = ""
    trained: list[int] = field(default_factory=list, compare=False, repr=False, init=False)
    goal, direction, cluster = "error", "minimize", None

    def train(self, recipe: Recipe, fidelity: Fidelity, seed: int, folder: Path) -> Iterator[OwnEpoch]:
        luck = seed % 1000 / 1e4 + (np.random.default_rng().random() if self.fault == "differs" else 0)
        saved = folder / "last.txt"
        first = int(saved.read_text()) + 1 if saved.exists() else 0
        for epoch in range(first, fidelity.epochs - (self.fault == "short")):
            self.trained.append(epoch)
            error = np.full(fidelity.val, self.plan[epoch] + self.offset + luck)
            if self.fault == "nan":
                error[0] = np.nan
            yield OwnEpoch(
                epoch + (self.fault == "skips"),
                {"error": error},
                test=lambda epoch=epoch: {"error": np.full(fidelity.test, 10 * epoch + self.offset)},
                export=None if self.fault else lambda folder, epoch=epoch: (folder / "best").write_text(str(epoch)),
            )
            if self.checkpoints:
                saved.write_text(str(epoch))


def curve_study(**changes: Any) -> StudySpec:
    study = StudySpec(
        name="curve",
        task=Curve(),
        space={"task.offset": uniform(-1, 1)},
        smoke=replace(FIDELITY, epochs=2),
        cheap=FIDELITY,
        full=FIDELITY,
        pruning=None,
        trials=3,
        keep=1,
        seeds=2,
    )
    return replace(study, **changes)


def test_the_best_epoch_is_what_is_tested_and_exported(tmp_path: Path) -> None:
    verdict = hpo.run(curve_study(), runs=tmp_path, backend="inline")
    winner = verdict.results[0]
    offset = winner.candidate.params["task.offset"]
    assert [run.test["error"] for run in winner.runs] == pytest.approx([10 + offset] * 2), "epoch 1 was the best"
    assert (tmp_path / "curve" / "winner" / "best").read_text() == "1"
    outcome = read_outcome(RunFolder(tmp_path / "curve").trial("promotion", winner.runs[0].number))
    assert outcome.validation_units == FIDELITY.val
    assert outcome.validation_blocks == pytest.approx([winner.runs[0].value] * len(outcome.validation_blocks))


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_killed_run_goes_on_with_the_same_epochs(checkpoints: bool, tmp_path: Path) -> None:
    task = Curve(checkpoints=checkpoints)
    unbroken = [
        (epoch.epoch, epoch.value, epoch.best, epoch.best_epoch)
        for epoch in follow(task, Recipe(), FIDELITY, seed=3, folder=tmp_path / "unbroken")
    ]
    for stopped_after in (1, 3):
        epochs = follow(task, Recipe(), FIDELITY, seed=3, folder=tmp_path / "broken")
        taken = [next(epochs) for _ in range(stopped_after)]
        epochs.close()
        assert len(taken) == stopped_after
    task.trained.clear()
    resumed = list(follow(task, Recipe(), FIDELITY, seed=3, folder=tmp_path / "broken"))
    assert [(epoch.epoch, epoch.value, epoch.best, epoch.best_epoch) for epoch in resumed] == unbroken
    assert [epoch.replayed for epoch in resumed] == [True, True, True, False]
    assert task.trained[-1] == 3
    assert task.trained[0] == (2 if checkpoints else 0), "what was taken last may be trained again"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("short", "Curve.train must yield 4 epochs; got 3"),
        ("skips", "must yield epochs 0 to 3, one after the other; got epoch 1 where 0 was due"),
    ],
)
def test_a_training_that_breaks_its_contract_is_told(fault: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        list(follow(Curve(fault=fault), Recipe(), FIDELITY, seed=0, folder=tmp_path))


def test_a_repetition_with_another_value_is_told(tmp_path: Path) -> None:
    task = Curve(fault="differs")
    next(follow(task, Recipe(), FIDELITY, seed=0, folder=tmp_path))
    with pytest.raises(ValueError, match="the same seed must give the same run, or train"):
        list(follow(task, Recipe(), FIDELITY, seed=0, folder=tmp_path))


def test_a_goal_that_is_no_number_is_a_divergence(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="the validation score error was nan after epoch 0"):
        list(follow(Curve(fault="nan"), Recipe(), FIDELITY, seed=0, folder=tmp_path))


def test_preflight_stops_a_training_that_does_not_repeat(tmp_path: Path) -> None:
    with pytest.raises(NoGo, match="same seed, same run"):
        hpo.run(curve_study(task=Curve(fault="differs")), runs=tmp_path, backend="inline")


@dataclass(frozen=True)
class Patients(Curve):
    cluster = "patient"

    def train(self, recipe: Recipe, fidelity: Fidelity, seed: int, folder: Path) -> Iterator[OwnEpoch]:
        def columns(count: int) -> dict[str, Any]:
            error = np.random.default_rng([seed % 2**32, count]).random(count) + self.offset
            return {"error": error, "patient": [f"patient {row % 7}" for row in range(count)]}

        for epoch in range(fidelity.epochs):
            yield OwnEpoch(epoch, columns(fidelity.val), test=lambda: columns(fidelity.test))


def test_a_column_may_name_what_is_independent(tmp_path: Path) -> None:
    study = curve_study(task=Patients())
    study = replace(study, full=replace(FIDELITY, test=28))
    verdict = hpo.run(study, runs=tmp_path, backend="inline")
    assert "28 test examples of 7 patients" in verdict.sentence
    assert torch.tensor(verdict.results[0].test.mean).isfinite()
    assert list((tmp_path / "curve" / "winner").iterdir()) == [tmp_path / "curve" / "winner" / "card.json"]


def test_the_examples_are_short() -> None:
    """A task that trains itself fits in 40 lines."""
    for name in ("boosting", "plain_loop", "lightning_module"):
        lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
        first = next(number for number, line in enumerate(lines) if "(OwnTraining)" in line)
        last = next(number for number, line in enumerate(lines) if line.startswith("study ="))
        assert last - first <= 45, name
