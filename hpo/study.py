"""What a study file declares: one frozen value. Nothing here runs."""

from __future__ import annotations

import re
import reprlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution

from hpo import space as spaces
from hpo.direction import Direction
from hpo.recipe import Recipe
from hpo.seeds import derive
from hpo.space import Space, When
from hpo.task import Fidelity, Task

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Median:
    """Stop a trial whose best score so far is worse than the median of the others' at the same epoch.

    Never in its first `warmup_epochs`, never before `startup_trials` have been completed, and never against fewer than
    `min_trials` values.
    """

    warmup_epochs: int = 0
    min_trials: int = 1
    startup_trials: int = 5

    def __post_init__(self) -> None:
        for key, least in (("warmup_epochs", 0), ("min_trials", 1), ("startup_trials", 0)):
            _at_least(f"pruning.{key}", getattr(self, key), least)

    def pruner(self) -> optuna.pruners.BasePruner:
        return optuna.pruners.MedianPruner(
            n_startup_trials=self.startup_trials, n_warmup_steps=self.warmup_epochs, n_min_trials=self.min_trials
        )


class Configuration(NamedTuple):
    """A task and a recipe with all of a trial's values, and then the fidelity's, in their fields."""

    task: Task
    recipe: Recipe


@dataclass(frozen=True)
class StudySpec:
    """One question: which task, which space, at which fidelities, for how many trials.

    `smoke` proves in seconds that the path works, `cheap` is what is swept, `full` is what counts. The defaults of
    task and recipe are trial 0, and are promoted too. Raises ValueError naming the key, what was given and what is
    allowed.
    """

    name: str
    task: Task
    space: Space
    smoke: Fidelity
    cheap: Fidelity
    full: Fidelity
    recipe: Recipe = field(default_factory=Recipe)
    trials: int = 24
    startup_trials: int = 10  # drawn at random before TPE models anything
    pruning: Median | None = field(default_factory=Median)
    keep: int = 3  # configurations that are promoted beside the default
    seeds: int = 3  # fresh seeds for each of them
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"name: must be 1 to 64 letters, digits, '.', '_' or '-', and start with a letter or "
                f"digit (it names a folder); got {reprlib.repr(self.name)}"
            )
        for key, kind in (
            ("task", Task),
            ("recipe", Recipe),
            ("smoke", Fidelity),
            ("cheap", Fidelity),
            ("full", Fidelity),
            ("pruning", Median | None),
        ):
            if not isinstance(getattr(self, key), kind):
                expected = f"a {kind.__name__} value" if isinstance(kind, type) else "a Median or None"
                raise ValueError(f"{key}: must be {expected}; got {reprlib.repr(getattr(self, key))}")
        direction = getattr(self.task, "direction", None)
        if direction not in tuple(Direction):
            raise ValueError(f"task.direction: must be 'minimize' or 'maximize'; got {direction!r}")
        for key, least in (("trials", 1), ("startup_trials", 0), ("keep", 1), ("seeds", 1), ("seed", 0)):
            _at_least(key, getattr(self, key), least)
        spaces.check(self.space, self.owners)
        self._check_fidelities()
        if self.pruning and self.pruning.warmup_epochs >= self.cheap.epochs:
            raise ValueError(
                f"pruning.warmup_epochs: must be below cheap.epochs = {self.cheap.epochs}, or nothing is "
                f"ever pruned (pruning=None says so); got {self.pruning.warmup_epochs}"
            )

    @property
    def direction(self) -> Direction:
        """Which way the task's goal improves."""
        return Direction(self.task.direction)

    @property
    def owners(self) -> dict[str, Any]:
        return {"task": self.task, "recipe": self.recipe}

    def _check_fidelities(self) -> None:
        if self.full.examples("test") < 2:
            raise ValueError(
                f"full.test: must be at least 2, or no interval can be given; got {self.full.examples('test')}"
            )
        for cheaper, dearer in (("smoke", "cheap"), ("cheap", "full")):
            for key in ("size", "train", "val", "epochs"):
                low, high = getattr(getattr(self, cheaper), key), getattr(getattr(self, dearer), key)
                if low > high:
                    raise ValueError(f"{cheaper}.{key}: must be at most {dearer}.{key} = {high}; got {low}")
        for tier in ("smoke", "cheap", "full"):
            try:
                spaces.put(getattr(self, tier).fixed, self.owners)
            except ValueError as error:
                raise ValueError(f"{tier}.fixed: {error}") from error
        spaces.put({name: settings[0] for name, settings in self.task.rescored().items()}, self.owners)
        pinned = sorted(set(self.cheap.fixed) & set(self.space))
        if pinned:
            raise ValueError(f"cheap.fixed: pins {pinned}, which the space searches; remove it from one of them")

    def configure(self, values: Mapping[str, Any], fidelity: Fidelity) -> Configuration:
        """Defaults, then a trial's values, then what the fidelity pins."""
        owners = spaces.put({**values, **fidelity.fixed}, self.owners)
        return Configuration(owners["task"], owners["recipe"])

    def defaults(self) -> dict[str, Any]:
        """The default configuration in the names of the space."""
        return spaces.defaults(self.space, self.owners)

    def sampler(self, number: int, *parameter: str) -> optuna.samplers.BaseSampler:
        """TPE for one trial, or for one parameter of it that is not drawn jointly, seeded by (study seed, trial number,
        parameter): a resumed study draws what an unbroken one would."""
        conditional = any(isinstance(entry, When) for entry in self.space.values())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # `group`
            return optuna.samplers.TPESampler(
                seed=derive(self.seed, "sampler", number, *parameter) % 2**32,
                n_startup_trials=self.startup_trials,
                multivariate=True,
                group=conditional,
            )

    def pruner(self) -> optuna.pruners.BasePruner:
        return self.pruning.pruner() if self.pruning else optuna.pruners.NopPruner()

    def training_seed(self, number: int) -> int:
        return derive(self.seed, "trial", number)

    def as_smoke(self) -> StudySpec:
        """The whole path in seconds: the smoke fidelity stands for cheap and full, with few trials."""
        task, recipe = self.configure({}, replace(self.smoke, fixed=self._unsearched(self.smoke)))
        smoke = replace(self.smoke, fixed={})
        pruning = (
            None
            if self.pruning is None
            else replace(self.pruning, warmup_epochs=min(self.pruning.warmup_epochs, smoke.epochs - 1))
        )
        return replace(
            self,
            name=f"{self.name[:58]}-smoke",
            task=task,
            recipe=recipe,
            smoke=smoke,
            cheap=smoke,
            full=smoke,
            trials=min(self.trials, 4),
            keep=1,
            seeds=2,
            pruning=pruning,
        )

    def _unsearched(self, fidelity: Fidelity) -> dict[str, Any]:
        return {name: value for name, value in fidelity.fixed.items() if name not in self.space}


def _at_least(key: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{key}: must be a whole number of at least {least}; got {value!r}")


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The plain distributions of a space, conditions left aside."""
    return {name: spaces.distribution_of(entry) for name, entry in space.items()}
