"""A trial that asks for more memory than the card has is pruned for Optuna, and its worker goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import optuna
import torch
from torch import Tensor, nn

import hpo
from hpo.recipe import Recipe
from hpo.space import uniform
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity, Moment
from tests.benchmarks.gpu.claim import Claim, result, scratch
from tests.toy import INPUTS, Batch, Toy

TOO_MUCH = 2.0  # shares of the memory
TINY = 2**20  # bytes that stand for the memory on the CPU, where nobody may take half of it
ABSURD = 2**60  # bytes that no CPU has


@dataclass(frozen=True)
class Hungry(Toy):
    share: float = 0.0  # of the card's memory that a step takes for a moment

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        size = int(self.share * memory(batch.x_BI.device))
        if batch.x_BI.device.type == "cpu" and self.share > 1:
            size = ABSURD
        torch.empty(size, dtype=torch.uint8, device=batch.x_BI.device)
        return super().loss(model, batch, at)


def memory(device: torch.device) -> int:
    """The memory of a card in bytes."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else TINY


FIDELITY = Fidelity(size=INPUTS, train=64, val=32, epochs=3)
STUDY = StudySpec(
    name="hungry",
    task=Hungry(),
    recipe=Recipe(lr=0.05, batch_size=16),
    space={"task.share": uniform(0.0, TOO_MUCH)},
    smoke=FIDELITY,
    cheap=FIDELITY,
    full=FIDELITY,
    pruning=None,
)


def check(device: str) -> Iterator[Claim]:
    yield survives(1, (TOO_MUCH, 0.5), device)
    yield survives(2, (TOO_MUCH, 0.1, 1.9, 0.2, 0.15), device)  # each is tried once, so they differ


def survives(workers: int, shares: tuple[float, ...], device: str) -> Claim:
    """The trials that ask for too much are pruned; all others are complete, and no worker has died."""
    study = replace(STUDY, trials=1 + len(shares))
    tries = [{"task.share": share} for share in shares]
    with scratch() as runs:
        hpo.sweep(study, workers=workers, tries=tries, device=device, runs=runs, force=True)
        folder = RunFolder(runs / study.name)
        trials = optuna.load_study(study_name=study.name, storage=folder.storage).trials
        log = folder.path / "events.log"
        deaths = log.read_text().count('"death"') if log.exists() else 0
    states = [trial.state.name for trial in trials]
    expected = ["COMPLETE", *("PRUNED" if share > 1 else "COMPLETE" for share in shares)]
    named = all("out of memory" in t.user_attrs.get("reason", "") for t in trials if t.state.name == "PRUNED")
    holds = states == expected and named and not deaths
    return result(holds, f"{workers} worker(s), shares of the memory 0, {shares}: {', '.join(states)}; {deaths} deaths")
