"""How far a promotion has come, by its storage. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import BaseTrial, FrozenTrial, TrialState

from hpo.promotion.candidate import RunKey
from hpo.promotion.race import Race, Values
from hpo.storage.time_left import Plan
from hpo.trial.lifecycle import SUPERSEDED


@dataclass(frozen=True)
class PromotionStanding:
    """How far a promotion has come."""

    done: int  # runs that have ended
    runs: int  # runs of the whole race
    note: str = ""  # what is done after the last run


def run_key(trial: BaseTrial) -> RunKey:
    """Which run a trial of the promotion is."""
    return RunKey(trial.user_attrs["key"], trial.user_attrs["seed"])


def values_of(trials: Sequence[FrozenTrial]) -> Values:
    """The runs of promotions that have ended, by the storage."""
    return {
        run_key(trial): trial.value if trial.state is TrialState.COMPLETE else None
        for trial in trials
        if trial.state.is_finished() and not is_given_up(trial)
    }


def standing_of(race: Race, trials: Sequence[FrozenTrial]) -> PromotionStanding:
    """How far a race has come, by the storage."""
    values = values_of(trials)
    done = sum(map(len, race.ended(values).values()))
    return PromotionStanding(done, race.planned(values))


def plan_of(race: Race, trials: Sequence[FrozenTrial]) -> Plan:
    """What a race has done and has still to do, by the storage."""
    values = values_of(trials)
    stages = race.stages(values)
    later = race.rounds[len(stages) :]
    runs = set(race.runs(values))
    return Plan(
        done=sum(map(len, race.ended(values).values())),
        trials=race.planned(values),
        rounds=(*(len(stage.runs) for stage in stages), *(race_round.runs for race_round in later)),
        numbers=frozenset(trial.number for trial in trials if run_key(trial) in runs and not is_given_up(trial)),
    )


def is_given_up(trial: FrozenTrial) -> bool:
    """Whether a newer selection had no need of the run, which therefore was not trained."""
    return trial.user_attrs.get("reason") == SUPERSEDED
