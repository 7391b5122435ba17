"""A run of a promotion whose worker was killed, or that hung, is trained again where the user says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hpo import Limit, choose
from hpo.promotion.promote import promote
from hpo.promotion.selection import count_retry
from hpo.storage.folder import RunFolder
from hpo.storage.locks import study_lock
from hpo.study import StudySpec
from hpo.trial.provenance import identity
from hpo.trial.record import read_outcome
from hpo.trial.retry import Retried, retry
from tests.faults.processes import code_of, forked_workers, start
from tests.faults.studies import EPOCHS, Victim, swept, victims


def study_of(deed: str, here: Path) -> StudySpec:
    """Its trials, whose epochs are fewer, do nothing wrong."""
    task = Victim(when=EPOCHS, here=str(here))
    limit = Limit(hang_minutes=6 / 60)  # longer than a busy machine takes for a first epoch
    return victims(
        task=task, space={"task.deed": choose("", deed)}, trials=3, startup_trials=3, pruning=None, limit=limit
    )


def promoted(study: StudySpec, folder: Path) -> dict[str, Any]:
    """The verdict of a promotion with two workers, in a process of its own."""

    def act() -> None:
        with forked_workers():
            promote(study, RunFolder(folder), identity(study), workers=2, device="cpu")

    assert code_of(start(act)) == 0
    return json.loads((folder / "verdict.json").read_text())


def retried(study: StudySpec, folder: Path) -> Retried:
    place = RunFolder(folder)
    with study_lock(place):
        count_retry(place)
        return retry(study, place, identity(study), (), "promotion")


def values(verdict: dict[str, Any]) -> dict[str, list[float]]:
    return {result["candidate"]["name"]: [run["value"] for run in result["runs"]] for result in verdict["results"]}


@pytest.mark.parametrize(("deed", "reason"), [("die", "its worker died"), ("hang", "no epoch ended within")])
def test_a_run_whose_worker_was_killed_is_trained_again_and_ends_as_an_undisturbed_one(
    deed: str, reason: str, folder: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    study = study_of(deed, here)
    swept(study, folder)
    here.touch()
    first = promoted(study, folder)
    failed = [run for result in first["results"] for run in result["runs"] if run["state"] == "failed"]
    assert failed
    assert all(run["reason"].startswith(reason) for run in failed)
    assert first["winner"] == "default"

    here.unlink()
    assert retried(study, folder).trials == tuple(sorted(run["number"] for run in failed))
    second = promoted(study, folder)
    assert all(run["state"] == "complete" for result in second["results"] for run in result["runs"])
    assert second["look"] == 2, "the first verdict has been read"
    for run in failed:
        outcome = read_outcome(folder / "promotion" / f"{run['number']:04d}")
        assert outcome is not None
        assert outcome.state == "complete"

    undisturbed = folder.parent / "undisturbed" / "victims"
    swept(study, undisturbed)
    assert values(promoted(study, undisturbed)) == values(second)
