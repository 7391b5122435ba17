"""What a study file declares: one frozen value. Nothing here runs."""

from __future__ import annotations

import functools
import pickle
import reprlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import optuna

from hpo import space as spaces
from hpo.contract.costs import COSTS
from hpo.contract.optuna_objects import copy_for_trial, settings
from hpo.contract.pruning import Median, Rungs
from hpo.contract.several_goals import SeveralGoals
from hpo.contract.study_fields import check_study
from hpo.data.passes import seeded
from hpo.direction import Direction
from hpo.recipe import Recipe
from hpo.seeds import derive
from hpo.space import Space, When
from hpo.task import Fidelity, Task, in_fold
from hpo.watchdog.limit import Limit

SPARED = 10  # one trial in so many is not pruned, to see what pruning costs


class Configuration(NamedTuple):
    """A task and a recipe that have the values of a trial and of its fidelity in their fields."""

    task: Task[Any]
    recipe: Recipe


@dataclass(frozen=True)
class StudySpec:
    """One question: which task, which space, at which fidelities, for how many trials.

    `smoke` shows in seconds that everything works, `cheap` is the fidelity of the sweep, and `full` that of the
    promotion. The defaults of task and recipe are trial 0, and are promoted too. Raises ValueError naming the key, what
    was given and what is allowed.

    With `warm`, the next trials are the best three configurations of that study that lie in this space; what is not
    searched here has its default. They are trained anew, on the seeds of this study, and count in `trials`: scores of
    two studies are not comparable. That study must have the same code, data, cheap fidelity, goal and direction. Which
    configurations they are is written down when the sweep begins, so that a resumed one asks the same. A rehearsal
    (`as_smoke`) leaves them out.

    With `stop_after=N` the sweep ends before its `trials` once N trials in a row, complete or pruned, have not improved
    the best. They are counted by their numbers, and failed ones are passed over: they say nothing of the search.

    With `pruning="auto"` trials pause after 1, 2, 4, ... epochs, and the better half of each such rung goes on from its
    checkpoint; `Rungs(first=4)` leaves out the rungs below 4 epochs. The default runs straight to the end, and so does
    a drawn one once the ladder has brought a trial there, and more where early rankings turn out to mislead. The sweep
    then begins many more trials than `trials`: all together take at most the epochs of so many full-length ones. A
    trial's configuration is a point of a Sobol sequence, or TPE's proposal from the completed trials. `stop_after=N`
    counts the epochs of N full-length trials, of trials that have begun after the best one.

    `search` takes a sampler of Optuna's, or of the same interface, instead of the study's TPE, and `pruning` a pruner.
    Each trial gets a fresh copy whose generators are seeded by (study seed, trial number): seeds that they were given
    do not count, and what they keep in memory between trials is lost. Their settings are part of what the study asks.

    `limits` are what a configuration may cost when it is used, such as {"milliseconds": 5, "parameters": 200_000}: see
    COSTS in hpo/contract/costs.py. Each trial is measured before it is trained, with the model of the full fidelity.
    One over a limit fails as infeasible: it is not trained, and the sampler keeps away from the like. Promotion
    compares the best configurations within the limits.

    With `goals=("error", "parameters")`, the task's goal and some costs, the search looks for configurations that no
    other one dominates: none is as good in every goal and better in one. Promotion compares these. Nothing can be
    pruned then, since Optuna prunes by one value, and `stop_after` counts by one value, too.
    """

    name: str  # of the folder runs/<name>
    task: Task[Any]  # what is learned, with its defaults
    space: Space  # what is searched, by full names: {"recipe.lr": log(1e-4, 1e-2)}
    smoke: Fidelity  # of --smoke
    cheap: Fidelity  # of the sweep
    full: Fidelity  # of the promotion
    recipe: Recipe = field(default_factory=Recipe)  # how it is trained, with its defaults
    trials: int = 24  # of the sweep, in all
    startup_trials: int = 10  # drawn at random before TPE models anything
    # None: all are trained to the end; "auto" or Rungs: the ladder
    pruning: Median | Rungs | optuna.pruners.BasePruner | Literal["auto"] | None = field(default_factory=Median)
    keep: int | None = None  # configurations that start the promotion's race beside the default; None: 4
    seeds: int = 2  # runs of the leader and the default in the last round of the race
    seed: int = 0  # everything random in the study derives from it
    cross_validate: int = 1  # runs of a trial of the sweep, each of which validates on another part; needs task.part
    warm: str | None = None  # an earlier study in the same folder of runs, whose best configurations are trained first
    limit: Limit = field(default_factory=Limit)  # what one trial may take; no part of the question
    stop_after: int | None = None  # the sweep ends after so many trials in a row that are no better; None: it does not
    search: optuna.samplers.BaseSampler | None = None  # what proposes the configurations; None: TPE
    budget: str | None = None  # of time for all of `hpo run`: "2h"; it replaces trials, keep and seeds
    limits: Mapping[str, float] = field(default_factory=dict)  # what a configuration may cost at most, by the cost
    goals: tuple[str, ...] = ()  # the task's goal and costs, all of which are to improve; (): the task's goal alone

    def __post_init__(self) -> None:
        check_study(self)

    @property
    def direction(self) -> Direction:
        """Which way the task's goal improves."""
        return Direction(self.task.direction)

    @property
    def costs(self) -> tuple[str, ...]:
        """The costs that are measured of each configuration; none where the study asks for none."""
        return tuple(name for name in COSTS if name in {*self.limits, *self.goals})

    def point(self, value: float, costs: Mapping[str, float]) -> tuple[float, ...]:
        """What a configuration comes to in each goal, the larger the better."""
        return (self.direction.sign * value, *(-costs[name] for name in self.goals[1:]))

    @property
    def owners(self) -> dict[str, Any]:
        """The values whose fields are the hyperparameters, by the first part of a full name."""
        return {"task": self.task, "recipe": self.recipe}

    def configure(
        self, values: Mapping[str, Any], fidelity: Fidelity, *, fold: int = 0, part: int | None = None
    ) -> Configuration:
        """The default configuration with a trial's values, over these what the fidelity pins, and then what follows
        from the data.

        `fold` is the one that a run of a promotion is tested on, and `part` the one of `cross_validate` parts that a
        run of a trial validates on; None: the ordinary validation split. Raises ValueError where the task's `from_data`
        changes what is searched.
        """
        owners = self._owners_with(values, fidelity)
        task = in_fold(owners["task"], fold)
        if part is not None:
            task = spaces.put({"task.part": part, "task.parts": self.cross_validate}, {"task": task})["task"]
        derived = fields_from_data(task, fidelity)
        searched = sorted({f"task.{name}" for name in derived} & set(self.space))
        if searched:
            raise ValueError(
                f"{type(task).__name__}.from_data changes {searched}, which the space searches; search other fields"
            )
        return Configuration(replace(task, **derived) if derived else task, owners["recipe"])

    def _owners_with(self, values: Mapping[str, Any], fidelity: Fidelity) -> dict[str, Any]:
        return spaces.put({**values, **fidelity.fixed}, self.owners)

    def defaults(self) -> dict[str, Any]:
        """The default configuration in the names of the space."""
        return spaces.defaults(self.space, self.owners)

    def sampler(self, number: int, *parameter: str) -> optuna.samplers.BaseSampler:
        """The sampler of one trial, or of one parameter of it that is not drawn jointly: `search`, or else TPE.

        It is seeded by (study seed, trial number, parameter), so a resumed study draws what an unbroken one would.
        """
        if self.search is None:
            sampler = self.tpe(self.space, "sampler", number, *parameter)
        else:
            sampler = copy_for_trial(self.search, self.seed, number, *parameter)
        return SeveralGoals(sampler, self.goals[1:]) if self.goals else sampler

    @property
    def random_trials(self) -> int:
        """How many first trials are known to be drawn at random; of a sampler that was given, only the default."""
        return self.startup_trials if self.search is None else 1

    def tpe(self, space: Space, *stream: int | str) -> optuna.samplers.BaseSampler:
        """The study's sampler on any space, seeded by (study seed, stream)."""
        return tpe_sampler(space, derive(self.seed, *stream), startup_trials=self.startup_trials)

    @property
    def is_ladder(self) -> bool:
        """Whether trials pause and go on later."""
        return self.first_rung is not None

    @property
    def first_rung(self) -> int | None:
        """Epochs that a trial takes before its first pause, at least; None where trials do not pause."""
        if self.pruning == "auto":
            return Rungs().first
        return self.pruning.first if isinstance(self.pruning, Rungs) else None

    def pruner(self) -> optuna.pruners.BasePruner:
        """The Optuna pruner of the sweep."""
        if isinstance(self.pruning, Median):
            return self.pruning.pruner(self.cheap.epochs)
        if self.pruning is None or isinstance(self.pruning, str | Rungs):
            return optuna.pruners.NopPruner()
        return copy_for_trial(self.pruning, self.seed, 0)

    @property
    def pruning_rule(self) -> Any:
        """How the trials of the sweep are pruned: the rule with its warm-up as a number of epochs, the settings of a
        pruner that was given, "auto" where trials pause after the first epoch, or None."""
        if isinstance(self.pruning, Median):
            return replace(self.pruning, warmup_epochs=self.pruning.warmup(self.cheap.epochs))
        if self.first_rung == Rungs().first:
            return "auto"
        return self.pruning if self.pruning is None or self.is_ladder else settings(self.pruning)

    def spares(self, number: int) -> bool:
        """Whether a trial of the sweep is trained to its end also where the pruner would end it: one in ten is.

        It follows from (study seed, trial number), so a trial that was interrupted is spared again.
        """
        return derive(self.seed, "spared", number) % SPARED == 0

    def training_seed(self, number: int) -> int:
        """The seed that a trial of the sweep is trained with."""
        return derive(self.seed, "trial", number)

    def as_smoke(self) -> StudySpec:
        """A rehearsal in seconds: this study with the smoke fidelity in place of cheap and full, and few trials.

        What the smoke fidelity pins becomes a default, unless the space searches it.
        """
        unsearched = {name: value for name, value in self.smoke.fixed.items() if name not in self.space}
        owners = self._owners_with({}, replace(self.smoke, fixed=unsearched))
        smoke = replace(self.smoke, fixed={})
        pruning = self.pruning
        if isinstance(pruning, Median) and pruning.warmup_epochs is not None:
            pruning = replace(pruning, warmup_epochs=min(pruning.warmup_epochs, smoke.epochs - 1))
        if isinstance(pruning, Rungs):
            pruning = replace(pruning, first=min(pruning.first, max(1, smoke.epochs // 2)))
        return replace(
            self,
            name=f"{self.name[:58]}-smoke",
            task=owners["task"],
            recipe=owners["recipe"],
            smoke=smoke,
            cheap=smoke,
            full=smoke,
            trials=min(self.trials, 4),
            keep=1,
            seeds=2,
            pruning=pruning,
            warm=None,
            budget=None,
        )

    @property
    def is_rehearsal(self) -> bool:
        """Whether it is what `as_smoke` makes of a study."""
        return self.name.endswith("-smoke") and self.cheap == self.full == self.smoke


def fields_from_data(task: Task[Any], fidelity: Fidelity) -> dict[str, Any]:
    """The fields that follow from a task's training data, which a process works out once.

    Raises ValueError where `from_data` gives another kind of task.
    """
    if type(task).from_data is Task.from_data:
        return {}
    try:
        known = pickle.dumps((task, fidelity))
    except (pickle.PicklingError, AttributeError, TypeError):  # a task of a notebook's or of a test's
        return _fields_from_data(task, fidelity)
    return _known_fields(type(task), known)


@functools.lru_cache(maxsize=64)
def _known_fields(kind: type, known: bytes) -> dict[str, Any]:  # noqa: ARG001  # a class that was defined anew is another
    task, fidelity = pickle.loads(known)
    return _fields_from_data(task, fidelity)


def _fields_from_data(task: Task[Any], fidelity: Fidelity) -> dict[str, Any]:
    with seeded("from data"):
        derived = task.from_data(fidelity)
    if type(derived) is not type(task):
        raise ValueError(f"{type(task).__name__}.from_data must return replace(self, ...); got {reprlib.repr(derived)}")
    names = [each.name for each in fields(task)]
    pairs = ((name, getattr(task, name), getattr(derived, name)) for name in names)
    return {name: after for name, before, after in pairs if _differs(before, after)}


def _differs(before: Any, after: Any) -> bool:
    try:
        return after is not before and bool(after != before)
    except (TypeError, ValueError, RuntimeError):  # an array has no one truth
        return True


def tpe_sampler(space: Space, seed: int, *, startup_trials: int) -> optuna.samplers.BaseSampler:
    """Optuna's TPE on a space: parameters are drawn jointly, and those with conditions in groups."""
    conditional = any(isinstance(entry, When) for entry in space.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`
        return optuna.samplers.TPESampler(
            seed=seed % 2**32, n_startup_trials=startup_trials, multivariate=True, group=conditional
        )
