"""What it takes to tune and score the classical methods of a task: a budget of time plans for it."""

from __future__ import annotations

import time

from hpo.engine.evaluation import judge_baselines
from hpo.promotion.test_split import SplitBatches
from hpo.promotion.tuning import tuning_seconds
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec


def rival_seconds(study: StudySpec, folder: RunFolder) -> float:
    """About how many seconds `score_baselines` takes: one fold is scored with the defaults, whose scores nobody sees.

    0 where the task has no classical methods.
    """
    task, recipe = study.configure({}, study.full, fold=0)
    if not task.baselines(study.full):
        return 0.0
    began = time.perf_counter()
    judge_baselines(task, study.full, SplitBatches(task, "test", study.full, recipe.batch_size), {})
    scoring = (time.perf_counter() - began) * task.folds
    return scoring + tuning_seconds(study, folder)
