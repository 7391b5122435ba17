"""What lies between the promoted configurations and every baseline, in scores beside the goal too, with intervals.

    python -m tests.benchmarks.leads STUDY SCORE ... [--runs DIR]

Reads what the promotion has kept of each run, and prints mean [95 % interval] of each score, and of the paired
difference from each baseline (over seeds and test examples, as in the report).
"""

import sys
from pathlib import Path

import numpy as np

from hpo.page.collect_promotion import read_verdict
from hpo.promotion import selection
from hpo.promotion.intervals import crossed_interval
from hpo.storage.folder import RunFolder
from hpo.trial.record import read_outcome
from hpo.verbs.load import load_study


def main(name: str, scores: list[str], runs: Path) -> None:
    study = load_study(name)
    folder = RunFolder(runs / study.name)
    verdict = read_verdict(folder, selection.read_selection(folder))
    for result in verdict.results:
        outcomes = [read_outcome(folder.trial("promotion", run.number)) for run in result.runs]
        for score in scores:
            values_SU = np.array([outcome.blocks[score] for outcome in outcomes])
            mean = float(np.mean([outcome.test[score] for outcome in outcomes]))
            print(f"{result.candidate.name}: {score} {crossed_interval(values_SU, mean)}")
            for baseline in verdict.baselines:
                rival = baseline.folds[0]
                lead = crossed_interval(values_SU - np.array(rival.blocks[score]), mean - rival.scores[score])
                print(f"    less {baseline.name} ({rival.scores[score]:.4g}): {lead}")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    where = Path(arguments.pop(arguments.index("--runs") + 1)) if "--runs" in arguments else Path("runs")
    main(arguments[0], [argument for argument in arguments[1:] if argument != "--runs"], where)
