"""The network that is fine-tuned: an exported winner of yours, or one that is trained here once and kept.

Training it here goes through the same engine; what it comes to is found again by its settings and by the code.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hpo.cache import made_once
from hpo.engine import training
from hpo.recipe import Recipe
from hpo.task import Fidelity
from hpo.trial.artifact import load_winner
from objectives.common.files import content_hash
from objectives.xtrans.task import XTrans

RECIPE = Recipe(lr=4e-3, batch_size=8, weight_decay=1e-4, warmup=0.05, clip=0.5)
SIZE, VAL, EPOCHS = 48, 24, 8


def winner(folder: str) -> nn.Module:
    """The network of an exported winner. Raises ValueError where another task's lies there."""
    task, model = load_winner(Path(folder))
    if not isinstance(task, XTrans):
        raise ValueError(f"task.parent: {folder} holds a {type(task).__name__}; an exported xtrans network is needed")
    return model


@lru_cache(maxsize=8)
def trained(task: XTrans, train: int, seed: int) -> nn.Module:
    """A network after EPOCHS of `train` crops, its best weights. Shared: do not change it in place."""
    weights = made_once(train_parent, task, train, seed, _source())
    model = task.model()
    model.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in weights.items()})
    return model.requires_grad_(False).eval()


def train_parent(task: XTrans, train: int, seed: int, source: str) -> dict[str, np.ndarray]:
    """Weights by name."""
    del source  # part of the cache's key
    fidelity = Fidelity(size=SIZE, train=train, val=VAL, epochs=EPOCHS)
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):  # the run that asks keeps its own numbers
        *_, last = training.fit(task, RECIPE, fidelity, seed=seed, device="cpu")
    return {name: tensor.numpy() for name, tensor in last.best_weights.items()}


@lru_cache(maxsize=1)
def _source() -> str:
    here = Path(__file__).parent
    own = (here / f"{name}.py" for name in ("parent", "task", "data", "cfa", "light", "model", "loss"))
    return content_hash([*own, Path(training.__file__)])
