"""The studies that the soak sweeps and promotes by the command line: its environment says which."""

import os
from dataclasses import replace

from hpo.space import choose
from hpo.study import StudySpec
from hpo.watchdog.limit import Limit
from tests.faults.studies import Victim, victims

HANG_S = 20.0  # without an epoch, until a trial counts as hung
DEEDS = {"": {}, "die": {"task.deed": choose("", "die")}, "hang": {"task.deed": choose("", "hang")}}


def soaked(seed: int, deed: str, *, is_ladder: bool) -> StudySpec:
    """Eight trials, or a ladder with their epochs; with a deed, some of the trials do it."""
    study = victims(name="soaked", task=Victim(pace=0.04), trials=8, keep=1, seeds=1, seed=seed)
    limit = Limit(hang_minutes=HANG_S / 60) if deed == "hang" else Limit()
    pruning = "auto" if is_ladder else study.pruning
    return replace(study, space={**study.space, **DEEDS[deed]}, limit=limit, pruning=pruning)


study = soaked(
    int(os.environ.get("SOAK_SEED", 0)),
    os.environ.get("SOAK_DEED", ""),
    is_ladder=os.environ.get("SOAK_LADDER") == "yes",
)
