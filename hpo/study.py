"""What a study file declares: one frozen value. Nothing here runs."""

from __future__ import annotations

import functools
import inspect
import itertools
import pickle
import re
import reprlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import optuna

from hpo import space as spaces
from hpo.contract.costs import COSTS, NO_BUDGET, check_goals, check_limits
from hpo.contract.declared import check_task
from hpo.contract.numbers import check_at_least
from hpo.contract.optuna_objects import check_optuna_object, copy_for_trial, settings
from hpo.contract.pruning import Median
from hpo.contract.several_goals import SeveralGoals
from hpo.data.passes import seeded
from hpo.direction import Direction
from hpo.formatting import seconds_of
from hpo.recipe import ONLY_WITH, Recipe
from hpo.seeds import derive
from hpo.space import Distribution, Space, When
from hpo.task import Fidelity, Overfit, Task, in_fold
from hpo.watchdog.limit import Limit

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PARTS = ("task.part", "task.parts")  # the fields of a task that cross-validation sets
TIERS = ("smoke", "cheap", "full")  # the fidelities of a study, from the cheapest to the dearest
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
    checkpoint. The default runs straight to the end, and so does a drawn one once the ladder has brought a trial there,
    and more where early rankings turn out to mislead. The sweep then begins many more trials than `trials`: all
    together take at most the epochs of so many full-length ones. A trial's configuration is a point of a Sobol
    sequence, or TPE's proposal from the completed trials. `stop_after=N` counts the epochs of N full-length trials, of
    trials that have begun after the best one.

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
    # None: all are trained to the end; "auto": the ladder
    pruning: Median | optuna.pruners.BasePruner | Literal["auto"] | None = field(default_factory=Median)
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
        self._check_name()
        self._check_kinds()
        for key, least in (
            ("trials", 1),
            ("startup_trials", 0),
            ("seeds", 1),
            ("seed", 0),
            ("cross_validate", 1),
        ):
            check_at_least(key, getattr(self, key), least)
        for key in ("keep", "stop_after"):
            if getattr(self, key) is not None:
                check_at_least(key, getattr(self, key), 1)
        self._check_budget()
        check_limits(self.limits)
        check_goals(self.goals, self.task.goal)
        self._check_several()
        spaces.check(self.space, self.owners)
        self._check_warm()
        self._check_folds()
        self._check_parts()
        self._check_test_split()
        self._check_costs()
        self._check_fixed()
        self._check_rescored()
        self._check_pruning()
        self._check_recipe_settings()
        self._check_overfit()

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
        return isinstance(self.pruning, str)

    def pruner(self) -> optuna.pruners.BasePruner:
        """The Optuna pruner of the sweep."""
        if self.pruning is None or self.is_ladder:
            return optuna.pruners.NopPruner()
        if isinstance(self.pruning, Median):
            return self.pruning.pruner(self.cheap.epochs)
        assert not isinstance(self.pruning, str)
        return copy_for_trial(self.pruning, self.seed, 0)

    @property
    def pruning_rule(self) -> Any:
        """How the trials of the sweep are pruned: the rule with its warm-up as a number of epochs, the settings of a
        pruner that was given, "auto", or None."""
        if isinstance(self.pruning, Median):
            return replace(self.pruning, warmup_epochs=self.pruning.warmup(self.cheap.epochs))
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

    # -- refusals ------------------------------------------------------------------------------------------------
    def _check_name(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(
                f"name: must be 1 to 64 letters, digits, '.', '_' or '-', and start with a letter or "
                f"digit (it names a folder); got {reprlib.repr(self.name)}"
            )

    def _check_kinds(self) -> None:
        kinds = {"task": Task, "recipe": Recipe, "smoke": Fidelity, "cheap": Fidelity, "full": Fidelity}
        for key, kind in kinds.items():
            value = getattr(self, key)
            if not isinstance(value, kind):
                raise ValueError(f"{key}: must be a {kind.__name__} value; got {reprlib.repr(value)}{_call(value)}")
        is_known = isinstance(self.pruning, Median | optuna.pruners.BasePruner | None) or self.pruning == "auto"
        if not is_known:
            raise ValueError(
                f'pruning: must be a Median, "auto", a pruner of Optuna\'s or None; got {reprlib.repr(self.pruning)}'
                f"{_call(self.pruning)}"
            )
        if not isinstance(self.search, optuna.samplers.BaseSampler | None):
            raise ValueError(
                f"search: must be a sampler of Optuna's or None; got {reprlib.repr(self.search)}{_call(self.search)}"
            )
        for key, given in (("search", self.search), ("pruning", self.pruning)):
            if isinstance(given, optuna.samplers.BaseSampler | optuna.pruners.BasePruner):
                check_optuna_object(key, given)
        if not isinstance(self.limit, Limit):
            raise ValueError(f"limit: must be a Limit value; got {reprlib.repr(self.limit)}{_call(self.limit)}")
        check_task(self.task)

    def _check_budget(self) -> None:
        if self.budget is None:
            return
        if not isinstance(self.budget, str):
            raise ValueError(f"budget: must be a time such as '90s', '45m' or '2h', or None; got {self.budget!r}")
        try:
            seconds_of(self.budget)
        except ValueError as error:
            raise ValueError(f"budget: {error}") from error

    def _check_warm(self) -> None:
        if self.warm is None:
            return
        if not isinstance(self.warm, str) or not NAME.fullmatch(self.warm):
            raise ValueError(f"warm: must be the name of an earlier study, or None; got {reprlib.repr(self.warm)}")
        if self.warm == self.name:
            raise ValueError(f"warm: must be the name of another study; {self.warm!r} is this one")

    def _check_folds(self) -> None:
        folds = self.task.folds
        check_at_least("task.folds", folds, 1)
        if folds > 1 and "task.fold" not in spaces.known_names(self.owners):
            raise ValueError(
                f"task.folds: a task with {folds} folds needs a field that says which one it is: `fold: int = 0` in "
                f"{type(self.task).__name__}"
            )
        if folds > 1 and "task.fold" in self.space:
            raise ValueError("space['task.fold']: a fold is no hyperparameter; promotion runs through all of them")

    def _check_parts(self) -> None:
        if self.cross_validate == 1:
            return
        missing = [name for name in PARTS if name not in spaces.known_names(self.owners)]
        if missing:
            raise ValueError(
                f"cross_validate: {type(self.task).__name__} needs the fields `part: int = 0` and `parts: int = 1`: "
                f"what it trains and validates on is in `parts` parts, of which number `part` validates"
            )
        searched = [name for name in PARTS if name in self.space]
        if searched:
            raise ValueError(f"space: {searched} are set by cross_validate and cannot be searched")

    def _check_test_split(self) -> None:
        examples = self.full.limit("test")
        if examples is not None and examples < 2:
            raise ValueError(f"full.test: must be at least 2, or no interval can be given; got {examples}")

    def _check_costs(self) -> None:
        """A dearer fidelity is at least as large as a cheaper one in every respect."""
        for cheaper, dearer in itertools.pairwise(TIERS):
            for key in ("size", "train", "val", "epochs"):
                value = getattr(getattr(self, cheaper), key)
                limit = getattr(getattr(self, dearer), key)
                if limit is not None and (value is None or value > limit):
                    got = "None, the whole split" if value is None else value
                    raise ValueError(f"{cheaper}.{key}: must be at most {dearer}.{key} = {limit}; got {got}")

    def _check_fixed(self) -> None:
        pins = {f"{tier}.fixed": getattr(self, tier).fixed for tier in TIERS}
        for key, values in {**pins, "task.overfit.pinned": self.task.overfit.pinned}.items():
            try:
                spaces.put(values, self.owners)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from error
        pinned = sorted(set(self.cheap.fixed) & set(self.space))
        if pinned:
            raise ValueError(f"cheap.fixed: pins {pinned}, which the space searches; remove it from one of them")

    def _check_rescored(self) -> None:
        first_settings = {name: settings[0] for name, settings in self.task.rescored().items()}
        spaces.put(first_settings, self.owners)

    def _check_pruning(self) -> None:
        warmup = self.pruning.warmup_epochs if isinstance(self.pruning, Median) else None
        if warmup is not None and warmup >= self.cheap.epochs:
            raise ValueError(
                f"pruning.warmup_epochs: must be below cheap.epochs = {self.cheap.epochs}, or nothing is ever pruned "
                f"(for that, write pruning=None); got {warmup}"
            )
        if self.is_ladder and self.search is not None:
            raise ValueError(
                f'search: must be None with pruning="auto", which draws the configurations itself; '
                f"got a {type(self.search).__name__}"
            )

    def _check_several(self) -> None:
        if self.goals and self.pruning is not None:
            raise ValueError(
                "pruning: must be None with several goals, since Optuna prunes by one value; write pruning=None"
            )
        if self.goals and self.search is not None:
            raise ValueError(
                f"search: must be None with several goals, which TPE searches; got {reprlib.repr(self.search)}"
            )
        if self.goals and self.budget is not None:
            raise ValueError(f"budget: {NO_BUDGET}; got {self.budget!r}")
        if self.goals and self.stop_after is not None:
            raise ValueError(
                f"stop_after: must be None with several goals, of which none is the best; got {self.stop_after}"
            )

    def _check_recipe_settings(self) -> None:
        """Each setting that is searched or set has an effect with some optimizer or schedule of this study."""
        for setting, only_with in ONLY_WITH.items():
            name, parent = f"recipe.{setting}", f"recipe.{only_with.field}"
            has_default = getattr(self.recipe, setting) == getattr(Recipe(), setting)
            has_own_optimizer = only_with.field == "optimizer" and type(self.task).optimizer is not Task.optimizer
            if has_own_optimizer or (has_default and name not in self.space):
                continue
            possible = self._possible_values(parent, name)
            if possible.isdisjoint(only_with.values):
                raise ValueError(
                    f"{name}: has no effect with {parent} = {', '.join(sorted(possible))}; "
                    f"it belongs to {', '.join(only_with.values)}"
                )

    def _possible_values(self, parent: str, name: str) -> set[Any]:
        """The values that `parent` can have where `name` is searched, or anywhere if it is not."""
        conditions = spaces.conditions(name, self.space) if name in self.space else {}
        if parent in conditions:
            return {conditions[parent]}
        owner, _, field = parent.partition(".")
        values = {getattr(self.owners[owner], field)}
        if parent in self.space:
            values |= set(spaces.extremes(spaces.distribution_of(self.space[parent])))
        return values | {tier.fixed[parent] for tier in (self.smoke, self.cheap, self.full) if parent in tier.fixed}

    def _check_overfit(self) -> None:
        bands = inspect.getattr_static(self.task, "overfit")
        if isinstance(bands, Overfit):  # a property may have to read the data: preflight calls it
            bands.check_direction(self.task.goal, self.direction)


def _call(value: object) -> str:
    """A hint where a class was given instead of a value of it."""
    return f"; write {value.__name__}(...)" if isinstance(value, type) else ""


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


def distributions(space: Space) -> dict[str, Distribution]:
    """The distributions of a space by name, whatever their conditions."""
    return {name: spaces.distribution_of(entry) for name, entry in space.items()}
