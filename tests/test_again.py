"""Another full fidelity after a promotion: the one that is there is kept and shown, and the new one is another look."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hpo
from hpo.errors import Refused
from hpo.promotion.candidate import DEFAULT
from hpo.promotion.results import Verdict
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from tests.test_generations import told
from tests.test_promote import seeds_of
from tests.toy import toy_study

STUDY = toy_study(pruning=None, trials=3, keep=1, seeds=2)
LONGER = replace(STUDY, full=replace(STUDY.full, epochs=STUDY.full.epochs + 1))


def promote(study: StudySpec, runs: Path, **more: Any) -> Verdict:
    return hpo.promote(study, runs=runs, backend="inline", device="cpu", **more)


def swept_trials(runs: Path) -> list[Any]:
    stored = stored_study(RunFolder(runs / "toy"), "toy")
    assert stored
    return [told(trial) for trial in stored.get_trials(deepcopy=False)]


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("promoted")
    hpo.sweep(STUDY, runs=runs, backend="inline", device="cpu", force=True)
    promote(STUDY, runs)
    return runs


@pytest.fixture
def runs(promoted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(promoted, tmp_path / "runs"))


@pytest.fixture(scope="module")
def whole(promoted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = Path(shutil.copytree(promoted, tmp_path_factory.mktemp("whole") / "runs"))
    promote(LONGER, runs, again=True)
    return runs


def test_another_full_fidelity_is_asked_about_and_nothing_is_written(runs: Path) -> None:
    files = sorted(runs.rglob("*"))
    with pytest.raises(Refused) as error:
        promote(LONGER, runs)
    epochs = STUDY.full.epochs
    assert "the promotion of 'toy' was of another full fidelity:" in str(error.value)
    assert f"  fidelity: fidelity.epochs was {epochs} there, and is {epochs + 1} now" in str(error.value)
    assert f"hpo promote toy --runs {runs} --again" in str(error.value)
    assert sorted(runs.rglob("*")) == files
    with pytest.raises(Refused, match="exists with other seed"):
        promote(replace(LONGER, seed=7), runs, again=True)


def test_the_new_promotion_has_fresh_seeds_and_is_another_look_and_the_old_one_is_kept_and_shown(
    promoted: Path, whole: Path
) -> None:
    before, folder = RunFolder(promoted / "toy"), RunFolder(whole / "toy")
    old, new = json.loads(before.verdict.read_text()), json.loads(folder.verdict.read_text())
    assert (old["look"], new["look"]) == (1, 2)
    verdict = promote(LONGER, whole)
    assert (verdict.look, verdict.selection) == (2, new["selection"]), "the same command as ever goes on"
    assert seeds_of(verdict, DEFAULT) == [2, 3]
    assert verdict.confidence == 0.9875
    assert [look["selection"] for look in json.loads(folder.looks.read_text())] == [old["selection"], new["selection"]]

    aside = RunFolder(folder.path / "set-aside" / "1")
    assert aside.verdict.read_bytes() == before.verdict.read_bytes()
    assert aside.numbers("promotion") == before.numbers("promotion")
    assert (aside.export / "card.json").exists()
    assert swept_trials(whole) == swept_trials(promoted), "the sweep is the same"

    page = hpo.report(LONGER, runs=whole).read_text()
    for text in ("Earlier promotions", "set-aside/1", "the second look at them"):
        assert text in page
    (earlier,) = hpo.findings(LONGER, runs=whole).earlier
    assert earlier.verdict.sentence == old["sentence"]
    assert earlier.changes[0].startswith("full fidelity: fidelity.epochs was")


@pytest.mark.parametrize(
    ("step", "way_on"), [("move_aside", {"again": True}), ("make_generation", {}), ("make_generation", {"again": True})]
)
def test_killed_between_its_steps_it_goes_on_to_the_same_verdict(
    step: str, way_on: dict[str, Any], runs: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(f"hpo.trial.generations.{step}", killed)
        with pytest.raises(KeyboardInterrupt):
            promote(LONGER, runs, again=True)
    verdict = promote(LONGER, runs, **way_on)
    folder, undisturbed = RunFolder(runs / "toy"), RunFolder(whole / "toy")
    assert _without_seconds(folder) == _without_seconds(undisturbed)
    assert (verdict.look, len(json.loads(folder.looks.read_text()))) == (2, 2)
    assert (folder.path / "set-aside" / "1" / "verdict.json").exists()


def _without_seconds(folder: RunFolder) -> Any:
    verdict = json.loads(folder.verdict.read_text())
    for result in verdict["results"]:
        for run in result["runs"]:
            del run["seconds"]
    return verdict


def test_seeds_of_a_promotion_that_was_interrupted_are_not_used_again(runs: Path) -> None:
    folder = RunFolder(runs / "toy")
    folder.verdict.unlink()
    folder.looks.unlink()
    verdict = promote(LONGER, runs, again=True)
    assert (verdict.look, seeds_of(verdict, DEFAULT)) == (1, [2, 3])
    (earlier,) = hpo.findings(LONGER, runs=runs).earlier
    assert earlier.verdict is None


def test_the_look_of_an_older_version_which_its_verdict_alone_proves_is_counted(runs: Path) -> None:
    (runs / "toy" / "looks.json").unlink()
    assert promote(LONGER, runs, again=True).look == 2
