"""Failed trials are trained again under their own numbers, and nothing that was known is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from torch import nn
from typer.testing import CliRunner

import hpo
from hpo.cli.main import app
from hpo.errors import Refused, SweepFailed
from hpo.search.sweep import sweep as search_sweep
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.summary import Summary
from hpo.study import StudySpec
from hpo.trial.attempts import failed_before, is_to_be_retried
from hpo.trial.lifecycle import state_of
from hpo.trial.provenance import identity
from hpo.trial.record import read_outcome
from hpo.verbs.display import Display
from tests.test_generations import disc, edit, told  # noqa: F401  # disc is a fixture
from tests.toy import Toy, toy_study


class Disk:
    """What fails: the disk of the data, say. It is no part of a study."""

    is_broken = False


@dataclass(frozen=True)
class OnDisk(Toy):
    def model(self) -> nn.Module:
        if Disk.is_broken and self.shift > 0.3:
            raise OSError("the disk is away")
        return super().model()


STUDY = toy_study(task=OnDisk(), trials=8, startup_trials=4, pruning=None)


@pytest.fixture(autouse=True)
def mended() -> Iterator[None]:
    yield
    Disk.is_broken = False


def sweep(study: Any, runs: Path, **more: Any) -> Any:
    return hpo.sweep(study, runs=runs, backend="inline", device="cpu", force=True, **more)


def sweep_with_faults(study: Any, runs: Path, **more: Any) -> None:
    with pytest.raises(SweepFailed, match="more than a quarter"):
        sweep(study, runs, **more)


def rows(runs: Path, study: StudySpec = STUDY) -> list[tuple[Any, ...]]:
    return [told(trial) for trial in stored(runs, study)]


def stored(runs: Path, study: StudySpec = STUDY) -> list[optuna.trial.FrozenTrial]:
    study_there = stored_study(RunFolder(runs / study.name), study.name)
    assert study_there
    return study_there.get_trials(deepcopy=False)


def failed(runs: Path) -> list[int]:
    return [trial.number for trial in stored(runs) if state_of(trial) == "failed"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of six of its eight trials, of which two failed while the disk was away. Now it is back."""
    runs = tmp_path_factory.mktemp("swept")
    Disk.is_broken = True
    sweep_with_faults(STUDY, runs, trials=6)
    Disk.is_broken = False
    assert len(failed(runs)) == 2
    return runs


@pytest.fixture
def runs(swept: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(swept, tmp_path / "runs"))


@pytest.fixture(scope="module")
def whole(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, ...]]:
    """The trials of the sweep that was retried and finished without an interruption."""
    runs = Path(shutil.copytree(swept, tmp_path_factory.mktemp("whole") / "runs"))
    hpo.retry(STUDY, failed=True, runs=runs)
    sweep(STUDY, runs)
    return rows(runs)


def test_a_failed_trial_is_trained_again_under_its_number_and_how_it_failed_is_kept(runs: Path) -> None:
    folder, numbers, before = RunFolder(runs / "toy"), failed(runs), rows(runs)
    retried = hpo.retry(STUDY, failed=True, runs=runs)
    assert retried.trials == tuple(numbers)
    assert set(retried.reasons) == {"OSError: the disk is away"}
    (status,) = hpo.status("toy", runs=runs)
    assert (status.done, status.trials, status.failed, status.interrupted) == (4, 6, 0, 2)

    standing = sweep(STUDY, runs, trials=6)
    assert (standing.done, standing.failed) == (6, 0), "the budget counts each of them once"
    after = rows(runs)
    assert [row for row in after if row[0] not in numbers] == [row for row in before if row[0] not in numbers]
    assert [row[3] for row in after] == [row[3] for row in before], "each keeps its configuration"
    for number in numbers:
        assert failed_before(folder.trial("sweep", number)) == ["OSError: the disk is away"]
        assert stored(runs)[number].user_attrs["failed_before"] == ["OSError: the disk is away"]
        trained = _alone(STUDY, stored(runs)[number].params, number)
        assert stored(runs)[number].value == trained, "and its seed"
    assert sweep(STUDY, runs).done == 8, "the search goes on"


def _alone(study: StudySpec, params: dict[str, Any], number: int) -> float:
    task, recipe = study.configure(params, study.cheap)
    *_, last = hpo.fit(task, recipe, study.cheap, seed=study.training_seed(number), device="cpu")
    return float(last.best)


def test_named_trials_alone_are_retried_and_they_may_fail_again(runs: Path) -> None:
    folder, (first, *others) = RunFolder(runs / "toy"), failed(runs)
    for attempt in (1, 2):
        Disk.is_broken = True
        hpo.retry(STUDY, [first], runs=runs)
        sweep_with_faults(STUDY, runs, trials=6)
        assert failed(runs) == [first, *others]
        assert len(failed_before(folder.trial("sweep", first))) == attempt
    Disk.is_broken = False
    hpo.retry(STUDY, [first], runs=runs)
    assert sweep(STUDY, runs, trials=6).failed == len(others)
    assert failed(runs) == others


def test_what_cannot_be_retried_is_refused_and_nothing_is_written(runs: Path) -> None:
    files = sorted((runs / "toy").rglob("*"))
    for message, arguments in {
        "only failed trials can be trained again, and trial 0 of 'toy' is none; 2 trials failed: ": {"trials": [0]},
        "trial 99 of 'toy' is none": {"trials": [99]},
        "name the failed trials by their numbers, or give --failed for all of them; one of both": {},
        "one of both": {"trials": [1], "failed": True},
    }.items():
        with pytest.raises(Refused, match=message):
            hpo.retry(STUDY, **arguments, runs=runs)
    with pytest.raises(Refused, match="exists with other seed"):
        hpo.retry(replace(STUDY, seed=5), failed=True, runs=runs)
    assert sorted((runs / "toy").rglob("*")) == files


@pytest.mark.parametrize(
    ("step", "way_on"),
    [("set_failure_aside", "retry"), ("finish_retry", "sweep"), ("finish_retry", "rebuild"), ("remake", "retry")],
)
def test_a_retry_that_was_killed_between_its_steps_loses_nothing(
    step: str, way_on: str, runs: Path, whole: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = failed(runs)
    with monkeypatch.context() as patched:
        patched.setattr(f"hpo.trial.retry.{step}", _Killed(step, calls=2 if step == "set_failure_aside" else 1))
        with pytest.raises(KeyboardInterrupt):
            hpo.retry(STUDY, failed=True, runs=runs)
    waiting = [number for number in numbers if is_to_be_retried(RunFolder(runs / "toy").trial("sweep", number))]
    assert waiting == (numbers[:1] if step == "set_failure_aside" else numbers)
    if way_on == "rebuild":
        hpo.rebuild(STUDY, runs=runs)
    if way_on == "retry":
        hpo.retry(STUDY, failed=True, runs=runs)
    sweep(STUDY, runs)
    assert rows(runs) == whole, "as if nothing had happened"


class _Killed:
    """Is interrupted at the call of this number."""

    def __init__(self, step: str, calls: int) -> None:
        from hpo.trial import retry

        self.step, self.left = getattr(retry, step), calls

    def __call__(self, *args: Any) -> Any:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.step(*args)


def test_a_trial_that_was_retried_goes_on_after_an_interruption_bit_for_bit(
    runs: Path, whole: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hpo.retry(STUDY, failed=True, runs=runs)
    told_before = []

    def interrupted(trial: Any, epoch: int, value: float, before: Any) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        told_before.append(value)
        report(trial, epoch, value, before)

    from hpo.trial.objective import _report as report

    with monkeypatch.context() as patched:
        patched.setattr("hpo.trial.objective._report", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sweep(STUDY, runs)
    assert told_before
    sweep(STUDY, runs)
    assert rows(runs) == whole


def test_a_storage_that_lost_all_of_it_is_rebuilt_with_the_attempts_that_failed(runs: Path) -> None:
    hpo.retry(STUDY, failed=True, runs=runs)
    sweep(STUDY, runs)
    before = [(told(trial), trial.user_attrs.get("failed_before")) for trial in stored(runs)]
    (runs / "toy" / "study.db").unlink()
    hpo.rebuild(STUDY, runs=runs)
    assert [(told(trial), trial.user_attrs.get("failed_before")) for trial in stored(runs)] == before


class Interrupted(Exception):
    pass


def test_on_a_ladder_failed_trials_are_retried_beside_paused_ones(tmp_path: Path) -> None:
    """The storage is made anew for a retry. Trials that were paused are paused in it, and go on."""
    cheap, full = (replace(fidelity, epochs=4) for fidelity in (STUDY.cheap, STUDY.full))
    study = replace(STUDY, pruning="auto", trials=4, cheap=cheap, full=full)
    folder = RunFolder(tmp_path / study.name)

    def interrupt(summary: Summary) -> None:
        if min(summary.count("paused"), summary.count("failed")) >= 2:
            raise Interrupted

    Disk.is_broken = True
    with pytest.raises(Interrupted):
        search_sweep(study, folder, identity(study), device="cpu", watch=interrupt)
    Disk.is_broken = False
    before = {trial.number: (state_of(trial), trial.params) for trial in stored(tmp_path, study)}
    retried = hpo.retry(study, failed=True, runs=tmp_path).trials
    assert retried == tuple(number for number, (state, _) in before.items() if state == "failed")
    after = {trial.number: (state_of(trial), trial.params) for trial in stored(tmp_path, study)}
    assert {number: trial for number, trial in after.items() if number not in retried} == {
        number: trial for number, trial in before.items() if number not in retried
    }

    assert search_sweep(study, folder, identity(study), device="cpu").is_over
    trials = stored(tmp_path, study)
    assert {state_of(trial) for trial in trials} == {"complete", "pruned"}
    assert all(trials[number].params == params for number, (_, params) in before.items())
    assert sum(trial.user_attrs["epochs"] for trial in trials) <= 4 * 4


def test_a_result_that_is_lost_is_no_retry(runs: Path) -> None:
    """A trial that was retried and is complete, says the storage, is not trained a third time without a word."""
    (first, *_) = failed(runs)
    hpo.retry(STUDY, [first], runs=runs)
    sweep(STUDY, runs, trials=6)
    assert state_of(stored(runs)[first]) == "complete"
    (RunFolder(runs / "toy").trial("sweep", first) / "result.json").unlink()
    with pytest.raises(hpo.HpoError, match="knows 1 finished trial that the folders in"):
        sweep(STUDY, runs, trials=6)


def test_after_its_code_was_mended_a_trial_is_retried_with_the_new_one(disc: Path, tmp_path: Path) -> None:  # noqa: F811
    edit(disc, {"SLOPE * term": "SLOPE / (self.shift < 0.2) * term"})
    runs, folder = tmp_path / "runs", RunFolder(tmp_path / "runs" / "disc")
    sweep_with_faults(disc, runs, trials=5)
    edit(disc, {"SLOPE / (self.shift < 0.2) * term": "SLOPE * term"})
    with pytest.raises(Refused, match="exists with other code"):
        hpo.retry(disc, failed=True, runs=runs)
    retried = hpo.retry(disc, failed=True, runs=runs, accept=["code"])
    assert len(retried.trials) > 1
    edit(disc.with_name("net.py"), {"1.0": "1.5"})  # and mended once more, before anything was trained
    after = sweep(disc, runs, accept=["code"], trials=5)
    assert (after.done, after.failed) == (5, 0)
    assert not (folder.path / "set-aside").exists(), "none was given up"


def test_what_a_failed_trial_of_a_ladder_had_reported_is_not_expected_of_mended_code(
    disc: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Some trials pause after an epoch, and fail in the next one."""
    broken = "SLOPE / (not 0 < abs(self.shift) < 0.4 or at.epoch < 1) * term"
    edit(disc, {"SLOPE * term": broken, "pruning=None": "pruning='auto'"})
    runs, folder = tmp_path / "runs", RunFolder(tmp_path / "runs" / "disc")
    sweep(disc, runs, trials=4)
    late = [number for number in folder.numbers("sweep") if has_failed_after_a_pause(folder.trial("sweep", number))]
    edit(disc, {broken: "SLOPE * term"})
    edit(disc.with_name("net.py"), {"1.0": "1.5"})
    assert set(late) & set(hpo.retry(disc, failed=True, runs=runs, accept=["code"]).trials)
    after = sweep(disc, runs, trials=4)
    assert (after.done, after.failed) == (4, 0)


def has_failed_after_a_pause(trial: Path) -> bool:
    outcome = read_outcome(trial)
    return outcome is not None and outcome.state == "failed" and outcome.epochs == 1


def test_the_command_says_what_is_trained_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runs.parent / "retried_toy.py").write_text("from tests.test_retry import STUDY as study\n")
    monkeypatch.chdir(runs.parent)
    numbers = failed(runs)
    done = CliRunner().invoke(app, ["retry", "retried_toy.py", *map(str, numbers)])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        *(f"trial {number} had failed: OSError: the disk is away" for number in numbers),
        "the next sweep trains 2 trials again; number, configuration and seed stay",
    ]
    sweep("retried_toy.py", runs, trials=6)
    assert "no trial has failed" in CliRunner().invoke(app, ["retry", "retried_toy.py", "--failed"]).stdout
    assert read_outcome(RunFolder(runs / "toy").trial("sweep", numbers[0])).state == "complete"


# -- runs of a promotion ---------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Away(Toy):
    """The disk holds what all but the default need."""

    def model(self) -> nn.Module:
        if Disk.is_broken and self.shift:
            raise OSError("the disk is away")
        return super().model()


PROMOTED = toy_study(task=Away(), trials=4, startup_trials=4, pruning=None, keep=1, seeds=2)


def promote(runs: Path, **more: Any) -> Any:
    return hpo.promote(PROMOTED, runs=runs, backend="inline", device="cpu", **more)


def values(verdict: Any) -> dict[str, list[float | None]]:
    return {result.candidate.name: [run.value for run in result.runs] for result in verdict.results}


def test_failed_runs_of_a_promotion_are_trained_again_and_the_next_verdict_is_another_look(tmp_path: Path) -> None:
    sweep(PROMOTED, tmp_path)
    runs = Path(shutil.copytree(tmp_path, tmp_path.with_name("away")))
    Disk.is_broken = True
    first = promote(runs)
    Disk.is_broken = False
    numbers = tuple(run.number for result in first.results for run in result.runs if run.state == "failed")
    assert numbers
    assert first.winner == "default"
    assert values(promote(runs)) == values(first), "the same command alone changes no verdict"

    with pytest.raises(Refused, match="only failed runs can be trained again, and run 0 of the promotion of 'toy'"):
        hpo.retry(PROMOTED, [0], promotion=True, runs=runs)
    retried = hpo.retry(PROMOTED, failed=True, promotion=True, runs=runs)
    assert (retried.trials, set(retried.reasons)) == (numbers, {"OSError: the disk is away"})
    (status,) = hpo.status("toy", runs=runs)
    assert status.promotion_state == "unfinished"
    second = promote(runs)
    assert values(second) == values(promote(tmp_path)), "as if nothing had failed"
    assert (first.look, second.look) == (1, 2)
    assert promote(runs).look == 2, "the same command again is no further look"
    assert [failed_before(RunFolder(runs / "toy").trial("promotion", number)) for number in numbers] == [
        ["OSError: the disk is away"] for _ in numbers
    ]


def test_a_promotion_says_which_runs_failed_and_how_they_are_trained_again(tmp_path: Path) -> None:
    sweep(PROMOTED, tmp_path)
    Disk.is_broken = True
    shown = Said()
    promote(tmp_path, progress=shown)
    Disk.is_broken = False
    assert any("OSError: the disk is away" in line and "--promotion --failed" in line for line in shown.lines)


class Said(Display):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)
