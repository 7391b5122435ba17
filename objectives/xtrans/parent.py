"""The network that fine-tuning starts from: an exported winner of yours, or one that is trained here once and kept."""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hpo import Fidelity, Recipe, fit, load_winner, made_once
from objectives.xtrans.scenes import origins
from objectives.xtrans.task import XTrans

RECIPE = Recipe(lr=1e-3, batch_size=8, weight_decay=1e-4, warmup=0.05, clip=0.5)
SIZE, VAL, EPOCHS = 48, 24, 8


def load_parent(folder: str) -> nn.Module:
    """The network of an exported winner. Raises ValueError where the folder holds another task's network."""
    return load_winner(Path(folder), XTrans).model


@lru_cache(maxsize=8)
def trained_parent(task: XTrans, train: int, seed: int) -> nn.Module:
    """A network after EPOCHS epochs of `train` crops, with its best weights. Shared: do not change it in place."""
    settings = tuple((field.name, getattr(task, field.name)) for field in fields(task))
    files = tuple(sorted(origins("train", task.source) | origins("val", task.source)))
    weights = made_once(train_parent, settings, files, train, seed)
    model = task.model()
    model.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in weights.items()})
    return model.requires_grad_(False).eval()


def train_parent(
    settings: tuple[tuple[str, Any], ...], files: tuple[str, ...], train: int, seed: int
) -> dict[str, np.ndarray]:
    """The weights by name of a task with these settings.

    `files`, the content hashes of what it learns from, is only a part of the cache's key: with other files in the
    same folder another network is trained.
    """
    del files
    task = XTrans(**dict(settings))
    fidelity = Fidelity(size=SIZE, train=train, val=VAL, epochs=EPOCHS)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they were
        *_, last = fit(task, RECIPE, fidelity, seed=seed, device="cpu")
    return {name: tensor.numpy() for name, tensor in last.best_weights.items()}
