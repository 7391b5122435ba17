"""The checks of preflight on the smoke run: the default configuration, trained for a few seconds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hpo.checking.numbers import SAME, Numbers, changes_run, distance, is_exact, numbers_of, run_numbers, searchable
from hpo.checking.splits import batches
from hpo.checking.wording import status_of, yes_or_no
from hpo.engine.evaluation import judge_batches
from hpo.engine.training import fit
from hpo.study import StudySpec
from hpo.task import Check

MAY_DIFFER = 20  # of so many whole numbers one may differ


@dataclass(frozen=True)
class SmokeRun:
    """The default configuration, trained at the smoke fidelity with seed 1."""

    numbers: Numbers
    model: nn.Module = field(repr=False)  # as it was scored after the last epoch


def smoke_run(study: StudySpec, device: str) -> SmokeRun:
    """Run the default configuration at the smoke fidelity. Raises Diverged."""
    task, recipe = study.configure({}, searchable(study, study.smoke))
    epochs = list(fit(task, recipe, study.smoke, seed=1, device=device))
    return SmokeRun(numbers_of(epochs), epochs[-1].model)


def check_same_run(study: StudySpec, device: str, smoke: Numbers) -> list[Check]:
    """The same seed gives the same run, on the CPU bit for bit, and another seed gives another run.

    `smoke` holds the numbers of the smoke run.
    """
    fidelity = searchable(study, study.smoke)
    noise = distance(smoke, run_numbers(study, {}, fidelity, 1, device))
    seeds_differ = changes_run(study, {}, fidelity, device, smoke, seed=2, noise=0.0)
    exact = noise == 0 or is_exact(device)
    is_same = noise == 0 if exact else changes_run(study, {}, fidelity, device, smoke, seed=2, noise=noise)
    return [
        Check(
            name="same seed, same run",
            status=status_of(is_same and seeds_differ),
            seen=f"repeats: {yes_or_no(is_same)}; seeds differ: {yes_or_no(seeds_differ)}",
            allowed="yes; yes",
            look_at="random numbers from a generator of one's own that is not seeded",
        )
    ]


def check_rows(study: StudySpec, trained: nn.Module) -> list[Check]:
    """What `score` says of an example depends on nothing but the example, with a trained model.

    Examples are scored in the recipe's batches and one by one: batch statistics, padding to the longest neighbour, and
    what is computed once a batch show as a difference.
    """
    task, _ = study.configure({}, searchable(study, study.smoke))  # as the trained model was
    together = judge_batches(task, trained, batches(study, study.smoke, "val")).columns
    alone = judge_batches(task, trained, batches(study, study.smoke, "val", 1, batch_size=1)).columns
    differing = [name for name in together if not _same_column(together[name], alone[name])]
    return [
        Check(
            name="rows belong to examples",
            status=status_of(not differing),
            seen=f"other values one by one: {', '.join(differing)}" if differing else "the same one by one",
            allowed="the same in a batch and one by one",
            look_at="score(): what it computes from a whole batch, or from its first example",
        )
    ]


def _same_column(together_N: Tensor, alone_N: Tensor) -> bool:
    """Whether two columns agree, up to the order of sums. Of whole numbers one may differ: it may have been a tie."""
    if together_N.shape != alone_N.shape:
        return False
    if not together_N.is_floating_point():
        return int((together_N != alone_N).sum()) <= len(together_N) // MAY_DIFFER
    scale = float(together_N[torch.isfinite(together_N)].abs().max()) if torch.isfinite(together_N).any() else 1.0
    return torch.allclose(together_N, alone_N, rtol=SAME, atol=SAME * scale, equal_nan=True)
