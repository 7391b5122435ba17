"""Attempts at a trial: one that has failed may be trained again, under its own number.

How it failed stays in its folder, as result.failed-1.json and so on, and where it had paused before, as
paused.failed-1.json. The rename of the result is the moment that counts: a folder with a failed attempt and without a
result is a trial that is to be trained again.
"""

from __future__ import annotations

import re
from pathlib import Path

from hpo.engine.checkpoint_files import reached
from hpo.engine.own_training import OWN
from hpo.storage.locks import lease
from hpo.trial.sealed import PAUSED, RESULT, read_sealed

FAILED_ATTEMPT = re.compile(r"result\.failed-([1-9]\d*)\.json")
FAILED_BEFORE = "failed_before"  # why earlier attempts failed, as a user attribute of Optuna's trial


def failed_before(folder: Path) -> list[str]:
    """Why earlier attempts at a trial failed, oldest first."""
    return [_reason(folder / f"result.failed-{number}.json") for number in _numbers(folder)]


def is_to_be_retried(folder: Path) -> bool:
    """Whether a trial that had failed is to be trained again, and has not ended since."""
    return bool(_numbers(folder)) and not (folder / RESULT).exists()


def has_begun(folder: Path) -> bool:
    """Whether the trial's folder holds what a training goes on from."""
    return reached(folder) >= 0 or (folder / OWN).exists()


def set_failure_aside(folder: Path) -> None:
    """Keep how a trial failed under another name, so that it is trained again, from its first epoch."""
    with lease(folder):
        (folder / "deaths.json").unlink(missing_ok=True)  # no worker has died of the new attempt
        number = max(_numbers(folder), default=0) + 1
        if (folder / PAUSED).exists():  # nor has it paused: mended code reports other values
            (folder / PAUSED).rename(folder / f"paused.failed-{number}.json")
        (folder / RESULT).rename(folder / f"result.failed-{number}.json")
        (folder / "lock").unlink(missing_ok=True)


def _numbers(folder: Path) -> list[int]:
    """The numbers of the attempts that failed, in order."""
    names = (FAILED_ATTEMPT.fullmatch(path.name) for path in folder.glob("result.failed-*.json"))
    return sorted(int(name[1]) for name in names if name)


def _reason(path: Path) -> str:
    record = read_sealed(path)
    return str(record["reason"]) if record else f"{path.name} is damaged"
