"""Time to a winner that can be trusted: `hpo run` against a careful person's own script of Optuna, in turn.

    python -m tests.benchmarks.winner [NAME ...]

Both search the same space, train the best and the default on three seeds, and say with an interval whether the best is
better. The script searches as most people do: 24 trials at the full fidelity. hpo sweeps 12 on a quarter of the data.
What each has chosen is then trained again on seeds that neither has used: so the price is compared for the quality that
was bought. hpo's price includes its preflight and its report.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import hpo
from hpo.engine.evaluation import evaluate
from hpo.seeds import derive, generator
from hpo.study import StudySpec
from hpo.task import Fidelity
from studies.lowlight import study as lowlight
from tests.benchmarks.measured import Measured, Row, Spent, spent, spread

SCRIPT_TRIALS = 24
SEEDS = 3  # of the best and of the default, on both sides
JUDGED = 3  # fresh trainings of what was chosen
PAIRS = {"digits": 2, "lowlight": 1}
GOAL = "0.33"


@dataclass(frozen=True)
class Pair:
    """What both sides have spent, the test score of the best that each has found, and whether each was sure of it."""

    ours: Spent
    plain: Spent
    our_score: float
    plain_score: float
    ours_sure: bool
    plain_sure: bool

    @property
    def ratio(self) -> float:
        return self.ours.cpu / self.plain.cpu


def study_of(name: str, seed: int) -> StudySpec:
    """One of the two studies: the digits of docs/examples with longer trainings, and lowlight with shorter ones."""
    if name == "digits":
        study = hpo.load_study("docs/examples/digits.py")
        cheap, full = Fidelity(train=250, epochs=40), Fidelity(epochs=40)
    else:
        study = lowlight
        full = Fidelity(size=32, train=96, val=48, epochs=16, test=96)
        cheap = replace(full, train=24, test=None)
    return replace(study, cheap=cheap, full=full, trials=12, pruning=hpo.Median(), keep=1, seeds=SEEDS, seed=seed)


def measure(*names: str) -> Measured:
    rows = []
    for name in names or PAIRS:
        pairs = [pair(name, seed) for seed in range(PAIRS[name])]
        rows += rows_of(name, pairs)
    return Measured(
        tuple(rows),
        f"Sweep, {SEEDS} seeds of the best and the default, an interval; the script's trials are at the full fidelity. "
        f"Scores are means of {JUDGED} new trainings of the best configuration that each side has found.",
    )


def rows_of(name: str, pairs: list[Pair]) -> list[Row]:
    study = study_of(name, 0)
    better = "higher" if study.task.direction == "maximize" else "lower"
    return [
        Row(
            f"{name}: CPU time of `hpo run`, as a multiple of the script's",
            spread([each.ratio for each in pairs]),
            GOAL,
            f"CPU time to a trusted winner, {name}, hpo / script",
        ),
        Row(f"{name}: CPU seconds of `hpo run`", spread([each.ours.cpu for each in pairs], ".0f")),
        Row(
            f"{name}: {study.task.goal} of the best that hpo found, less that of the script's ({better} is better)",
            spread([each.our_score - each.plain_score for each in pairs], "+.4f"),
            "no worse",
        ),
        Row(
            f"{name}: searches after which the best is surely better than the default",
            f"hpo {sum(each.ours_sure for each in pairs)}, script {sum(each.plain_sure for each in pairs)}"
            f" of {len(pairs)}",
        ),
    ]


def pair(name: str, seed: int) -> Pair:
    """Both sides with one seed."""
    ours = spent(sys.executable, "-m", "tests.benchmarks.winner", "--ours", name, str(seed))
    plain = spent(sys.executable, "-m", "tests.benchmarks.hand_written", name, str(SCRIPT_TRIALS), str(seed))
    answers = [json.loads(side.output.splitlines()[-1]) for side in (ours, plain)]
    scores = [score(name, answer["leader"]) for answer in answers]
    sure = [answer["sure"] for answer in answers]
    done = Pair(ours, plain, *scores, *sure)
    print(
        f"{name}, seed {seed}: hpo {ours.cpu:.0f} CPU s, script {plain.cpu:.0f}, ratio {done.ratio:.2f}; "
        f"scores {done.our_score:.4f}, {done.plain_score:.4f}",
        flush=True,
    )
    return done


def score(name: str, params: Mapping[str, Any]) -> float:
    """The mean test score of a configuration over new trainings at the full fidelity."""
    study = study_of(name, 0)
    task, recipe = study.configure(params, study.full)
    scores = []
    for run in range(JUDGED):
        *_, last = hpo.fit(task, recipe, study.full, seed=derive("judge", run), device="cpu")
        model = task.model()
        model.load_state_dict(last.best_weights)
        batches = task.batches("test", study.full, recipe.batch_size, generator("validation"))
        scores.append(evaluate(task, model, batches)[task.goal])
    return statistics.mean(scores)


def ours(name: str, seed: int) -> None:
    """Run the whole path, and print the leader's configuration."""
    with tempfile.TemporaryDirectory() as runs:
        verdict = hpo.run(study_of(name, seed), workers=1, device="cpu", runs=runs)
    assert verdict.leading is not None
    print(verdict.claim)
    sure = verdict.winner == verdict.leader  # else the default stands
    print(json.dumps({"leader": dict(verdict.leading.candidate.params), "sure": sure}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ours"]:
        ours(sys.argv[2], int(sys.argv[3]))
    else:
        for row in measure(*sys.argv[1:]).rows:
            print(f"{row.quantity}: {row.measured}")
