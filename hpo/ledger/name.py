"""The name of an experiment: its id, and its status behind it."""

from __future__ import annotations

import re
from typing import NamedTuple

from hpo.errors import Refused

STATUSES = ("planned", "wip", "analysis", "success", "failed")
CONCLUDED = ("success", "failed")
_NAME = re.compile(
    r"v(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})_([a-z0-9]+(?:[-_][a-z0-9]+)*?)"
    rf"(?:_({'|'.join(STATUSES)}))?"
)
MAX_VARIANT = 80


class Name(NamedTuple):
    """An id, and the status behind it where one was written."""

    major: int
    minor: int
    variant: str
    status: str | None = None

    @property
    def id(self) -> str:
        """The name without the status."""
        return f"v{self.major}.{self.minor}_{self.variant}"


def name_of(text: str) -> Name:
    """An id, or a name. Raises Refused with what is allowed."""
    match = _NAME.fullmatch(text)
    if not match or len(match[3]) > MAX_VARIANT:
        raise Refused(
            f"an experiment is named vMAJOR.MINOR_VARIANT, as v1.2_wide-net, with a variant of at most "
            f"{MAX_VARIANT} lower-case letters and digits, separated by single - or _; got {text!r}"
        )
    last_word = re.split("[-_]", match[3])[-1]
    if last_word in STATUSES:
        raise Refused(
            f"the variant of an experiment must not end in a status, which the ledger puts behind it: "
            f"{last_word!r} in {text!r}"
        )
    return Name(int(match[1]), int(match[2]), match[3], match[4])


def variant_of(study: str) -> str:
    """A variant that reads like a study's name."""
    words = re.sub(r"[^a-z0-9_]+", "-", study.lower())
    variant = re.sub(r"[-_]*_[-_]*", "_", words).strip("-_") or "study"
    return f"{variant}-study" if re.split("[-_]", variant)[-1] in STATUSES else variant
