"""The one training loop, a generator: it trains an epoch and yields a Progress.

Whoever iterates decides what that means: a sweep reports and prunes, a promotion keeps the weights, a check looks at
the curve. The loop has no callbacks and does not know that Optuna exists.
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from hpo.engine import checkpoint, distributed
from hpo.engine.evaluation import resolve_device
from hpo.engine.run import Run
from hpo.epoch import Epoch
from hpo.errors import Unfaithful
from hpo.plain import plain, without_place
from hpo.recipe import Recipe
from hpo.seeds import derive
from hpo.task import Fidelity, Task

SAME = 1e-6  # relative difference up to which two scores of the same weights count as the same
SAME_ON_GPU = 1e-2  # a kernel may differ from call to call, and an example on the edge may change sides


@dataclass(frozen=True)
class Progress(Epoch):
    """An epoch, and the live model."""

    replayed: bool = field(compare=False)  # from the record of an earlier, interrupted call
    model: nn.Module = field(compare=False, repr=False)  # what was scored; replayed epochs share the resumed one
    best_weights: Mapping[str, Any] = field(compare=False, repr=False)  # state dict of the best epoch, on the CPU


def fit(
    task: Task[Any],
    recipe: Recipe,
    fidelity: Fidelity,
    *,
    seed: int,
    device: str = "auto",
    resume: Path | None = None,
) -> Iterator[Progress]:
    """Train `task` and yield a Progress an epoch.

    With `resume`, a folder, the state is saved there after every epoch, before it is yielded, and a later call with
    the same arguments yields the recorded epochs again and goes on after them. On the CPU the result is the same bit
    for bit, resumed or not.

    Seeds the global generators of torch, numpy and Python at the start and before every epoch.

    Raises Diverged when the run has left the finite numbers, and ValueError when the task breaks its contract or
    `resume` holds another run.
    """
    run = Run(task, recipe, fidelity, seed, resolve_device(device))
    identity = json.dumps([without_place(task), plain(recipe), plain(fidelity), seed, run.device.type])
    saved = checkpoint.newest(resume) if resume else None
    if saved:
        if saved.get("identity") != identity:
            raise ValueError(f"{resume} holds another run: {saved.get('identity')}; asked for: {identity}")
        run.load(saved)
        for epoch in run.record:
            yield _progress(run, epoch, replayed=True)
    for number in range(len(run.record), fidelity.epochs):
        if run.record and run.record[-1].stopped:
            return
        epoch = run.train_epoch(number)
        if resume and distributed.rank() == 0:
            checkpoint.save(resume, number, {"identity": identity, **run.state()})
        yield _progress(run, epoch, replayed=False)


def require_same_score(task: Task[Any], recipe: Recipe, fidelity: Fidelity, progress: Progress, *, device: str) -> None:
    """Raise Unfaithful unless the best epoch's weights, in a new model, have that epoch's score on validation.

    The new model is made with another seed: whatever a model draws at random and needs again must be in its state.
    """
    run = Run(task, recipe, fidelity, derive("another seed"), resolve_device(device))
    tolerance = SAME if run.device.type == "cpu" else SAME_ON_GPU
    score = run.rescore(progress.best_weights)[task.goal]
    if math.isclose(score, progress.best, rel_tol=tolerance):
        return
    again = run.rescore(progress.best_weights)[task.goal]
    if again != score:
        raise Unfaithful(
            f"the same weights score {task.goal} {score:.6g} and then {again:.6g} on validation; look for what is "
            f"still random in eval mode, such as functional.dropout without training=self.training"
        )
    raise Unfaithful(
        f"the weights of epoch {progress.best_epoch}, in a new model, score {task.goal} {score:.6g} on validation, "
        f"not {progress.best:.6g}; look for what state_dict() does not hold, such as a plain attribute of a module "
        f"that training changes: register it as a buffer, or return it from get_extra_state()"
    )


def _progress(run: Run, epoch: Epoch, *, replayed: bool) -> Progress:
    record = copy.deepcopy(vars(epoch))  # whoever is given it may change it; the run's record stays
    return Progress(**record, replayed=replayed, model=run.scored, best_weights=run.best_weights)
