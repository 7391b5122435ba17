"""What a careful person writes without hpo: a sweep by Optuna, then the best and the default on three seeds each.

    python -m tests.benchmarks.hand_written STUDY TRIALS SEED

STUDY is one of tests.benchmarks.winner. The task, which is its model, data and score, is taken as it is; the loop is
that of tests.benchmarks.plain. Every trial is trained at the full fidelity: nothing says that a cheaper ranks alike.
Prints the best configuration, and the interval of its lead over the default on the test split.
"""

import copy
import json
import statistics
import sys

import optuna
from scipy.stats import t

from hpo import space
from tests.benchmarks.plain import judged, train
from tests.benchmarks.winner import SEEDS, study_of


def main(name: str, trials: int, seed: int) -> None:
    study = study_of(name, seed)
    maximize = study.task.direction == "maximize"

    def objective(trial: optuna.Trial) -> float:
        task, recipe = study.configure(space.suggest(trial, study.space), study.full)

        def report(best: float, epoch: int, model) -> None:
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        return train(task, recipe, study.full, 1000 * seed + trial.number, report)

    def tested(params: dict, run: int) -> float:
        task, recipe = study.configure(params, study.full)
        best, weights = None, None

        def keep(now: float, epoch: int, model) -> None:
            nonlocal best, weights
            if best is None or now != best:
                best, weights = now, copy.deepcopy(model.state_dict())

        train(task, recipe, study.full, 1000 * seed + 500 + run, keep)
        model = task.model()
        model.load_state_dict(weights)
        return judged(task, recipe, study.full, model, "test")

    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=study.full.epochs // 3)
    search = optuna.create_study(direction=study.task.direction, sampler=sampler, pruner=pruner)
    search.enqueue_trial(study.defaults())
    search.optimize(objective, n_trials=trials)

    best, default = search.best_params, study.defaults()
    leads = [tested(best, run) - tested(default, run) for run in range(SEEDS)]
    mean, error = statistics.mean(leads), statistics.stdev(leads) / SEEDS**0.5
    half = t.ppf(0.975, SEEDS - 1) * error
    sure = mean - half > 0 if maximize else mean + half < 0
    print(f"lead of {best} over the default: {mean:.4f} [{mean - half:.4f}, {mean + half:.4f}]")
    print(json.dumps({"leader": best, "sure": bool(sure)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
