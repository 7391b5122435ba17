"""The selection: which candidates a promotion compares, and in which race. It is made once, before the first run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState
from pydantic import TypeAdapter, ValidationError

from hpo.contract.several_goals import COSTS
from hpo.direction import Direction, front
from hpo.errors import Damaged, Refused
from hpo.files import write_json
from hpo.plain import fingerprint, plain
from hpo.promotion.candidate import DEFAULT, Candidate
from hpo.promotion.gate import read_gate
from hpo.promotion.looks import Look, read_looks, verdict_record
from hpo.promotion.race import Race, Round, key_of, planner
from hpo.promotion.repeats import TriedConfiguration, configurations
from hpo.storage.folder import RunFolder
from hpo.storage.reading import stored_trials

if TYPE_CHECKING:
    from hpo.study import StudySpec


KEEP = 4  # configurations that start the race, where neither the study nor its gate says how many
KEEP_OF_FRONT = 8  # the same of a front


@dataclass(frozen=True)
class Selection:
    """The candidates of a promotion and the race that they run.

    A sweep that continues does not change a selection that has been made.
    """

    candidates: tuple[Candidate, ...]  # the default first, then the best cheap one
    keep: int  # how many were asked for beside the default
    seeds: int  # runs of each candidate of the last round
    sweep_trials: int  # how many trials of the sweep had ended when the selection was made
    rounds: tuple[Round, ...]
    added: int = 0  # how many of the rounds --more has added
    look: int = 1  # which verdict on the study's test split this is
    generation: int = 1  # of the study
    retries: int = 0  # how often runs that had failed were trained again after a verdict

    @property
    def key(self) -> str:
        """A fingerprint of what is judged, which the verdict keeps."""
        return key_of([candidate.key for candidate in self.candidates], self.rounds, self.generation, self.retries)

    @property
    def key_before_races(self) -> str:
        """What older versions called the same selection."""
        old = {name: getattr(self, name) for name in ("candidates", "keep", "seeds", "sweep_trials")}
        return fingerprint({"class": "Selection", **old})

    @property
    def next_seed(self) -> int:
        """The first seed index after all of its runs."""
        return self.rounds[-1].seeds[-1] + 1

    def race(self, direction: Direction) -> Race:
        """The race of these candidates."""
        default, *others = [candidate.key for candidate in self.candidates]
        return Race(default, tuple(others), self.rounds, direction)


@dataclass(frozen=True)
class Wish:
    """What a promotion is asked for beside what the study says."""

    more: int | None = None  # further seeds for the default and the leader of the last verdict
    again: bool = False  # a new promotion, on seeds that no verdict has used


NOTHING_ELSE = Wish()


def select(trials: list[optuna.trial.FrozenTrial], study: StudySpec) -> tuple[Candidate, ...]:
    """The default, and the best other configurations among the complete trials, as many as `study.keep` says, or all.

    A configuration that was tried more than once counts once, with the mean of its values. `trials` are in the order of
    their numbers: of equal means the one that was tried first ranks higher. With several goals they are those that no
    other one dominates, the default included, the best in the task's goal first; of more than asked for, some at even
    distances.
    """
    tried = configurations(trial for trial in trials if trial.state is TrialState.COMPLETE)
    default = study.defaults()
    others = [configuration for configuration in tried if configuration.params != default]
    ranked = study.direction.ranked(others, key=lambda configuration: configuration.mean)
    best = _on_front(ranked, tried, trials, study) if study.goals else ranked[: study.keep]
    return (_default_candidate(default, tried), *(_candidate(configuration) for configuration in best))


def _on_front(
    ranked: Sequence[TriedConfiguration],
    tried: Sequence[TriedConfiguration],
    trials: Sequence[optuna.trial.FrozenTrial],
    study: StudySpec,
) -> list[TriedConfiguration]:
    """Those of the ranked configurations that none of the tried ones dominates, at most `study.keep` of them."""
    costs = {trial.number: trial.user_attrs[COSTS] for trial in trials if COSTS in trial.user_attrs}
    measured = [configuration for configuration in tried if configuration.trial in costs]
    on_front = front(measured, key=lambda configuration: study.point(configuration.mean, costs[configuration.trial]))
    return _spread([configuration for configuration in ranked if configuration in on_front], study.keep)


def _spread(items: Sequence[TriedConfiguration], most: int | None) -> list[TriedConfiguration]:
    """At most so many of them, at even distances, the first and the last among them."""
    if most is None or len(items) <= most:
        return list(items)
    if most == 1:
        return list(items[:1])
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def _candidate(tried: TriedConfiguration) -> Candidate:
    return Candidate(f"trial {tried.trial}", tried.params, tried.trial, tried.mean)


def _default_candidate(default: Mapping[str, Any], tried: Iterable[TriedConfiguration]) -> Candidate:
    """The default, with what it scored in the sweep where a trial of it was completed."""
    for configuration in tried:
        if configuration.params == default:
            return Candidate(DEFAULT, default, configuration.trial, configuration.mean)
    return Candidate(DEFAULT, default, trial=None, cheap=None)


def kept(study: StudySpec, folder: RunFolder) -> int:
    """How many configurations start the race beside the default: as the study says, else as its gate found."""
    if study.keep is not None:
        return study.keep
    gate = None if study.goals else read_gate(folder)
    return default_keep(study) if gate is None else gate.keep


def default_keep(study: StudySpec) -> int:
    """How many configurations start the race beside the default, where neither the study nor its gate says it."""
    return KEEP_OF_FRONT if study.goals else KEEP


def freeze(study: StudySpec, folder: RunFolder, wish: Wish = NOTHING_ELSE) -> Selection:
    """Return the selection that is promoted now, and keep it in the folder. Raises what `next_selection` raises."""
    selection = next_selection(study, folder, wish)
    return selection if selection == read_selection(folder) else keep_selection(selection, folder)


def keep_selection(selection: Selection, folder: RunFolder) -> Selection:
    """Write down what is promoted from now on, and return it."""
    write_json(folder.selection, plain(asdict(selection)))
    return selection


def count_retry(folder: RunFolder) -> None:
    """Let the next verdict be another look, where the last selection has one: who decides to train a failed run again
    has read it."""
    selection = read_selection(folder)
    if selection is not None and is_judged(selection, folder):
        look = len(read_looks(folder)) + 1
        keep_selection(replace(selection, retries=selection.retries + 1, look=look), folder)


def with_seeds(selection: Selection, seeds: int) -> Selection:
    """The same race with so many seeds in its last round."""
    *before, last = selection.rounds
    first = last.seeds[0]
    rounds = (*before, replace(last, seeds=tuple(range(first, first + seeds))))
    return replace(selection, seeds=seeds, rounds=rounds)


def next_selection(study: StudySpec, folder: RunFolder, wish: Wish = NOTHING_ELSE) -> Selection:
    """The selection that would be promoted now. Writes nothing.

    It is the last one, where that has no verdict yet or where it would be chosen again; else a new one, made from the
    sweep, which is another look at the test split. Raises Refused where no trial of the sweep is complete, and where
    seeds are to be added to a verdict that there is not.
    """
    require_trials(study, folder, f"hpo sweep {study.name}")
    before, looks = read_selection(folder), read_looks(folder)
    if wish.more is not None:
        return _with_more(before, wish.more, looks, study, folder)
    fresh = max((look.next_seed for look in looks), default=0)
    first = before.rounds[0].seeds[0] if before else _first_seed(folder)
    if wish.again and first < fresh:
        first = fresh
    study = replace(study, keep=kept(study, folder))
    same_plan = before is not None and _is_planned(before, study, first)
    if before and same_plan and not is_judged(before, folder):
        return before
    trials = sweep_trials(study, folder)
    ended = sum(trial.state.is_finished() for trial in trials)
    candidates = select(trials, study)
    if before and same_plan and _keys(candidates) == _keys(before.candidates):
        return replace(before, sweep_trials=ended)
    rounds = _rounds(study, len(candidates) - 1, first)
    new = Selection(candidates, study.keep or KEEP, study.seeds, ended, rounds, generation=folder.generation)
    return replace(new, look=_look(new, looks))


def _first_seed(folder: RunFolder) -> int:
    """The first seed index that no promotion has used which was kept aside when the study was changed."""
    selections = [read_selection(kept_aside) for kept_aside in earlier_promotions(folder)]
    return max((selection.next_seed for selection in selections if selection), default=0)


def earlier_promotions(folder: RunFolder) -> list[RunFolder]:
    """The promotions that were kept aside when the study was changed, oldest first: each has a folder of its own."""
    places = [RunFolder(folder.path / "set-aside" / str(change)) for change in range(1, folder.generation)]
    return [place for place in places if place.selection.exists()]


def _is_planned(selection: Selection, study: StudySpec, first: int) -> bool:
    """Whether the study would race so many candidates so, but for rounds that were added."""
    rounds = _rounds(study, len(selection.candidates) - 1, first)
    return selection.keep == study.keep and _without_added(selection).rounds == rounds


def _rounds(study: StudySpec, others: int, first: int) -> tuple[Round, ...]:
    """The race of so many configurations, with seed indices from `first` on."""
    return planner(study)(others, study.seeds, first=first)


def _keys(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.key for candidate in candidates]


def _with_more(
    before: Selection | None, more: int, looks: tuple[Look, ...], study: StudySpec, folder: RunFolder
) -> Selection:
    """The last selection that was judged, with a round of so many seeds for the default and the leader."""
    if before is None or (not is_judged(before, folder) and not before.added):
        raise Refused(
            f"--more adds seeds to a verdict, and the promotion of {study.name!r} has none yet; "
            f"run: hpo promote {study.name}"
        )
    if not is_judged(before, folder):
        if len(before.rounds[-1].seeds) == more:
            return before
        before = replace(before, rounds=before.rounds[:-1], added=before.added - 1)
    first = max(before.next_seed, *(look.next_seed for look in looks))
    others = len(before.candidates) - 1
    added = Round(others if study.goals else min(1, others), tuple(range(first, first + more)))
    longer = replace(before, rounds=(*before.rounds, added), added=before.added + 1)
    return replace(longer, look=_look(longer, looks))


def _without_added(selection: Selection) -> Selection:
    kept_rounds = selection.rounds[: len(selection.rounds) - selection.added]
    return replace(selection, rounds=kept_rounds, added=0)


def _look(selection: Selection, looks: tuple[Look, ...]) -> int:
    """Which look the verdict on a selection is: a new one comes after all that were."""
    keys = [look.selection for look in looks]
    return keys.index(selection.key) + 1 if selection.key in keys else len(looks) + 1


def require_trials(study: StudySpec, folder: RunFolder, command: str) -> None:
    """Raise Refused unless a trial of the sweep is complete. `command` is what the message tells the user to run."""
    if not any(trial.state is TrialState.COMPLETE for trial in sweep_trials(study, folder)):
        raise Refused(f"study {study.name!r} has no completed trial to promote in {folder.path}; run: {command}")


def sweep_trials(study: StudySpec, folder: RunFolder) -> list[optuna.trial.FrozenTrial]:
    """All trials of the study's sweep, in the order of their numbers; none where there is no sweep yet."""
    return stored_trials(folder, study.name)


def read_selection(folder: RunFolder) -> Selection | None:
    """The selection that was made last; None where there is none. Raises Damaged where it cannot be read.

    One of an older version, which knew no races, is a race of one round.
    """
    if not folder.selection.exists():
        return None
    try:
        record = json.loads(folder.selection.read_text())
        if isinstance(record, dict) and "rounds" not in record:
            others, seeds = len(record.get("candidates", ())) - 1, range(record.get("seeds", 0))
            record["rounds"] = [{"others": others, "seeds": list(seeds)}]
        return TypeAdapter(Selection).validate_python(record)
    except (json.JSONDecodeError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise Damaged(f"{folder.selection} is damaged: {reason}; remove it and promote again") from error


def is_judged(selection: Selection, folder: RunFolder) -> bool:
    """Whether the folder holds the verdict on this selection."""
    record = verdict_record(folder)
    return record is not None and record.get("selection") in (selection.key, selection.key_before_races)
