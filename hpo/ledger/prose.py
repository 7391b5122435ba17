"""A person's text in a record or a question: what stands under which `##` heading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

WRITTEN_BY_HPO = "<!-- Written by `hpo ledger page`"  # begins a page: text that no person has written


class Place(NamedTuple):
    """Where the text under a heading stands."""

    start: int  # behind the heading's line
    end: int


class Heading(NamedTuple):
    """A heading, and where its line stands."""

    name: str
    start: int
    end: int


class Line(NamedTuple):
    """A line, where it begins, and the code fence that it stands in; empty outside of any."""

    text: str
    start: int
    fence: str


def section(prose: str, heading: str) -> str:
    """The text under a heading; empty where there is none."""
    place = places(prose).get(heading)
    return prose[place.start : place.end].strip() if place else ""


def places(prose: str) -> dict[str, Place]:
    """Where the text under each `##` heading stands. The first one of a name counts; a fence hides what it holds."""
    lines = list(_headings(prose))
    ends = [heading.start for heading in lines[1:]] + [len(prose)]
    places: dict[str, Place] = {}
    for heading, end in zip(lines, ends, strict=False):
        places.setdefault(heading.name, Place(heading.end, end))
    return places


def headings(prose: str) -> list[str]:
    """The names of all `##` headings, in their order."""
    return [heading.name for heading in _headings(prose)]


def with_paragraph(prose: str, heading: str, text: str) -> str:
    """The prose with a paragraph more under a heading, which is added at the end where it is missing."""
    place = places(prose).get(heading)
    if place is None:
        return f"{prose.rstrip()}\n\n## {heading}\n\n{text}\n"
    before, after = prose[: place.end].rstrip(), prose[place.end :]
    return f"{before}\n\n{text}\n" + (f"\n{after}" if after else "")


def dated(text: str, day: str, who: str) -> str:
    """A note under the line that says when it was written, and by whom."""
    return f"*{day}, {' '.join(who.split())}*\n\n{text.strip()}"


def undated(text: str) -> str:
    """The text without the lines that say when its notes were written."""
    return _DATE.sub("", text).strip()


def contained(text: str) -> str:
    """The text so that it can stand under a heading: its own `##` headings a level lower, every fence closed."""
    lines, fence = [], ""
    for line in _lines(text):
        is_heading = _HEADING.fullmatch(line.text) and not line.fence
        lines.append(f"#{line.text}" if is_heading else line.text)
        fence = line.fence
    joined = "".join(lines).strip("\n")
    return f"{joined}\n{fence}" if fence else joined


def led(text: str, folder: str) -> str:
    """Text with its relative links leading on through a folder: from beside it, where they led from within."""
    through = rf"\g<1>{quote(folder)}/"
    inline = re.sub(rf"(\]\(<?)(?!{_NOT_RELATIVE})", through, text)
    return re.sub(rf"(?m)^( {{0,3}}\[[^\]\n]+\]:[ \t]+<?)(?!{_NOT_RELATIVE})", through, inline)


_NOT_RELATIVE = r"[A-Za-z][A-Za-z0-9+.-]*:|[/#<)\s]"
_DATE = re.compile(r"(?m)^\*\d{4}-\d{2}-\d{2}, [^*\n]*\*[ \t]*(?:\n+|\Z)")
_HEADING = re.compile(r"## +(.*?)[ \t]*#*\s*")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)")


def _headings(prose: str) -> Iterator[Heading]:
    for line in _lines(prose):
        heading = _HEADING.fullmatch(line.text)
        if heading and not line.fence:
            yield Heading(heading[1], line.start, line.start + len(line.text))


def _lines(text: str) -> Iterator[Line]:
    """The lines with their ends. The line that closes a fence stands outside of it, the one that opens it inside."""
    fence = ""
    for line in re.finditer(r"[^\n]*\n|[^\n]+", text):
        edge = _FENCE.match(line[0])
        if edge and not fence:
            fence = edge[1]
        elif edge and edge[1].startswith(fence) and not edge[2].strip():
            fence = ""
        yield Line(line[0], line.start(), fence)
