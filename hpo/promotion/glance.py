"""How far a promotion has come, from its files and its rows alone. Needs neither torch nor Optuna."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from hpo.direction import Direction
from hpo.plain import fingerprint
from hpo.promotion.candidate import RunKey
from hpo.promotion.race import Race, Round, key_of
from hpo.storage.folder import RunFolder
from hpo.storage.summary import Row

PromotionState: TypeAlias = Literal["not run", "unfinished", "judged"]


@dataclass(frozen=True)
class PromotionGlance:
    """How far a promotion has come."""

    state: PromotionState
    text: str  # "not run", "2/9 runs", or "winner: trial 7": for people
    sentence: str = ""  # the verdict's


NOT_RUN = PromotionGlance("not run", "not run")


def glance(folder: RunFolder, rows: Iterable[Row], direction: Direction) -> PromotionGlance:
    """What is known of the promotion. Raises ValueError where its files are damaged, or an older version wrote them."""
    if not folder.selection.exists():
        return NOT_RUN
    try:
        selection = _record(folder.selection)
        verdict = _record(folder.verdict) if folder.verdict.exists() else {}
        race = _race(selection, direction)
        key = key_of([race.default, *race.others], race.rounds, selection["generation"], selection.get("retries", 0))
        if verdict and verdict["selection"] == key:
            return PromotionGlance("judged", outcome_of(verdict), str(verdict.get("sentence", "")))
        keys = {candidate["name"]: fingerprint(candidate["params"]) for candidate in selection["candidates"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder.selection}: {error}") from error
    values = {
        RunKey(keys.get(row.name, ""), row.seed): row.value for row in rows if row.has_ended and row.seed is not None
    }
    done = sum(map(len, race.ended(values).values()))
    return PromotionGlance("unfinished", f"{done}/{race.planned(values)} runs")


def outcome_of(verdict: Mapping[str, Any]) -> str:
    """Who has won, or who is on the front where none has."""
    front = verdict.get("front", ())
    return f"front: {', '.join(front)}" if len(front) > 1 else f"winner: {verdict['winner']}"


def _record(path: Path) -> dict[str, Any]:
    record = json.loads(path.read_bytes())
    if not isinstance(record, dict):
        raise ValueError(f"{path} must hold an object")
    return record


def _race(selection: dict[str, Any], direction: Direction) -> Race:
    default, *others = [fingerprint(candidate["params"]) for candidate in selection["candidates"]]
    rounds = tuple(Round(each["others"], tuple(each["seeds"])) for each in selection["rounds"])
    return Race(default, tuple(others), rounds, direction)
