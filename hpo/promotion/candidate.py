"""What takes part in a promotion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hpo.plain import fingerprint

Tie = Literal["default", "leader"]  # which of them is exported where the leader's lead over the default is not sure
DEFAULT = "default"  # the name of the configuration of all defaults


@dataclass(frozen=True)
class Candidate:
    """A configuration that is promoted."""

    name: str  # "default" or "trial 17"
    params: Mapping[str, Any]
    trial: int | None  # number of its first trial in the sweep; None: the default, where the sweep did not complete it
    cheap: float | None  # the mean value of all its completed trials in the sweep

    @property
    def key(self) -> str:
        """A fingerprint of the parameters: equal parameters have the same key."""
        return fingerprint(dict(self.params))


@dataclass(frozen=True)
class RunKey:
    """Which run of a promotion a trial is."""

    candidate: str  # the candidate's key
    seed_index: int  # from 0
