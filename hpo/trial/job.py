"""What a worker is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.plain import fingerprint
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.watchdog.limit import Bounds


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs for one trial."""

    study: StudySpec
    fidelity: Fidelity
    params: Mapping[str, Any]
    number: int
    trial_id: int
    seed: int  # of the training run
    folder: Path  # the trial's own: the worker writes nowhere else
    storage: str
    study_name: str  # in the storage: the sweep's or the promotion's
    device: str = "auto"
    fold: int = 0  # that a run of a promotion is tested on
    pause_at: int | None = None  # epochs after which it pauses; None: it does not
    bounds: Bounds | None = None  # None: it may take whatever it takes

    @property
    def inputs(self) -> str:
        """What the outcome depends on, beside the study's identity."""
        return fingerprint({"params": self.params, "fidelity": self.fidelity, "seed": self.seed})
