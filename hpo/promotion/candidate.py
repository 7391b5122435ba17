"""A configuration that is promoted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.plain import fingerprint

DEFAULT = "default"  # the name of the configuration of all defaults


@dataclass(frozen=True)
class Candidate:
    """A configuration that is promoted."""

    name: str  # "default" or "trial 17"
    params: Mapping[str, Any]
    trial: int | None  # of the sweep
    cheap: float | None  # its value there

    @property
    def key(self) -> str:
        """The same for equal parameters."""
        return fingerprint(dict(self.params))
