"""The check on what is saved of a run: the checkpoint is all that a resumed run needs, and the weights all of a model.

State that lies elsewhere is lost when a run is resumed, and when its winner is exported.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

from hpo.checking.numbers import Numbers, distance, is_exact, numbers_of, searchable
from hpo.engine.training import Progress, fit, require_same_score
from hpo.errors import Unfaithful
from hpo.study import StudySpec
from hpo.task import Check

NAME = "saved whole"
SAME_ON_GPU = 0.05  # relative difference of two runs that are the same but for the order of sums


def check_saved(study: StudySpec, device: str, smoke: Numbers) -> list[Check]:
    """A run that was interrupted ends as an unbroken one, and its weights alone make the model that was scored.

    `smoke` holds the numbers of the smoke run.
    """
    fault = _fault(study, device, smoke)
    return [
        Check(
            name=NAME,
            status="no-go" if fault else "go",
            seen=fault or "weights give the same score; a resumed run ends as an unbroken one",
            allowed="the same",
            look_at="what training changes: it must be a parameter, a buffer, or returned by get_extra_state()",
        )
    ]


def _fault(study: StudySpec, device: str, smoke: Numbers) -> str:
    fidelity = searchable(study, study.smoke)
    task, recipe = study.configure({}, fidelity)
    resumed: list[Progress] = []
    with tempfile.TemporaryDirectory() as folder:
        for epochs in (1, None):  # interrupted after the first epoch, and then gone on with
            run = fit(task, recipe, fidelity, seed=1, device=device, resume=Path(folder))
            resumed = list(itertools.islice(run, epochs))
    try:
        require_same_score(task, recipe, fidelity, resumed[-1], device=device)
    except Unfaithful as error:
        return str(error)
    change = distance(smoke, numbers_of(resumed))
    if change > (0.0 if is_exact(device) else SAME_ON_GPU):
        return f"a run that is resumed after its first epoch differs by {change:.2g} from an unbroken one"
    return ""
