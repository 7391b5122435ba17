"""A study whose epochs take PACE seconds, which the environment says: none in a preflight."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from hpo.task import Fidelity, Split
from tests.faults.studies import Victim, victims
from tests.toy import Batch


@dataclass(frozen=True)
class Paced(Victim):
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if split == "train":
            time.sleep(float(os.environ.get("PACE", "0")))
        return super().batches(split, fidelity, batch_size, rng)


study = victims(name="paced", task=Paced(), trials=4, pruning=None)
