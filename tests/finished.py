"""A toy study that has been through every stage, made once a process; tests copy its folder before they change it."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import optuna
import plotly.graph_objects as go
from torch import nn

from hpo.files import write_json
from hpo.promotion.promote import promote
from hpo.search.sweep import sweep
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.task import Chart, Check, Evidence, Picture
from hpo.trial.provenance import identity
from tests.toy import Batch, Toy, toy_study

HOSTILE = "<script>window.owned = true</script> & <b>bold</b>"


class Drawn(Toy):
    """The toy task, with something to look at."""

    def pictures(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Picture | Chart]:
        grey_HW3 = np.full((8, 8, 3), 90, np.uint8)
        yield Picture("Pair", {"before": grey_HW3, HOSTILE: grey_HW3 + 90}, caption="A caption")
        yield Chart("Line", go.Figure(go.Scatter(x=[0, 1], y=[1, 0]), layout={"title": "dropped"}).to_json())

    def checks(self, evidence: Evidence) -> list[Check]:
        return [Check("beats zero", "caution", "no", "yes", "the model")] if evidence.stage == "promotion" else []


STUDY = toy_study(task=Drawn(), trials=9, keep=2, seeds=2)


PREFLIGHT = {
    "status": "caution",
    "seconds": 2.5,
    "forced": True,
    "checks": [
        {"name": "data", "status": "go", "seen": "finite", "allowed": "finite", "look_at": ""},
        {"name": "overfit", "status": "caution", "seen": "mse 1.5 -> 0.2", "allowed": "0.05", "look_at": "lr"},
    ],
    "overfit": {
        "measure": "mse",
        "go": 0.05,
        "caution": 0.3,
        "epochs": 3,
        "honest": [1.5, 0.9, 0.4, 0.2],
        "shuffled": [1.5, None],
        "zeroed": [1.5, 1.6],
    },
    "cost": {"trial_seconds": 0.5, "sweep_seconds": 4.5, "workers": 1, "peak_mb": 300.0},
}


@cache
def _finished() -> Path:
    path = Path(tempfile.mkdtemp(prefix="hpo-finished-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    folder, hashes = RunFolder(path / "run"), identity(STUDY)
    write_json(folder.preflight, {**PREFLIGHT, "identity": hashes})
    sweep(STUDY, folder, hashes)
    promote(STUDY, folder, hashes)
    command = {"at": "2026-01-02T03:04:05+00:00", "argv": ["hpo", "run", "toy", "--runs", "there"]}
    folder.commands.write_text(json.dumps(command) + '\n{"at": "20')  # the second line is torn
    study = optuna.load_study(study_name=STUDY.name, storage=open_storage(folder.storage))
    trial = study.trials[1]
    study.add_trial(
        optuna.create_trial(
            state=optuna.trial.TrialState.FAIL,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs={"reason": HOSTILE},
        )
    )
    return folder.path


def finished(where: Path) -> RunFolder:
    """A copy of the study's folder: preflight, 9 trials and one failed with a hostile reason, promotion, pictures."""
    return RunFolder(Path(shutil.copytree(_finished(), where / "run")))
