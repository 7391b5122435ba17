"""The check of preflight on what promotion does after training: a fault in it would cost every run before it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from hpo.checking.numbers import is_close, searchable
from hpo.checking.splits import batches as all_batches
from hpo.checking.wording import first_fault, status_of
from hpo.engine.evaluation import evaluate, judge_baselines, judge_batches, scores_of
from hpo.engine.pseudo_values import pseudo_values
from hpo.engine.rows import Rows
from hpo.study import StudySpec
from hpo.task import Chart, Check, Fidelity, Picture, Task
from hpo.trial.artifact import card_of, rebuild_as, task_class
from hpo.trial.weights import packed


def check_promotable(study: StudySpec, trained: nn.Module) -> list[Check]:
    """What promotion does after training works: export, scores without some examples, baselines and pictures.

    It is tried on the smoke fidelity's validation split, because a fault in it would cost every run before it.
    """
    task, _ = study.configure({}, searchable(study, study.smoke))  # as the trained model was
    batches = list(all_batches(study, study.smoke, "val"))
    rows = judge_batches(task, trained, batches)
    faults = [
        *_export_faults(task, trained, batches),
        *score_faults(task, rows, "the model"),
        *_baseline_faults(task, study.smoke, batches),
        *_picture_faults(task.pictures(trained.eval(), batches)),
    ]
    return [
        Check(
            name="can be promoted",
            status=status_of(not faults),
            seen=first_fault(faults) or "export, baselines and pictures work",
            allowed="they work",
            look_at="the task's fields, metrics(), baselines() and pictures()",
        )
    ]


def _export_faults(task: Task[Any], model: nn.Module, batches: list[NamedTuple]) -> Iterator[str]:
    before = evaluate(task, model, batches)
    card = json.loads(json.dumps(card_of(task), allow_nan=False))
    # a class of a notebook or of a script comes to a worker by value: there it has no module that a card could name
    kind = type(task) if type(task).__module__ == "__main__" else task_class(card["task"])
    rebuilt = rebuild_as(kind, card, packed(model.state_dict()))
    after = evaluate(rebuilt.task, rebuilt.model, batches)
    for name, score in before.items():
        if not is_close(after[name], score):
            yield f"{name} is {after[name]:.6g} after export, not {score:.6g}"
    if rebuilt.task != task:
        yield "the exported fields make another task"


def score_faults(task: Task[Any], rows: Rows, whose: str) -> Iterator[str]:
    """What would stop the verdict: a goal that cannot be had of all rows, or not without one block of them."""
    try:
        scores = scores_of(task, rows.columns)
        blocks = pseudo_values(task, rows, scores)[task.goal]
    except KeyError as error:
        yield f"{whose} lacks the column {error}, which metrics() needs"
        return
    if not math.isfinite(scores[task.goal]):
        yield f"{task.goal} of {whose} is {scores[task.goal]}"
    elif not all(math.isfinite(value) for value in blocks):
        yield f"{task.goal} of {whose} is not finite without one of {len(blocks)} parts of the examples"


def _baseline_faults(task: Task[Any], fidelity: Fidelity, batches: list[NamedTuple]) -> Iterator[str]:
    for name, rows in judge_baselines(task, fidelity, batches).items():
        yield from score_faults(task, rows, f"baseline {name!r}")


def _picture_faults(pictures: Iterable[Picture | Chart]) -> Iterator[str]:
    for picture in pictures:
        if isinstance(picture, Chart):
            json.loads(picture.figure_json)
            continue
        for label, pixels in picture.panels.items():
            if not (isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.shape[2:] == (3,)):
                kind = f"{getattr(pixels, 'dtype', type(pixels).__name__)} {tuple(getattr(pixels, 'shape', ()))}"
                yield f"picture {picture.title!r}, panel {label!r}, is {kind}; it must be uint8 (H, W, 3)"
