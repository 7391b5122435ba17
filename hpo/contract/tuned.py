"""A classical method with settings of its own, which are searched as the network's are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from hpo import space as spaces
from hpo.contract.numbers import check_at_least
from hpo.contract.space_entries import check_entry
from hpo.plain import nearest
from hpo.space import Space
from hpo.task import B, Columns, Method


@dataclass(frozen=True)
class Tuned(Generic[B]):
    """A classical method and the space of its settings: `Tuned({"gamma": uniform(0.2, 1)}, stretched)`.

    `method` takes a batch and the settings as keyword arguments, `stretched(batch, gamma=0.45)`, and returns columns.
    Called without settings it has its defaults, and so has this value, which is a method too. Promotion searches the
    space on `examples` training examples with the study's own sampler, and with as many trials as the study has; the
    first one is the defaults. Other names than those of the arguments have no meaning here: write "gamma", not
    "task.gamma".

    Raises ValueError where the method does not take a name of the space, has no default for it, or where the default
    does not lie in the space.
    """

    space: Space
    method: Callable[..., Columns]
    examples: int = 64  # of the training split that the settings are chosen on; at least so many, in whole batches

    def __post_init__(self) -> None:
        if not callable(self.method):
            raise ValueError(f"Tuned.method: must be a function from a batch to columns; got {self.method!r}")
        check_at_least("Tuned.examples", self.examples, 1)
        if not isinstance(self.space, Mapping) or not self.space:
            raise ValueError(f"Tuned.space: must map at least one setting to its range; got {self.space!r}")
        known = _defaults(self.method)
        for name in self.space:
            if name not in known:
                raise ValueError(
                    f"Tuned.space: {name!r} must be an argument of {_name(self.method)} with a default"
                    f"{nearest(name, list(known)) if known else '; it has none'}"
                )
            check_entry(name, self.space, known[name])

    def __call__(self, batch: B) -> Columns:
        """What the examples of a batch come to with the defaults."""
        return self.method(batch)

    @property
    def defaults(self) -> dict[str, Any]:
        """The default settings in the names of the space, without what the defaults themselves switch off."""
        return spaces.active(self.space, _defaults(self.method))

    def with_settings(self, settings: Mapping[str, Any]) -> Method[B]:
        """The method with these settings; what is not among them has its default."""
        return partial(self.method, **settings)


def _defaults(method: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a function that can be given by name and have a default."""
    parameters = inspect.signature(method).parameters.values()
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {
        each.name: each.default
        for each in parameters
        if each.kind in by_name and each.default is not inspect.Parameter.empty
    }


def _name(method: Callable[..., Any]) -> str:
    return getattr(method, "__qualname__", None) or repr(method)
