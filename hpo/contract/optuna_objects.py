"""Samplers and pruners of Optuna's, or of the same interface, in a study: their settings, and a copy for each trial."""

from __future__ import annotations

import copy
import importlib.util
import inspect
import random
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution

from hpo.code.closure import code_of
from hpo.code.modules import own_file
from hpo.contract.optuna_private import fix_sequence, is_seed, numpy_random_state, silence
from hpo.plain import fingerprint, plain
from hpo.seeds import derive
from hpo.space import Space, When

OptunaObject = TypeVar("OptunaObject", optuna.samplers.BaseSampler, optuna.pruners.BasePruner)
EXHAUSTIVE = (optuna.samplers.GridSampler, optuna.samplers.BruteForceSampler)  # they end a study themselves
IN_STORAGE = (  # they keep their state in attributes of trials, which no folder has
    optuna.samplers.CmaEsSampler,
    optuna.samplers.NSGAIISampler,
    optuna.samplers.NSGAIIISampler,
    optuna.pruners.SuccessiveHalvingPruner,
    optuna.pruners.HyperbandPruner,
)
WITHOUT_CONDITIONS = (  # they draw at random what not every trial has
    optuna.samplers.CmaEsSampler,
    optuna.samplers.GPSampler,
    optuna.samplers.QMCSampler,
)
GENERATORS = (np.random.RandomState, np.random.Generator, random.Random)


def check_optuna_object(key: str, value: object) -> None:
    """Raise ValueError, which names the key, for a sampler or pruner that a sweep cannot work with."""
    for part in parts(value):
        if isinstance(part, EXHAUSTIVE):
            raise ValueError(
                f"{key}: {type(part).__name__} ends a study itself, which a sweep of so many trials does not do; give "
                f"its configurations with --try"
            )
        if isinstance(part, optuna.samplers.CmaEsSampler) and importlib.util.find_spec("cmaes") is None:
            raise ValueError(f"{key}: CmaEsSampler needs the package cmaes; run: pip install cmaes")
    try:
        settings(value)
        copy.deepcopy(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key}: {type(value).__name__} cannot be part of a study's identity: {error}") from error


def settings(value: object) -> Any:
    """The settings of an object in plain form, without its generators of random numbers and their seeds.

    Raises TypeError for a function without a name of its own, and for a value that has no plain form.
    """
    return _settings(value, ())


def _settings(value: object, inside: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, bool | int | float | str | BaseDistribution):
        return plain(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): _settings(item, inside) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_settings(item, inside) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_settings(item, inside) for item in value), key=repr)
    if isinstance(value, type) or inspect.isroutine(value):
        return _name(value)
    if id(value) in inside:  # an object that holds itself
        return type(value).__qualname__
    attributes = _attributes(value)
    kept = {name.lstrip("_"): item for name, item in attributes if not _is_random(value, name, item)}
    own = {name: _settings(item, (*inside, id(value))) for name, item in kept.items()}
    code = {"code": fingerprint(code_of(type(value)).files)} if own_file(type(value).__module__) else {}
    return {"class": type(value).__qualname__, **own, **code}


def _name(function: Callable[..., Any]) -> str:
    name = f"{function.__module__}.{function.__qualname__}"
    if "<" in name:
        raise TypeError(f"{name} has no name that tells it from others; define it with `def` at the top of a file")
    return name


def _attributes(value: object) -> list[tuple[str, Any]]:
    """The attributes of an object. Raises TypeError where they cannot be read."""
    if not hasattr(value, "__dict__"):
        raise TypeError(f"{reprlib.repr(value)} of the class {type(value).__qualname__} has no settings to compare")
    return list(vars(value).items())


def _is_random(owner: object, name: str, value: object) -> bool:
    is_generator = isinstance(value, GENERATORS) or numpy_random_state(value) is not None
    return is_generator or is_seed(owner, name)


def parts(value: object) -> Iterator[object]:
    """The samplers and pruners in one, itself first: a sampler may hold another."""
    yield value
    for _, item in _attributes(value):
        if isinstance(item, optuna.samplers.BaseSampler | optuna.pruners.BasePruner):
            yield from parts(item)


def copy_for_trial(value: OptunaObject, study_seed: int, number: int, *stream: str) -> OptunaObject:
    """A copy whose generators are seeded by (study seed, trial number, stream), so that it draws what it would have
    drawn in a study that nobody interrupted. A quasi-random sequence gives its point of that number."""
    own = copy.deepcopy(value)
    for place, generator in _generators(own, "", set()):
        _seed(generator, derive(study_seed, "sampler", number, *stream, place))
    for part in parts(own):
        silence(part)
        if isinstance(part, optuna.samplers.QMCSampler):
            fix_sequence(part, seed=derive(study_seed, "sequence") % 2**32, index=number)
    return own


def _generators(value: object, place: str, met: set[int]) -> Iterator[tuple[str, Any]]:
    """The generators of random numbers in an object, each once, with the names that lead there."""
    if id(value) in met:
        return
    met.add(id(value))
    generator = value if isinstance(value, GENERATORS) else numpy_random_state(value)
    if generator is not None:
        yield place, generator
        return
    for name, item in _contents(value):
        yield from _generators(item, f"{place}.{name}", met)


def _contents(value: object) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, type) or inspect.isroutine(value):
        return []
    return list(vars(value).items()) if hasattr(value, "__dict__") else []


def _seed(generator: Any, seed: int) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = type(generator.bit_generator)(seed).state
    elif isinstance(generator, np.random.RandomState):
        generator.seed(seed % 2**32)
    else:
        generator.seed(seed)


def described(value: object) -> str:
    """An object in one line: its class, and what its constructor was given."""
    own = settings(value)
    named = [name for name in inspect.signature(type(value)).parameters if not name.startswith("warn_")]
    given = {name: own[name] for name in named if own.get(name) is not None}
    texts = [f"{name} = {_class_or_value(setting)}" for name, setting in given.items()]
    return ", ".join([type(value).__name__, *texts])


def _class_or_value(setting: Any) -> Any:
    return setting.get("class", setting) if isinstance(setting, dict) else setting


def random_note(search: object, space: Space) -> str:
    """Which parameters a sampler cannot model and draws at random, in one line; "" where there are none."""
    conditional = [name for name, entry in space.items() if isinstance(entry, When)]
    choices = [name for name, entry in space.items() if isinstance(entry, CategoricalDistribution)]
    names = conditional if isinstance(search, WITHOUT_CONDITIONS) else []
    if isinstance(search, optuna.samplers.CmaEsSampler):
        names = [*choices, *conditional]
    return f"{type(search).__name__} cannot model {', '.join(names)}: drawn at random" if names else ""


def resume_note(*objects: object) -> str:
    """What of these samplers and pruners does not resume bit for bit, in one line; "" where everything does."""
    given = [value for value in objects if isinstance(value, optuna.samplers.BaseSampler | optuna.pruners.BasePruner)]
    every = [part for value in given for part in parts(value)]
    strange = [part for part in every if not type(part).__module__.startswith("optuna.")]
    if strange:
        name = type(strange[0]).__name__
        return (
            f"{name} is not one of Optuna's own: each trial gets a fresh copy of it, so what it keeps in memory from "
            f"trial to trial is lost, and that a killed sweep goes on bit for bit is not promised"
        )
    stored = [type(part).__name__ for part in every if isinstance(part, IN_STORAGE)]
    if stored:
        return (
            f"{stored[0]} keeps its state in the storage alone: a killed sweep goes on bit for bit, but after "
            f"`hpo rebuild` it begins anew"
        )
    return ""
