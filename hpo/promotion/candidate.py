"""A candidate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo.plain import fingerprint

DEFAULT = "default"


@dataclass(frozen=True)
class Candidate:
    """A configuration that is promoted."""

    name: str  # "default" or "trial 17"
    params: Mapping[str, Any]
    trial: int | None  # of the sweep
    cheap: float | None  # its value there

    @property
    def key(self) -> str:
        return fingerprint(dict(self.params))
