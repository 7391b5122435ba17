"""Looks: every verdict of a study reads the same test split, and the more of them, the surer each must be.

Who promotes again and again until something beats the default will see that happen by chance. So the first verdict may
be wrong with probability ALPHA, the second with a quarter of it, and each further one with half of the one before.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hpo.errors import Damaged
from hpo.files import write_json
from hpo.storage.folder import RunFolder

ALPHA = 0.05  # of the first look


@dataclass(frozen=True)
class Look:
    """A verdict that was reached."""

    selection: str  # key of the selection that was judged
    sentence: str
    next_seed: int  # the first seed index after all of its runs


def confidence(look: int) -> float:
    """The confidence of the intervals of a look, from 1: 95 %, 98.75 %, 99.375 % and so on.

    Look k > 1 spends ALPHA / 2^k. With ALPHA / 2^(k - 1) five looks at equal configurations claimed too much in 3.0 %.
    """
    return 1 - ALPHA * (1.0 if look == 1 else 0.5**look)


def read_looks(folder: RunFolder) -> tuple[Look, ...]:
    """The verdicts of the study so far, oldest first. Raises Damaged where they cannot be read."""
    try:
        if folder.looks.exists():
            return TypeAdapter(tuple[Look, ...]).validate_json(folder.looks.read_text())
        return _look_before_looks_were_kept(folder)
    except ValidationError as error:
        raise Damaged(f"{folder.looks} is damaged: {error.errors()[0]['msg']}; restore it from a copy") from error


def add_look(folder: RunFolder, look: Look, *, instead_of: str) -> None:
    """Write down that a verdict is about to be shown. Again for the same selection, which may have had the key
    `instead_of`, it is no further look."""
    before = read_looks(folder)
    keys = [known.selection for known in before]
    same = next((key for key in (look.selection, instead_of) if key in keys), None)
    looks = (*before, look) if same is None else tuple(look if known.selection == same else known for known in before)
    if looks != before:
        write_json(folder.looks, [asdict(known) for known in looks])


def keep_looks(folder: RunFolder) -> None:
    """Write down the looks that a verdict alone proves, before that is put elsewhere."""
    looks = read_looks(folder)
    if looks and not folder.looks.exists():
        write_json(folder.looks, [asdict(known) for known in looks])


def verdict_record(folder: RunFolder) -> dict[str, Any] | None:
    """The verdict as it was written; None where there is none. Raises Damaged where it cannot be read."""
    if not folder.verdict.exists():
        return None
    try:
        record = json.loads(folder.verdict.read_text())
    except json.JSONDecodeError as error:
        raise Damaged(f"{folder.verdict} is damaged ({error}); remove it and promote again") from error
    if not isinstance(record, dict):
        raise Damaged(f"{folder.verdict} is damaged (it holds no object); remove it and promote again")
    return record


def _look_before_looks_were_kept(folder: RunFolder) -> tuple[Look, ...]:
    """The one look that a verdict of an older version proves."""
    record = verdict_record(folder)
    if record is None:
        return ()
    seeds = [run["seed_index"] for result in record.get("results", ()) for run in result.get("runs", ())]
    next_seed = max(seeds, default=-1) + 1
    return (Look(record.get("selection", ""), record.get("sentence", ""), next_seed),)
