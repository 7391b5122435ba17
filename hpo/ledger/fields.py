"""What a person writes into a record: which fields and headings there are, and a field's value from its text."""

from __future__ import annotations

import re

from hpo.errors import Refused
from hpo.ledger.front_matter import Value
from hpo.ledger.name import name_of
from hpo.plain import nearest

HEADINGS = (
    "Hypothesis",
    "Approach",
    "Results",
    "Problem",
    "Root cause",
    "Lesson",
    "Next steps",
    "Open questions",
)
FIELDS: dict[str, type] = {
    "title": str,
    "legacy_name": str,
    "study": str,
    "parent": str,
    "priority": int,
    "cost": str,
    "confidence": str,
    "superseded_by": str,
    "alias": str,
    "owner": str,
    "tags": list,
}
SEVERAL = ("study", "tags")  # fields that may be lists of texts
CONFIDENCE = ("hypothesis", "tested", "confirmed")  # in the root cause


def heading_of(text: str) -> str:
    """The heading that a person means by its beginning, whatever its case: `root-cause`, `next`."""
    wanted = re.sub("[-_ ]+", " ", text.strip().lower())
    fitting = [heading for heading in HEADINGS if wanted and heading.lower().startswith(wanted)]
    if len(fitting) != 1:
        raise Refused(f"the heading must be one of {', '.join(HEADINGS)}, or its beginning; got {text!r}")
    return fitting[0]


def field_of(key: str, text: str) -> Value:
    """The value of a field of the person's, from its text."""
    if key not in FIELDS:
        raise Refused(f"there is no field {key!r}{nearest(key, ['status', *FIELDS])}")
    if FIELDS[key] is int:
        if not re.fullmatch("[1-9][0-9]{0,8}", text):
            raise Refused(f"{key}: must be a whole number of at least 1; got {text!r}")
        return int(text)
    if key == "confidence" and text not in CONFIDENCE:
        raise Refused(f"confidence: must be {' or '.join(CONFIDENCE)}; got {text!r}")
    if key == "study":
        return _studies_of(text)
    if key == "tags":
        return [tag.strip() for tag in text.split(",") if tag.strip()]
    return name_of(text).id if key in ("parent", "superseded_by") else text


def _studies_of(text: str) -> str | list[str]:
    if "/" in text:
        raise Refused(f"study: must be the name of a folder in runs/; got {text!r}")
    names = [name.strip() for name in text.split(",") if name.strip()]
    return names if len(names) > 1 else text.strip()
