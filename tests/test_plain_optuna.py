"""What somebody sees of a study who opens its storage with Optuna's own tools."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
import pytest

from hpo.promotion.runs import ATTRIBUTES
from hpo.storage.database import name_metric, open_storage
from hpo.storage.folder import RunFolder, promotion_name
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from tests.finished import STUDY, finished


def studies(folder: RunFolder) -> list[optuna.Study]:
    storage = open_storage(folder.storage)
    names = (STUDY.name, promotion_name(STUDY.name))
    return [optuna.load_study(study_name=name, storage=storage) for name in names]


@pytest.mark.parametrize("is_rebuilt", [False, True], ids=["as it was run", "rebuilt"])
def test_values_have_the_name_of_the_goal_and_runs_of_a_promotion_that_of_their_candidate(
    is_rebuilt: bool, tmp_path: Path
) -> None:
    folder = finished(tmp_path)
    if is_rebuilt:
        rebuild(STUDY, folder, identity(STUDY), force=True)
    sweep, promotion = studies(folder)
    assert (sweep.metric_names, promotion.metric_names) == (["mse"], ["mse"])
    names = [trial.user_attrs["candidate"] for trial in promotion.trials]
    assert names[:3] == ["default", *dict.fromkeys(name for name in names if name != "default")]
    trials = {name: sweep.trials[int(name.removeprefix("trial "))] for name in names if name != "default"}
    assert all(
        run.params == trials[name].params for run, name in zip(promotion.trials, names, strict=True) if name in trials
    )
    assert all(run.user_attrs.keys() >= set(ATTRIBUTES) for run in promotion.trials)


def test_the_name_of_the_goal_comes_without_a_warning_and_is_written_once(tmp_path: Path) -> None:
    study = studies(finished(tmp_path))[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        name_metric(study, "error")
    assert study.metric_names == ["error"]
    before = (tmp_path / "run/study.db").read_bytes()
    name_metric(study, "error")
    assert (tmp_path / "run/study.db").read_bytes() == before
