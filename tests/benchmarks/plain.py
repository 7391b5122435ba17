"""The same trials as a person would write them without hpo: a torch loop under plain `study.optimize`.

    python -m tests.benchmarks.plain STUDY trials.json storage.db

STUDY is a module of tests.benchmarks. trials.json holds a list of parameter mappings, which are enqueued one by one.
Prints the values as JSON.
"""

import importlib
import json
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import nn

from hpo import space
from hpo.recipe import Recipe
from hpo.schedule import warmup_cosine
from hpo.seeds import derive, generator
from hpo.study import StudySpec
from hpo.task import Fidelity, Held, Moment, Split, Task

torch.set_num_threads(1)
optuna.logging.set_verbosity(optuna.logging.WARNING)


def objective(study: StudySpec, trial: optuna.Trial) -> float:
    task, recipe = study.configure(space.suggest(trial, study.space), study.cheap)

    def report(best: float, epoch: int, model: nn.Module) -> None:
        trial.report(best, epoch)
        trial.should_prune()

    return train(task, recipe, study.cheap, study.training_seed(trial.number), report)


def train(
    task: Task[Any], recipe: Recipe, fidelity: Fidelity, seed: int, report: Callable[[float, int, nn.Module], None]
) -> float:
    """The best validation score. `report` is called after each epoch with the best so far, the epoch and the model."""
    torch.manual_seed(derive(seed, "model"))
    model = task.model()
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    groups = task.groups(model)
    optimizer = torch.optim.AdamW(
        [{"params": parameters, "name": name} for name, parameters in groups.items()],
        lr=recipe.lr,
        betas=recipe.betas,
        weight_decay=recipe.weight_decay,
    )
    examples = fidelity.limit("train")
    whole = task.batches("train", fidelity, recipe.batch_size, generator(seed, "batches", 0))
    batches = sum(1 for _ in whole) if examples is None else math.ceil(examples / recipe.batch_size)
    best, step = math.inf, 0
    sign = 1 if task.direction == "minimize" else -1
    for epoch in range(fidelity.epochs):
        torch.manual_seed(derive(seed, "epoch", epoch))
        model.train()
        for batch in task.batches("train", fidelity, recipe.batch_size, generator(seed, "batches", epoch)):
            at = Moment(epoch, fidelity.epochs, step, batches * fidelity.epochs)
            rates = task.rates(at)
            for group in optimizer.param_groups:
                rate = rates.get(group["name"], 1.0)
                scheduled = recipe.lr * warmup_cosine(at, warmup=recipe.warmup, final=recipe.final_lr)
                group["lr"] = rate.lr if isinstance(rate, Held) else scheduled * rate
                for parameter in group["params"]:
                    parameter.requires_grad_(group["lr"] > 0)
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
                terms = task.loss(model, laid_out(batch, recipe.channels_last), at)
            torch.stack(list(terms.values())).sum().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                task.project(model)
            step += 1
        score = judged(task, recipe, fidelity, model, "val")
        best = min(best, sign * score)
        report(sign * best, epoch, model)
    return sign * best


def judged(task: Task[Any], recipe: Recipe, fidelity: Fidelity, model: nn.Module, split: Split) -> float:
    """The task's goal on a split."""
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        held = task.batches(split, fidelity, recipe.batch_size, generator("validation"))
        rows = [task.score(model, laid_out(batch, recipe.channels_last)) for batch in held]
        columns = {name: torch.cat([row[name] for row in rows]).double() for name in rows[0]}
        return float(task.metrics(columns)[task.goal])


def laid_out(batch, channels_last: bool):
    if not channels_last:
        return batch
    return type(batch)(*(t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in batch))


def main(name: str, trials: Path, storage: Path) -> None:
    study = importlib.import_module(f"tests.benchmarks.{name}").study
    optimized = optuna.create_study(
        storage=f"sqlite:///{storage}",
        direction=study.task.direction,
        sampler=optuna.samplers.TPESampler(seed=0, multivariate=True),
    )
    wanted = json.loads(trials.read_text())
    for params in wanted:
        optimized.enqueue_trial(params)
    optimized.optimize(partial(objective, study), n_trials=len(wanted))
    print(json.dumps([trial.value for trial in optimized.trials]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
