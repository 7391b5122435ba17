"""What a configuration costs when it is used, measured once for each trial before that is trained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hpo.contract.costs import over_limits
from hpo.data.batch import map_tensors
from hpo.data.passes import one_pass
from hpo.engine.evaluation import evaluating, place, resolve_device
from hpo.engine.model import initial_model
from hpo.engine.own_training import OwnTraining
from hpo.errors import Infeasible, Refused
from hpo.formatting import number
from hpo.seeds import generator
from hpo.trial.memory_private import HeldBytes
from hpo.trial.sealed import read_sealed, write_sealed

if TYPE_CHECKING:
    from hpo.study import StudySpec
    from hpo.task import Fidelity, Task
    from hpo.trial.job import Job

RECORD = "costs.json"  # in a trial's folder, until its result is there
WARM_UP, LEAST, MOST = 2, 5, 200  # passes that are not timed, and that are
ENOUGH_S = 0.1  # of timed passes


def require_measurable(study: StudySpec) -> None:
    """Raise Refused where the study asks for costs, and the engine has no model that it could measure."""
    if study.costs and isinstance(study.task, OwnTraining):
        raise Refused(
            f"{type(study.task).__name__} trains itself, so its {', '.join(study.costs)} cannot be measured; "
            f"remove limits and goals from the study, or give the task a model()"
        )


def costs_of(job: Job) -> dict[str, float]:
    """What the job's configuration costs, as far as its study asks. Measured once, and kept in the job's folder.

    The model is that of the study's full fidelity, so a trial of the sweep and a run of the promotion cost the same.
    """
    names = job.study.costs
    if not names:
        return {}
    kept = kept_costs(job.folder)
    if kept.keys() >= set(names):
        return kept
    task, recipe = job.study.configure(job.params, job.study.full, fold=job.fold)
    costs = measure(
        task, job.study.full, names, seed=job.seed, device=resolve_device(job.device), precision=recipe.precision
    )
    write_sealed(job.folder / RECORD, costs)
    return costs


def kept_costs(folder: Path) -> dict[str, float]:
    """What was measured of a trial that has no result yet; empty where nothing was."""
    return dict(read_sealed(folder / RECORD) or {})


def require_within(limits: Mapping[str, float], costs: Mapping[str, float]) -> None:
    """Raise Infeasible where a cost is above its limit."""
    over = over_limits(limits, costs)
    if over:
        parts = (f"{name} = {number(cost)}, over the limit of {number(limits[name])}" for name, cost in over.items())
        raise Infeasible("; ".join(parts))


def measure(
    task: Task[Any],
    fidelity: Fidelity,
    names: Iterable[str],
    *,
    seed: int,
    device: torch.device,
    precision: str = "fp32",
) -> dict[str, float]:
    """Measure these costs of a task's untrained model: one pass of `task.score` over one validation example.

    See `hpo.contract.costs.COSTS` for what each of them counts.
    """
    rng = generator("validation")
    first = initial_model(task, seed, lambda: next(one_pass(task, "train", fidelity, 1, rng)))
    model = first.to(device)
    example = place(_one_example(task, fidelity), device)
    with evaluating(model, precision):
        return {name: _MEASURES[name](model, example, lambda: task.score(model, example)) for name in names}


def _one_example(task: Task[Any], fidelity: Fidelity) -> NamedTuple:
    """The first example of validation, as a batch."""
    batches = one_pass(task, "val", replace(fidelity, val=1), 1, generator("validation"))
    return next(batches)


Pass = Callable[[], object]


def _parameters(model: nn.Module, example: NamedTuple, run: Pass) -> float:  # noqa: ARG001
    return float(sum(parameter.numel() for parameter in model.parameters()))


def _flops(model: nn.Module, example: NamedTuple, run: Pass) -> float:  # noqa: ARG001
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def _memory_mb(model: nn.Module, example: NamedTuple, run: Pass) -> float:
    with HeldBytes([*model.parameters(), *model.buffers(), *_tensors(example)]) as memory:
        run()
    return float(memory.most / 1e6)


def _tensors(example: NamedTuple) -> list[Tensor]:
    tensors: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    map_tensors(keep, example)
    return tensors


def _milliseconds(model: nn.Module, example: NamedTuple, run: Pass) -> float:  # noqa: ARG001
    """The fastest pass: what other programs on the machine take from it only makes a pass slower."""
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    for _ in range(WARM_UP):
        _timed(run, device)
    times: list[float] = []
    while len(times) < LEAST or (sum(times) < ENOUGH_S and len(times) < MOST):
        times.append(_timed(run, device))
    return 1000 * min(times)


def _timed(run: Pass, device: torch.device) -> float:
    """Seconds of a pass."""
    _wait_for(device)
    started = time.perf_counter()
    run()
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


_MEASURES: Mapping[str, Callable[[nn.Module, NamedTuple, Pass], float]] = {
    "parameters": _parameters,
    "flops": _flops,
    "milliseconds": _milliseconds,
    "memory_mb": _memory_mb,
}
