"""What configurations cost, and limits on that: measured before training, told to the sampler, kept by a promotion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import Tensor, nn

from hpo.contract.costs import COSTS, excesses
from hpo.errors import Refused
from hpo.page.decoding import decode_verdict
from hpo.promotion.promote import promote
from hpo.recipe import Recipe
from hpo.search.sweep import sweep
from hpo.seeds import generator
from hpo.space import choose, integer, log
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.summary import Summary
from hpo.study import StudySpec
from hpo.task import Columns, Fidelity, Moment, Split, Task
from hpo.trial.costs import costs_of, measure
from hpo.trial.job import Job
from hpo.trial.lifecycle import state_of
from hpo.trial.provenance import identity
from hpo.trial.rebuild import rebuild
from hpo.trial.record import read_outcome, read_pause
from tests.test_own_training import curve_study
from tests.toy import toy_study

INPUTS = 4
FIDELITY = Fidelity(train=32, val=16, test=16, epochs=1)


class Batch(NamedTuple):
    x_BI: Tensor
    y_B1: Tensor


@dataclass(frozen=True)
class Wide(Task[Batch]):
    """y = sum of x, by a network of one hidden layer: INPUTS x width + width + width + 1 parameters."""

    width: int = 8

    goal = "error"
    direction = "minimize"
    inputs = ("x_BI",)
    labels = ("y_B1",)
    bounds = {"error": (0, float("inf"))}

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        x_NI = torch.randn(fidelity.examples(split), INPUTS, generator=generator("wide", split))
        for x_BI in x_NI.split(batch_size):
            yield Batch(x_BI, x_BI.sum(1, keepdim=True))

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(INPUTS, self.width), nn.ReLU(), nn.Linear(self.width, 1))

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        return {"error": (model(batch.x_BI) - batch.y_B1).square().mean()}

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return {"error": (model(batch.x_BI) - batch.y_B1).square().mean(1)}


def parameters(width: int) -> int:
    return INPUTS * width + width + width + 1


def wide_study(**changes: object) -> StudySpec:
    study = StudySpec(
        name="wide",
        task=Wide(),
        recipe=Recipe(lr=0.01, batch_size=16),
        space={"task.width": integer(2, 64), "recipe.lr": log(1e-3, 0.1)},
        smoke=FIDELITY,
        cheap=FIDELITY,
        full=FIDELITY,
        trials=10,
        startup_trials=4,
        pruning=None,
        keep=2,
    )
    return replace(study, **changes)


def stored(folder: RunFolder) -> list[optuna.trial.FrozenTrial]:
    there = stored_study(folder, "wide")
    assert there
    return there.get_trials(deepcopy=False)


# -- measured --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("width", [1, 8, 300])
def test_the_costs_of_a_network_are_those_that_its_formula_says(width: int) -> None:
    costs = measure(Wide(width), FIDELITY, COSTS, seed=0, device=torch.device("cpu"))
    assert costs["parameters"] == parameters(width)
    assert costs["flops"] == 2 * (INPUTS * width + width), "a multiplication and an addition for each weight"
    weights, example = 4 * parameters(width), 4 * (INPUTS + 1)
    assert weights + example < 1e6 * costs["memory_mb"] <= weights + example + 2 * 4 * width + 64
    assert costs["milliseconds"] > 0


def test_a_slower_network_takes_more_milliseconds() -> None:
    def milliseconds(width: int) -> float:
        return measure(Wide(width), FIDELITY, ["milliseconds"], seed=0, device=torch.device("cpu"))["milliseconds"]

    assert milliseconds(1_000_000) > 3 * milliseconds(2)


# -- limits ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"weights": 3}, r"limits\['weights'\]: is no cost that is measured; allowed: parameters, flops"),
        ({"parameters": 0}, r"limits\['parameters'\]: must be a positive number, .*; got 0"),
        ({"milliseconds": "5"}, "must be a positive number, .*; got '5'"),
        (["parameters"], "limits: must be a mapping such as"),
    ],
)
def test_limits_that_cannot_be_kept_are_refused(limits: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wide_study(limits=limits)


def test_a_study_without_limits_is_what_it_was() -> None:
    study = toy_study()
    assert study.costs == ()
    assert "limits" not in identity(study)
    limited = identity(replace(study, limits={"parameters": 100}))
    assert {**limited} == {**identity(study), "limits": limited["limits"]}
    assert limited == identity(replace(study, limits={"parameters": 100.0}))


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("limits") / "wide")
    study = wide_study(limits={"parameters": parameters(16)})
    sweep(study, folder, identity(study), device="cpu")
    return folder


def test_a_trial_over_a_limit_is_not_trained_and_the_sampler_hears_by_how_much(swept: RunFolder) -> None:
    trials = stored(swept)
    over = [trial for trial in trials if trial.params["task.width"] > 16]
    assert len(trials) == 10
    assert over
    assert len(over) < len(trials)
    for trial in trials:
        cost, most = parameters(trial.params["task.width"]), parameters(16)
        assert trial.user_attrs["costs"] == {"parameters": cost}
        assert trial.constraints["parameters"] == pytest.approx(cost / most - 1)
        assert state_of(trial) == ("failed" if trial in over else "complete")
        outcome = read_outcome(swept.trial("sweep", trial.number))
        assert outcome is not None
        assert outcome.costs == {"parameters": cost}
        if trial in over:
            assert outcome.epochs == 0
            assert outcome.reason.startswith(f"infeasible: parameters = {cost}")
            assert trial.state is TrialState.PRUNED


def test_a_rebuilt_storage_knows_costs_and_constraints(swept: RunFolder) -> None:
    study = wide_study(limits={"parameters": parameters(16)})
    before = [(trial.user_attrs["costs"], trial.constraints, state_of(trial)) for trial in stored(swept)]
    rebuild(study, swept, identity(study))
    assert [(trial.user_attrs["costs"], trial.constraints, state_of(trial)) for trial in stored(swept)] == before


def test_on_a_ladder_paused_trials_keep_their_costs_and_those_over_a_limit_fail(tmp_path: Path) -> None:
    long = replace(FIDELITY, epochs=4)
    study = wide_study(limits={"parameters": parameters(32)}, pruning="auto", cheap=long, full=long, trials=6, seed=2)
    folder = RunFolder(tmp_path / "wide")
    paused: dict[int, float] = {}

    def watch(summary: Summary) -> None:
        for row in summary.rows:
            if row.state == "paused":
                paused[row.number] = read_pause(folder.trial("sweep", row.number)).costs["parameters"]

    sweep(study, folder, identity(study), device="cpu", watch=watch)
    trials = stored(folder)
    for trial in trials:
        width = trial.params["task.width"]
        assert trial.user_attrs["costs"] == {"parameters": parameters(width)}
        assert (state_of(trial) == "failed") == (width > 32) == (not trial.intermediate_values)
        assert (trial.constraints["parameters"] > 0) == (width > 32)
        assert paused.get(trial.number, parameters(width)) == parameters(width)
    assert {state_of(trial) for trial in trials} == {"complete", "pruned", "failed"}
    assert paused


def test_a_trial_that_was_interrupted_keeps_what_was_measured(tmp_path: Path) -> None:
    study = wide_study(limits={"milliseconds": 1000})
    job = Job(study, FIDELITY, study.defaults(), 0, 0, 1, tmp_path / "0", "", "wide", device="cpu")
    assert costs_of(job) == costs_of(job), "two measurements would hardly be equal"


def test_a_task_that_trains_itself_cannot_have_its_costs_limited(tmp_path: Path) -> None:
    study = curve_study(limits={"parameters": 10})
    with pytest.raises(Refused, match="trains itself, so its parameters cannot be measured"):
        sweep(study, RunFolder(tmp_path / "own"), identity(study), device="cpu")
    assert not (tmp_path / "own" / "sweep").exists()


def test_many_trials_over_a_limit_in_a_row_end_no_sweep(tmp_path: Path) -> None:
    study = wide_study(
        limits={"parameters": parameters(2)}, space={"task.width": choose(2, 8)}, trials=4, startup_trials=4, seed=10
    )
    folder = RunFolder(tmp_path / "wide")
    assert sweep(study, folder, identity(study), device="cpu").done == 4
    assert [state_of(trial) for trial in stored(folder)][:3] == ["failed"] * 3
    assert len({trial.user_attrs["reason"] for trial in stored(folder)[:3]}) == 1, "for one and the same reason"


def test_excesses_are_shares_of_the_limits() -> None:
    assert excesses({"parameters": 200, "flops": 10}, {"parameters": 300}) == {"parameters": 0.5}


# -- promotion -------------------------------------------------------------------------------------------------------
def test_a_promotion_ends_with_the_best_within_the_limits_where_the_default_is_over_one(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path / "wide")
    study = wide_study(
        task=Wide(width=40), limits={"parameters": parameters(16), "milliseconds": 1000}, trials=7, keep=1
    )
    sweep(study, folder, identity(study), device="cpu")
    assert state_of(stored(folder)[0]) == "failed", "the default is over the limit"
    verdict = promote(study, folder, identity(study), device="cpu")
    default, winner = verdict.default, verdict.winning
    assert default is not None
    assert default.full is not None, "it is trained all the same: the winner is compared with it"
    assert default.over(study.limits) == {"parameters": parameters(40)}
    assert winner.candidate.name != "default"
    exact = parameters(winner.candidate.params["task.width"])
    cost = winner.costs["parameters"]
    assert cost is not None
    assert (cost.low, cost.mean, cost.high) == (exact, exact, exact)
    time = winner.costs["milliseconds"]
    assert time is not None
    assert time.low < time.mean < time.high, "over the runs"
    assert f"The default is over them, with {parameters(40)} parameters (limit {parameters(16)})" in verdict.sentence
    assert f"costs {exact} parameters (limit {parameters(16)}) and " in verdict.sentence
    assert decode_verdict(folder).winning == winner
