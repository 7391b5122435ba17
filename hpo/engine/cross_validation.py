"""Cross-validation: a run for each part that validates, an epoch of each at a time; a trial shows their mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from hpo.direction import Direction
from hpo.engine.evaluation import mean_scores
from hpo.engine.own_training import OwnProgress, epochs_of
from hpo.engine.training import Progress
from hpo.recipe import Recipe
from hpo.seeds import derive
from hpo.task import Fidelity, Task


def fit_parts(
    tasks: Sequence[Task[Any]],
    recipe: Recipe,
    fidelity: Fidelity,
    *,
    seed: int,
    device: str = "auto",
    resume: Path | None = None,
) -> Iterator[Progress | OwnProgress]:
    """Train a run for each task, all an epoch at a time, and yield the mean of their epochs.

    It is compared, pruned and stopped like any other run: patience looks at the mean. The models are held together.
    With `resume`, each run has its checkpoints there, and all go on. The model and the best weights are the first
    run's. A task may train itself. Raises what `fit` and `follow` raise.
    """
    direction = Direction(tasks[0].direction)
    runs = [
        epochs_of(
            task,
            replace(recipe, patience=None),
            fidelity,
            seed=derive(seed, "part", part),
            device=device,
            resume=_folder(resume, part),
        )
        for part, task in enumerate(tasks)
    ]
    best: Progress | OwnProgress | None = None
    for epochs in zip(*runs, strict=True):
        mean = _mean(epochs, tasks[0].goal)
        if best is None or direction.better(mean.value, best.value):
            best = mean
        waited = mean.epoch - best.epoch
        stopped = recipe.patience is not None and waited >= recipe.patience
        yield replace(mean, best=best.value, best_epoch=best.epoch, stopped=stopped)
        if stopped:
            return


def _folder(resume: Path | None, part: int) -> Path | None:
    """Where the checkpoints of a run lie; those of the first one say how far the trial has come."""
    if resume is None or part == 0:
        return resume
    folder = resume / f"part-{part}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _mean(epochs: Sequence[Progress | OwnProgress], goal: str) -> Progress | OwnProgress:
    """The mean of the same epoch of several runs: its scores and losses are means, its counts are sums."""
    scores = mean_scores([epoch.scores for epoch in epochs])
    return replace(
        epochs[0],
        loss=fmean(epoch.loss for epoch in epochs),
        terms=mean_scores([epoch.terms for epoch in epochs]),
        scores=scores,
        value=scores[goal],
        batches=sum(epoch.batches for epoch in epochs),
        steps_taken=sum(epoch.steps_taken for epoch in epochs),
        steps_skipped=sum(epoch.steps_skipped for epoch in epochs),
        nonfinite=dict(sum((Counter(epoch.nonfinite) for epoch in epochs), Counter())),
        grad_norm=fmean(epoch.grad_norm for epoch in epochs),
        seconds=sum(epoch.seconds for epoch in epochs),
        replayed=all(epoch.replayed for epoch in epochs),
    )
