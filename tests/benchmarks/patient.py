"""Lowlight's own trials, which hardly train and wait instead, until each has taken 9 s: what a sweep of them costs more
than the same waits in a plain script is the harness."""

import time
from dataclasses import dataclass, replace

from hpo import Columns
from objectives.lowlight import LowLight
from tests.benchmarks.small import study as small

TRIAL_S = 9.0
FIDELITY = replace(small.cheap, train=8, val=2)
EPOCH_S = TRIAL_S / FIDELITY.epochs - 0.05  # what an epoch waits; it trains for the rest


@dataclass(frozen=True)
class Patient(LowLight):
    """Its scores, which are asked for once an epoch, come late."""

    def metrics(self, columns: Columns):
        time.sleep(EPOCH_S)
        return super().metrics(columns)


study = replace(
    small,
    name="patient",
    task=Patient(**vars(small.task)),
    smoke=FIDELITY,
    cheap=FIDELITY,
)
