"""What a study's fields must be. A refusal is a ValueError naming the key, what was given and what is allowed."""

from __future__ import annotations

import inspect
import itertools
import re
import reprlib
from typing import TYPE_CHECKING, Any

import optuna

from hpo import space as spaces
from hpo.contract.costs import check_goals, check_limits
from hpo.contract.declared import check_task
from hpo.contract.numbers import check_at_least
from hpo.contract.optuna_objects import check_optuna_object
from hpo.contract.pruning import Median, Rungs
from hpo.contract.space_entries import check_space
from hpo.formatting import seconds_of
from hpo.recipe import ONLY_WITH, Recipe
from hpo.task import Fidelity, Overfit, Task
from hpo.watchdog.limit import Limit

if TYPE_CHECKING:
    from hpo.study import StudySpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PARTS = ("task.part", "task.parts")  # the fields of a task that cross-validation sets
TIERS = ("smoke", "cheap", "full")  # the fidelities of a study, from the cheapest to the dearest
LEAST = {"trials": 1, "startup_trials": 0, "seeds": 1, "seed": 0, "cross_validate": 1, "keep": 1, "stop_after": 1}
OPTIONAL = ("keep", "stop_after")  # those of them that may be None


def check_study(study: StudySpec) -> None:
    """Raise ValueError for whatever in a study cannot be used, before anything of it is written."""
    _check_name(study)
    _check_kinds(study)
    for key, least in LEAST.items():
        value = getattr(study, key)
        if value is not None or key not in OPTIONAL:
            check_at_least(key, value, least)
    _check_budget(study)
    check_limits(study.limits)
    check_goals(study.goals, study.task.goal)
    _check_several_goals(study)
    check_space(study.space, study.owners)
    _check_warm(study)
    _check_folds(study)
    _check_parts(study)
    _check_test_split(study)
    _check_fidelities(study)
    _check_fixed(study)
    _check_rescored(study)
    _check_pruning(study)
    _check_recipe_settings(study)
    _check_overfit(study)


def _check_name(study: StudySpec) -> None:
    if not isinstance(study.name, str) or not NAME.fullmatch(study.name):
        raise ValueError(
            f"name: must be 1 to 64 letters, digits, '.', '_' or '-', and start with a letter or "
            f"digit (it names a folder); got {reprlib.repr(study.name)}"
        )


def _check_kinds(study: StudySpec) -> None:
    kinds = {"task": Task, "recipe": Recipe, "smoke": Fidelity, "cheap": Fidelity, "full": Fidelity}
    for key, kind in kinds.items():
        value = getattr(study, key)
        if not isinstance(value, kind):
            raise ValueError(f"{key}: must be a {kind.__name__} value; got {reprlib.repr(value)}{_call_hint(value)}")
    is_known = isinstance(study.pruning, Median | Rungs | optuna.pruners.BasePruner | None) or study.pruning == "auto"
    if not is_known:
        raise ValueError(
            f'pruning: must be a Median, "auto", a Rungs, a pruner of Optuna\'s or None; '
            f"got {reprlib.repr(study.pruning)}{_call_hint(study.pruning)}"
        )
    if not isinstance(study.search, optuna.samplers.BaseSampler | None):
        raise ValueError(
            f"search: must be a sampler of Optuna's or None; got {reprlib.repr(study.search)}{_call_hint(study.search)}"
        )
    for key, given in (("search", study.search), ("pruning", study.pruning)):
        if isinstance(given, optuna.samplers.BaseSampler | optuna.pruners.BasePruner):
            check_optuna_object(key, given)
    if not isinstance(study.limit, Limit):
        raise ValueError(f"limit: must be a Limit value; got {reprlib.repr(study.limit)}{_call_hint(study.limit)}")
    check_task(study.task)


def _check_budget(study: StudySpec) -> None:
    if study.budget is None:
        return
    if not isinstance(study.budget, str):
        raise ValueError(f"budget: must be a time such as '90s', '45m' or '2h', or None; got {study.budget!r}")
    try:
        seconds_of(study.budget)
    except ValueError as error:
        raise ValueError(f"budget: {error}") from error


def _check_warm(study: StudySpec) -> None:
    if study.warm is None:
        return
    if not isinstance(study.warm, str) or not NAME.fullmatch(study.warm):
        raise ValueError(f"warm: must be the name of an earlier study, or None; got {reprlib.repr(study.warm)}")
    if study.warm == study.name:
        raise ValueError(f"warm: must be the name of another study; {study.warm!r} is this one")


def _check_folds(study: StudySpec) -> None:
    folds = study.task.folds
    check_at_least("task.folds", folds, 1)
    if folds > 1 and "task.fold" not in spaces.known_names(study.owners):
        raise ValueError(
            f"task.folds: a task with {folds} folds needs a field that says which one it is: `fold: int = 0` in "
            f"{type(study.task).__name__}"
        )
    if folds > 1 and "task.fold" in study.space:
        raise ValueError("space['task.fold']: a fold is no hyperparameter; promotion runs through all of them")


def _check_parts(study: StudySpec) -> None:
    if study.cross_validate == 1:
        return
    missing = [name for name in PARTS if name not in spaces.known_names(study.owners)]
    if missing:
        raise ValueError(
            f"cross_validate: {type(study.task).__name__} needs the fields `part: int = 0` and `parts: int = 1`: "
            f"what it trains and validates on is in `parts` parts, of which number `part` validates"
        )
    searched = [name for name in PARTS if name in study.space]
    if searched:
        raise ValueError(f"space: {searched} are set by cross_validate and cannot be searched")


def _check_test_split(study: StudySpec) -> None:
    examples = study.full.limit("test")
    if examples is not None and examples < 2:
        raise ValueError(f"full.test: must be at least 2, or no interval can be given; got {examples}")


def _check_fidelities(study: StudySpec) -> None:
    """A dearer fidelity is at least as large as a cheaper one in every respect."""
    for cheaper, dearer in itertools.pairwise(TIERS):
        for key in ("size", "train", "val", "epochs"):
            value = getattr(getattr(study, cheaper), key)
            limit = getattr(getattr(study, dearer), key)
            if limit is not None and (value is None or value > limit):
                got = "None, the whole split" if value is None else value
                raise ValueError(f"{cheaper}.{key}: must be at most {dearer}.{key} = {limit}; got {got}")


def _check_fixed(study: StudySpec) -> None:
    pins = {f"{tier}.fixed": getattr(study, tier).fixed for tier in TIERS}
    for key, values in {**pins, "task.overfit.pinned": study.task.overfit.pinned}.items():
        try:
            spaces.put(values, study.owners)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from error
    pinned = sorted(set(study.cheap.fixed) & set(study.space))
    if pinned:
        raise ValueError(f"cheap.fixed: pins {pinned}, which the space searches; remove it from one of them")


def _check_rescored(study: StudySpec) -> None:
    first_settings = {name: settings[0] for name, settings in study.task.rescored().items()}
    spaces.put(first_settings, study.owners)


def _check_pruning(study: StudySpec) -> None:
    warmup = study.pruning.warmup_epochs if isinstance(study.pruning, Median) else None
    if warmup is not None and warmup >= study.cheap.epochs:
        raise ValueError(
            f"pruning.warmup_epochs: must be below cheap.epochs = {study.cheap.epochs}, or nothing is ever pruned "
            f"(for that, write pruning=None); got {warmup}"
        )
    if study.is_ladder and study.search is not None:
        raise ValueError(
            f'search: must be None with pruning="auto" or Rungs, which draw the configurations themselves; '
            f"got a {type(study.search).__name__}"
        )
    most = max(1, study.cheap.epochs // 2)
    if isinstance(study.pruning, Rungs) and study.pruning.first > most:
        raise ValueError(
            f"pruning.first: must be at most {most}, half of cheap.epochs, or no trial ever pauses (for that, write "
            f"pruning=None); got {study.pruning.first}"
        )


def _check_several_goals(study: StudySpec) -> None:
    if study.goals and study.pruning is not None:
        raise ValueError(
            "pruning: must be None with several goals, since Optuna prunes by one value; write pruning=None"
        )
    if study.goals and study.search is not None:
        raise ValueError(
            f"search: must be None with several goals, which TPE searches; got {reprlib.repr(study.search)}"
        )
    if study.goals and study.stop_after is not None:
        raise ValueError(
            f"stop_after: must be None with several goals, of which none is the best; got {study.stop_after}"
        )


def _check_recipe_settings(study: StudySpec) -> None:
    """Each setting that is searched or set has an effect with some optimizer or schedule of this study."""
    for setting, only_with in ONLY_WITH.items():
        name, parent = f"recipe.{setting}", f"recipe.{only_with.field}"
        has_default = getattr(study.recipe, setting) == getattr(Recipe(), setting)
        has_own_optimizer = only_with.field == "optimizer" and type(study.task).optimizer is not Task.optimizer
        if has_own_optimizer or (has_default and name not in study.space):
            continue
        possible = _possible_values(study, parent, name)
        if possible.isdisjoint(only_with.values):
            raise ValueError(
                f"{name}: has no effect with {parent} = {', '.join(sorted(possible))}; "
                f"it belongs to {', '.join(only_with.values)}"
            )


def _possible_values(study: StudySpec, parent: str, name: str) -> set[Any]:
    """The values that `parent` can have where `name` is searched, or anywhere if it is not."""
    conditions = spaces.conditions(name, study.space) if name in study.space else {}
    if parent in conditions:
        return {conditions[parent]}
    owner, _, field = parent.partition(".")
    values = {getattr(study.owners[owner], field)}
    if parent in study.space:
        values |= set(spaces.extremes(spaces.distribution_of(study.space[parent])))
    return values | {tier.fixed[parent] for tier in (study.smoke, study.cheap, study.full) if parent in tier.fixed}


def _check_overfit(study: StudySpec) -> None:
    bands = inspect.getattr_static(study.task, "overfit")
    if isinstance(bands, Overfit):  # a property may have to read the data: preflight calls it
        bands.check_direction(study.task.goal, study.direction)


def _call_hint(value: object) -> str:
    """A hint where a class was given instead of a value of it."""
    return f"; write {value.__name__}(...)" if isinstance(value, type) else ""
