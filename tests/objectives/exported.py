"""Write the folder of a winner as promotion does, for a network that may be untrained."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from hpo import CARD, Task, write_json
from hpo.trial.artifact import card_of
from hpo.trial.weights import WEIGHTS, write_weights


def exported(folder: Path, task: Task, model: nn.Module | None = None) -> Path:
    """Write task and model into the folder and return it; without a model, an untrained one of the task."""
    if model is None:
        torch.manual_seed(0)
        model = task.model()
    write_weights(folder, model.state_dict())
    sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    write_json(folder / CARD, {**card_of(task), "sha256": sha256})
    return folder
