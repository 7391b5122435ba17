"""A winner's folder as promotion writes it, of a network that may be untrained."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from hpo import checkpoint, export
from hpo.task import Task


def exported(folder: Path, task: Task, model: nn.Module | None = None) -> Path:
    if model is None:
        torch.manual_seed(0)
        model = task.model()
    export.write_weights(folder, model.state_dict())
    sha256 = hashlib.sha256((folder / export.WEIGHTS).read_bytes()).hexdigest()
    checkpoint.write_json(folder / export.CARD, {**export.card_of(task), "sha256": sha256})
    return folder
