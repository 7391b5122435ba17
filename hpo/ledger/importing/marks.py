"""Status marks and status words, and what else a heading says: name, title, date, number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from hpo.ledger.name import STATUSES

_MARKS = {
    "success": "✓✔✅☑🟢🏆🎉",
    "failed": "✗✘✕✖❌❎⛔🚫🔴💀",
    "wip": "⚠🚧⏳⌛🔄🏃🟡🔧",
    "analysis": "📊📈🔬",
    "planned": "🔍💡📋🗓📝🔮",
}
STATUS_OF_MARK = {mark: status for status, marks in _MARKS.items() for mark in marks}
_WORDS = {  # the first that fits counts: "not started" before "started"
    "planned": r"planned|todo|to do|not (?:yet )?(?:started|begun|run)|queued|proposed",
    "failed": r"failed|failure|broken|abandoned|rejected|discarded|do(?: not|n't) use|dead end",
    "wip": r"wip|in progress|work in progress|running|ongoing|started|training|paused|waiting|interrupted",
    "analysis": r"analysis|analy[sz]ing|under review|being looked at|inconclusive|unclear|done|completed?|finished",
    "success": r"success|succeeded|successful|passed|works|in use|in production|production|adopted|shipped",
}
_ANY_WORD = "|".join(_WORDS.values())


@dataclass(frozen=True)
class Heading:
    """What the heading of an experiment says."""

    name: str  # what people call it
    title: str
    status: str  # empty: none is given
    priority: int | None
    day: str  # as 2025-11-03; empty: none is given


def heading_of(text: str, marks: Mapping[str, str] = STATUS_OF_MARK) -> Heading:
    """Read a heading, from which emphasis has been taken: `d2_ft - Fine-tune on glass ✗ FAILED`."""
    status, rest = _split_status(text, marks)
    day = day_of(text)
    rest = re.sub(r"^[\[(]?(\d{4}-\d{2}-\d{2}|\d{1,2}\.\d{1,2}\.\d{4})[\])]?[ \t]*[:,–—-]*", "", rest.strip())
    rest, priority = _split_priority(rest.strip())
    rest = re.sub(r"^(?:\d{1,3}[.)]|#\d+:?)\s+", "", rest).strip(" \t-–—:|·")
    name, _, title = _split_name(rest)
    return Heading(name, title or name, status, priority, day)


def status_of(text: str, marks: Mapping[str, str] = STATUS_OF_MARK) -> str:
    """The status that a text gives by its first mark, or else by a word; empty where it gives none."""
    marked = next((marks[sign] for sign in text if sign in marks), "")
    return marked or _status_of_word(text)


def day_of(text: str) -> str:
    """The last whole day in a text, as 2025-11-03; also from 3.11.2025. Empty where there is none."""
    days = []
    for year, month, day in re.findall(r"\b(\d{4})-(\d{2})-(\d{2})\b", text):
        with suppress(ValueError):
            days.append(date(int(year), int(month), int(day)).isoformat())
    for day, month, year in re.findall(r"\b(\d{1,2})\.(\d{1,2})\.(\d{4})\b", text):
        with suppress(ValueError):
            days.append(date(int(year), int(month), int(day)).isoformat())
    return days[-1] if days else ""


def _status_of_word(text: str) -> str:
    places = {}
    for status, words in _WORDS.items():
        if match := re.search(rf"\b(?:{words})\b", text, re.IGNORECASE):
            places[status] = match.start()
    return min(places, key=lambda status: places[status]) if places else ""


def _split_status(text: str, marks: Mapping[str, str]) -> tuple[str, str]:
    """The status of a heading, and the heading without its marks and without the word that stands for the status.

    Such a word stands beside a mark, in brackets, behind a dash at the end, or in capital letters: `Running average` is
    no status.
    """
    mark = f"(?:[{re.escape(''.join(marks))}]\ufe0f?\\s*)+"
    capitals, word = rf"\b(?:{_CAPITALS})\b", rf"(?i:\b(?:{_ANY_WORD})\b)"
    forms = (
        rf"{mark}(?:{capitals}|{word}(?=\s*(?:$|[:,(\[–—|-])))",
        rf"(?:{capitals}|{word})\s*{mark}",
        rf"[\[(]\s*{word}\s*[\])]",
        rf"\s[-–—|]+\s*{word}$",
        capitals,
    )
    marked = next((marks[sign] for sign in text if sign in marks), "")
    for form in forms:
        if match := re.search(form, text):
            rest = f"{text[: match.start()]} {text[match.end() :]}"
            is_judged = not (marked and re.search(r"(?i)done|complete|finished", match[0]))
            return (_status_of_word(match[0]) if is_judged else marked), " ".join(re.sub(mark, " ", rest).split())
    return marked, " ".join(re.sub(mark, " ", text).split())


_CAPITALS = "|".join([*(status.upper() for status in STATUSES), "TODO", "DONE", "RUNNING", "IN PROGRESS", "ABANDONED"])


def _split_priority(text: str) -> tuple[str, int | None]:
    match = re.match(r"(?i)(?:priority|prio|p)\s*#?(\d{1,3})\b[\s:.)–—-]*", text)
    if match:
        return text[match.end() :], max(1, int(match[1]))
    match = re.match(r"(?i)(high|medium|low)(?:est)?[ -]priority\b[\s:.)–—-]*", text)
    if match:
        return text[match.end() :], {"high": 1, "medium": 2, "low": 3}[match[1].lower()]
    return text, None


def _split_name(text: str) -> tuple[str, str, str]:
    """A name, what separates it, and the title: `d2: Masks`, `d2 - Masks`, `Experiment 3 – Masks`."""
    match = re.match(r"(.{1,60}?)(\s+[-–—|]+\s+|:\s+)(?=\S)", text)
    if not match:
        return text, "", ""
    return match[1].strip(), match[2], text[match.end() :].strip()
