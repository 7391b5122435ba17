"""What lies between the promoted configurations and every baseline, in scores beside the goal too, with intervals.

    python -m tests.benchmarks.leads STUDY SCORE ... [--runs DIR]

Scores the promoted weights again on the test split, unit by unit, and prints mean [95 % interval] of each score, and of
the paired difference from each baseline (over seeds and test examples, as in the report).
"""

import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from hpo.engine.evaluation import evaluate
from hpo.page.collect import read_verdict
from hpo.promotion import selection
from hpo.promotion.intervals import crossed_interval
from hpo.promotion.retune import with_settings
from hpo.promotion.test_split import load_test_units
from hpo.storage.folder import RunFolder
from hpo.trial.artifact import WEIGHTS
from hpo.verbs.load import load_study


def main(name: str, scores: list[str], runs: Path) -> None:
    torch.set_num_threads(1)
    study = load_study(name)
    folder = RunFolder(runs / study.name)
    verdict = read_verdict(folder, selection.read_selection(folder))
    plain, _ = study.configure({}, study.full)
    units = load_test_units(plain, study.full)
    classical = [plain.baselines([unit]) for unit in units]
    for result in verdict.results:
        task, recipe = study.configure(result.candidate.params, study.full)
        judged = []
        for run in result.runs:
            model = task.model()
            weights = (folder.trial("promotion", run["number"]) / WEIGHTS).read_bytes()
            model.load_state_dict(safetensors.torch.load(weights))
            variant = with_settings(task, run["chosen"])
            judged.append([evaluate(variant, model, [unit], precision=recipe.precision) for unit in units])
        for score in scores:
            values_SU = np.array([[unit[score] for unit in run] for run in judged])
            print(f"{result.candidate.name}: {score} {crossed_interval(values_SU)}")
            for method in classical[0]:
                lead = crossed_interval(values_SU - np.array([unit[method][score] for unit in classical]))
                mean = np.mean([unit[method][score] for unit in classical])
                print(f"    less {method} ({mean:.4g}): {lead}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    where = Path(arguments.pop(arguments.index("--runs") + 1)) if "--runs" in arguments else Path("runs")
    main(arguments[0], [one for one in arguments[1:] if one != "--runs"], where)
