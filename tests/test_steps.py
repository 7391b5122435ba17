"""What the report says to do next: planted sweeps, each of which calls for one thing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import create_trial

from hpo.page.collect import collect
from hpo.page.collect_sweep import collect_sweep
from hpo.page.findings import Findings
from hpo.page.saturation import saturation
from hpo.page.steps import steps
from hpo.space import choose, distribution_of, uniform
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from tests.toy import Toy, toy_study

SPACE = {"task.shift": uniform(-1, 1), "task.dropout": uniform(0, 0.5)}
Score = Callable[[dict[str, Any]], float]


def swept(where: Path, score: Score, *, trials: int = 16, best: int | None = None, **changes: Any) -> Findings:
    """What is found after a sweep of trials with known scores; the trial `best` is better than all others."""
    study = toy_study(space=SPACE, trials=trials, **changes)
    rng, folder = random.Random(1), RunFolder(where / "run")
    folder.path.mkdir(parents=True)
    stored = optuna.create_study(study_name=study.name, storage=open_storage(folder.storage, create=True))
    for number in range(trials):
        params = {"task.shift": rng.uniform(-1, 1), "task.dropout": rng.uniform(0, 0.5)}
        value = -100.0 if number == best else score(params)
        plain = {name: distribution_of(entry) for name, entry in study.space.items()}
        stored.add_trial(create_trial(value=value, params=params, distributions=plain))
    stored.set_user_attr("trials", trials)
    return collect(study, folder)


def told(findings: Findings) -> dict[str, str]:
    return {step.text: step.command for step in steps(findings)}


def test_a_range_that_ends_where_the_best_trials_are_is_named_with_what_widens_it(tmp_path: Path) -> None:
    def score(drawn: dict[str, Any]) -> float:
        return (drawn["task.shift"] - 1.5) ** 2

    lines = told(swept(tmp_path / "few", score, trials=24))
    wider = "Search wider in task.shift, where the best trials lie at the edge of the range"
    assert lines[f"{wider}:"] == "hpo next toy"
    assert "The trials do not tell task.dropout from chance: leave out what you do not care about." in lines
    many = told(swept(tmp_path / "many", score, trials=48))
    assert many[f"{wider}; fix task.dropout, on which nothing depends:"] == "hpo next toy"
    assert not any("from chance" in text for text in many)


def test_a_best_trial_that_came_late_asks_for_more_trials_and_an_early_one_for_a_dearer_fidelity(
    tmp_path: Path,
) -> None:
    late = told(swept(tmp_path / "late", lambda drawn: abs(drawn["task.shift"]), best=15))
    assert late["More trials may find more: the best came late, as trial 15 of 16:"] == "hpo sweep toy --trials 32"
    early = told(swept(tmp_path / "early", lambda drawn: abs(drawn["task.shift"]), best=3))
    assert not any("More trials" in text for text in early)
    gate = (
        "The best is still trial 3 of 16: rather than more trials, test whether the cheap fidelity ranks like the full"
    )
    assert early[f"{gate} one:"] == "hpo gate toy"


def test_a_flat_sweep_is_not_sent_to_more_trials(tmp_path: Path) -> None:
    noise = random.Random(2)
    lines = told(swept(tmp_path, lambda drawn: noise.gauss(0, 1), best=5))
    assert any(text.startswith("More trials alone would hardly help: the best is still trial 5") for text in lines)
    assert not any("--trials" in command for command in lines.values())


def test_few_completed_trials_say_nothing_about_where_to_search(tmp_path: Path) -> None:
    lines = told(swept(tmp_path, lambda drawn: drawn["task.shift"], trials=6))
    assert lines["6 completed trials cannot say where to search next; 8 may:"] == "hpo sweep toy --trials 8"


class Bounded(Toy):
    bounds = {"mse": (0, 1)}


def test_a_score_that_several_configurations_share_is_called_saturated(tmp_path: Path) -> None:
    def clipped(drawn: dict[str, Any]) -> float:
        return max(0.0, drawn["task.dropout"] - 0.2)

    found = swept(tmp_path / "bounded", clipped, task=Bounded())
    reached = sum(trial.value == 0.0 for trial in found.sweep.trials)
    assert reached >= 3
    text = f"The score is saturated: {reached} trials share the best, 0.000"
    assert any(line.startswith(f"{text}, which is the best there can be. ") for line in told(found))
    assert saturation(toy_study(), found.sweep).startswith(f"{text}. ")
    distinct = swept(tmp_path / "distinct", lambda drawn: drawn["task.dropout"])
    assert not saturation(distinct.study, distinct.sweep)


def test_equal_trials_of_one_configuration_are_no_saturation() -> None:
    """A space of two choices: a score is shared because the configuration is the same."""
    study: StudySpec = toy_study(space={"recipe.channels_last": choose(False, True)})
    storage = optuna.create_study()
    plain = {name: distribution_of(entry) for name, entry in study.space.items()}
    for number in range(10):
        params = {"recipe.channels_last": bool(number % 2)}
        storage.add_trial(create_trial(value=float(number % 2), params=params, distributions=plain))
    assert not saturation(study, collect_sweep(study, storage))
