"""Configurations that a sweep has tried more than once: what they score on average, and how far their scores differ.

A sampler on a coarse space proposes the same configuration again and again, each time with another training seed. Its
best draw says how lucky it was, and more so the more often it was tried; its mean says how good it is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hpo.promotion.noise import within_groups


class Scored(Protocol):
    """A completed trial, as Optuna or as the report keeps it."""

    @property
    def number(self) -> int: ...

    @property
    def params(self) -> Mapping[str, Any]: ...

    @property
    def value(self) -> float | None: ...


@dataclass(frozen=True)
class TriedConfiguration:
    """Parameters, and the scores of all completed trials that had them."""

    params: Mapping[str, Any]
    trial: int  # the number of the first of these trials
    values: tuple[float, ...]  # in the order of the trials

    @property
    def mean(self) -> float:
        """What the configuration scores on average."""
        return statistics.fmean(self.values)


def configurations(complete: Iterable[Scored]) -> tuple[TriedConfiguration, ...]:
    """The different configurations among completed trials, in the order of the trials."""
    groups: list[list[Scored]] = []
    for trial in complete:
        group = next((group for group in groups if group[0].params == trial.params), None)
        if group is None:
            groups.append([trial])
        else:
            group.append(trial)
    return tuple(_configuration(group) for group in groups)


def _configuration(group: Sequence[Scored]) -> TriedConfiguration:
    values = tuple(trial.value for trial in group if trial.value is not None)
    return TriedConfiguration(dict(group[0].params), group[0].number, values)


def repeats_sd(tried: Iterable[TriedConfiguration]) -> float | None:
    """The standard deviation of the scores of one configuration, pooled over all that were tried more than once.

    None where none was.
    """
    noise = within_groups(configuration.values for configuration in tried)
    return math.sqrt(noise.value) if noise else None
