"""The outcome of a trial whose worker was ended over a limit: what its folder says of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from hpo.direction import Direction
from hpo.engine import checkpoint
from hpo.engine.evaluation import mean_scores
from hpo.epoch import Epoch
from hpo.trial.job import Job
from hpo.trial.record import Outcome, summary
from hpo.watchdog.limit import read_reached, read_stacks


def outcome_over_limit(job: Job) -> Outcome | None:
    """The failed outcome of such a trial, with the epochs that it had ended; None where no limit has ended it."""
    reached = read_reached(job.folder)
    if reached is None:
        return None
    stacks = read_stacks(job.folder) if reached.name == "hang_minutes" else ""
    return summary("failed", ended_epochs(job), reason=reached.sentence, traceback=stacks, limit=reached)


def ended_epochs(job: Job) -> Sequence[Epoch]:
    """The epochs that a trial has ended, from its checkpoints; with cross-validation, the means of its runs."""
    runs = [_recorded(folder) for folder in (job.folder, *sorted(job.folder.glob("part-*")))]
    if len(runs) == 1:
        return runs[0]
    goal, direction = job.study.task.goal, job.study.direction
    means: list[Epoch] = []
    for epochs in zip(*runs, strict=False):  # the last ones may have got an epoch less far
        means.append(_mean(epochs, goal, means, direction))
    return means


def _recorded(folder: Path) -> list[Epoch]:
    try:
        state = checkpoint.newest(folder) or {}
        return [Epoch(**epoch) for epoch in state.get("record", [])]
    except (ValueError, TypeError):  # not written by this version
        return []


def _mean(epochs: Sequence[Epoch], goal: str, before: Sequence[Epoch], direction: Direction) -> Epoch:
    """The mean of an epoch of several runs, as the trial has shown it."""
    scores = mean_scores([epoch.scores for epoch in epochs])
    value = scores[goal]
    is_best = not before or direction.better(value, before[-1].best)
    return replace(
        epochs[0],
        loss=fmean(epoch.loss for epoch in epochs),
        terms=mean_scores([epoch.terms for epoch in epochs]),
        scores=scores,
        value=value,
        best=value if is_best else before[-1].best,
        best_epoch=epochs[0].epoch if is_best else before[-1].best_epoch,
        batches=sum(epoch.batches for epoch in epochs),
        steps_taken=sum(epoch.steps_taken for epoch in epochs),
        steps_skipped=sum(epoch.steps_skipped for epoch in epochs),
        nonfinite=dict(sum((Counter(epoch.nonfinite) for epoch in epochs), Counter())),
        grad_norm=fmean(epoch.grad_norm for epoch in epochs),
        seconds=sum(epoch.seconds for epoch in epochs),
    )
