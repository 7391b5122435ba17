"""What a file of experiments holds: experiments, plans, open questions, and notes that belong to none of these."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from hpo.ledger.importing.labels import HEADING_OF, known_labels, label_key
from hpo.ledger.importing.marks import STATUS_OF_MARK, Heading, heading_of, status_of
from hpo.ledger.importing.outline import Section, outline, parse, plain
from hpo.ledger.importing.passages import passages_of
from hpo.ledger.name import STATUSES

MAX_TITLE = 100


class Kind(Enum):
    """What a section of a file is."""

    EXPERIMENT = auto()
    EXPERIMENTS = auto()  # a heading above several
    PLANS = auto()
    QUESTIONS = auto()
    NOTES = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Item:
    """An experiment, a plan or a question, as the file has it. Lines are counted from 1, both included."""

    kind: Kind
    written: str  # its heading, or the first line of its list item
    heading: Heading
    text: str
    start: int
    end: int
    is_ticked: bool = False  # in a list of things to do

    @property
    def place(self) -> str:
        """Its lines, in words."""
        return place(self.start, self.end)


def place(start: int, end: int) -> str:
    """Lines of the file, in words."""
    return f"lines {start} to {end}" if end > start else f"line {start}"


@dataclass(frozen=True)
class Note:
    """Text that belongs to no experiment, with its heading."""

    heading: str
    text: str
    start: int
    end: int
    is_expected: bool  # a legend, a dashboard, ...: text that files of experiments have


@dataclass(frozen=True)
class Document:
    """All that a file holds, in its order."""

    experiments: tuple[Item, ...]
    plans: tuple[Item, ...]
    questions: tuple[Item, ...]
    notes: tuple[Note, ...]


def read_document(text: str) -> Document:
    """Sort the sections of a file. Every line of the text is in exactly one part."""
    return _Reader(text.split("\n"), legend(text)).read(outline(text))


def legend(text: str) -> dict[str, str]:
    """The status that each mark stands for: as the file's own list of marks says, and otherwise as usual."""
    marks = dict(STATUS_OF_MARK)
    for line in text.split("\n"):
        match = re.match(r"\s*[-*+|]\s*(?P<mark>[^\w\s*|`<>#\[(-])\ufe0f?\s*[|:=]?\s*\**(?P<word>\w+)\**", line)
        if match and match["word"].lower() in STATUSES and not match["mark"].isascii():
            marks[match["mark"]] = match["word"].lower()
    return marks


# -- what a section is -----------------------------------------------------------------------------------------------
_QUESTIONS = re.compile(r"(?i)\b(open|unanswered|unresolved)\b.*\bquestions?\b|^(questions|unknowns)$")
_PLANS = re.compile(
    r"(?i)^(next|planned|future|upcoming|proposed|plans?|roadmap|backlog|to-?dos?|ideas|priorities)\b|\bto run next\b"
)
_NOTES = re.compile(r"(?i)\b(dashboard|legend|naming|conventions?|glossary|table of contents|changelog)\b")
_NOTES_UNLESS_LABELLED = re.compile(
    r"(?i)^(status(es)?|status marks|metrics|overview|(results )?summary|comparison|contents|references|template"
    r"|how to .*|last updated.*|leaderboard)$"
)
_EXPERIMENTS = re.compile(r"(?i)\b(experiments|runs|trials|attempts|archived?|history|older|ablations)\b")
_GROUP = re.compile(r"(?i)(high|medium|low|short|mid|long)(est)?\b.{0,20}")
_NO_TEXT = re.compile(r"\s*(-{3,}|\*{3,}|_{3,})?\s*")


@dataclass(frozen=True)
class _Reader:
    lines: list[str]
    marks: dict[str, str]

    def read(self, whole: Section) -> Document:
        parts = list(self._within(whole, whole, is_stated=False, status=""))
        items = [part for part in parts if isinstance(part, Item)]
        return Document(
            tuple(item for item in items if item.kind is Kind.EXPERIMENT),
            tuple(item for item in items if item.kind is Kind.PLANS),
            tuple(item for item in items if item.kind is Kind.QUESTIONS),
            tuple(part for part in parts if isinstance(part, Note)),
        )

    def _within(self, section: Section, whole: Section, *, is_stated: bool, status: str) -> Iterator[Item | Note]:
        """The text above a section's first child, and the children. `is_stated`: its heading says experiments."""
        yield from self._note(section, section.start, section.own_end)
        is_title = whole.children == (section,)  # of the file: not all below it need be experiments
        is_stated = is_stated and not (is_title and self._has_experiments(section))
        for child in section.children:
            kind = self._kind(child)
            if kind is Kind.UNKNOWN and is_stated and not self._has_experiments(child):
                kind = Kind.EXPERIMENT
            if kind is Kind.EXPERIMENT:
                yield self._item(child, kind, status)
            elif kind in (Kind.PLANS, Kind.QUESTIONS):
                yield from self._list(child, kind)
            elif kind is Kind.NOTES:
                yield from self._note(child, child.start, child.end, is_expected=True)
            else:
                is_one = is_stated or kind is Kind.EXPERIMENTS
                own = status_of(plain(child.heading), self.marks) if kind is Kind.EXPERIMENTS else ""
                yield from self._within(child, whole, is_stated=is_one, status=own or status)

    def _kind(self, section: Section) -> Kind:
        title = re.sub(r"^\W+", "", plain(section.heading))
        labels = self._labels(section)
        is_list = not labels and bool(section.children or self._items(section.body, section.end))
        if _QUESTIONS.search(title) and is_list:
            return Kind.QUESTIONS
        if _PLANS.search(title) and is_list:
            return Kind.PLANS
        if _NOTES.search(title) or (_NOTES_UNLESS_LABELLED.search(title) and not labels):
            return Kind.NOTES
        if _EXPERIMENTS.search(title) and section.children and not labels:
            return Kind.EXPERIMENTS
        has_status = bool(heading_of(plain(section.heading), self.marks).status)
        return Kind.EXPERIMENT if has_status or labels > 1 else Kind.UNKNOWN

    def _has_experiments(self, section: Section) -> bool:
        kinds = (Kind.EXPERIMENT, Kind.EXPERIMENTS)
        return any(self._kind(child) in kinds or self._has_experiments(child) for child in section.children)

    def _labels(self, section: Section) -> int:
        """How many of the ledger's labels stand in a section itself, or right below it as headings."""
        own = known_labels(passages_of(self._text(section.body, section.own_end)))
        return own + sum(label_key(plain(child.heading)) in HEADING_OF for child in section.children)

    # -- experiments and notes ---------------------------------------------------------------------------------------
    def _item(self, section: Section, kind: Kind, status: str = "", priority: int | None = None) -> Item:
        heading = heading_of(plain(section.heading), self.marks)
        text = self._text(section.body, section.end)
        given = heading.status or self._stated(text) or status
        heading = replace(heading, status=given, priority=heading.priority or priority)
        return Item(kind, section.heading, heading, text, section.start + 1, self._last(section.start, section.end))

    def _stated(self, text: str) -> str:
        """The status under the label for it."""
        stated = next((passage.text for passage in passages_of(text) if passage.key in ("status", "state")), "")
        return status_of(stated.partition("\n")[0], self.marks)

    def _note(self, section: Section, start: int, end: int, *, is_expected: bool = False) -> Iterator[Note]:
        """A part of a section as a note, if there is a word in it. A heading alone is no surprise."""
        last = self._last(start, end)
        if re.search(r"\w", self._text(start, last)):
            is_bare = not re.search(r"\w", self._text(max(start, section.body), last))
            yield Note(plain(section.heading), self._text(start, last), start + 1, last, is_expected or is_bare)

    def _text(self, start: int, end: int) -> str:
        return "\n".join(self.lines[start:end])

    def _last(self, start: int, end: int) -> int:
        """The last line that has text, counted from 1."""
        while end > start + 1 and _NO_TEXT.fullmatch(self.lines[end - 1]):
            end -= 1
        return end

    # -- plans and questions -----------------------------------------------------------------------------------------
    def _list(self, section: Section, kind: Kind, priority: int | None = None) -> Iterator[Item | Note]:
        """The plans or the questions of a section: a heading each, or an item of a list each."""
        priority = heading_of(plain(section.heading), self.marks).priority or priority
        items = self._items(section.body, section.own_end)
        edges = [section.start, *(edge for item in items for edge in item), section.own_end]
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            yield from self._note(section, start, end)
        for start, end in items:
            yield self._list_item(kind, start, end, priority)
        for child in section.children:
            name = plain(child.heading).strip(": ")
            is_group = not heading_of(name, self.marks).title or _GROUP.fullmatch(name)
            if is_group and self._items(child.body, child.end):
                yield from self._list(child, kind, priority)
            else:
                yield self._item(child, kind, priority=priority)

    def _items(self, start: int, end: int) -> list[tuple[int, int]]:
        """The lines of the items of the lists between two lines, counted from 0."""
        tokens = parse(self._text(start, end))
        items = [token.map for token in tokens if token.type == "list_item_open" and token.level == 1 and token.map]
        return [(start + first, start + last) for first, last in items]

    def _list_item(self, kind: Kind, start: int, end: int, priority: int | None) -> Item:
        first, _, rest = self._text(start, end).strip("\n").partition("\n")
        bullet = _BULLET.match(first)
        words = first[bullet.end() :] if bullet else first
        bold = re.match(r"\*\*(?P<name>[^*]{1,100})\*\*\s*[:–—-]?\s*(?P<text>.*)", words)
        name, text = (bold["name"], bold["text"]) if bold else (words, "")
        if len(name) > MAX_TITLE:
            name, text = f"{name[:MAX_TITLE].rpartition(' ')[0] or name[:MAX_TITLE]} …", words
        heading = heading_of(plain(name).strip(": "), self.marks)
        number = int(bullet["number"]) if bullet and bullet["number"] and int(bullet["number"]) > 0 else None
        heading = replace(heading, priority=heading.priority or priority or number)
        body = "\n".join(part for part in (text, textwrap.dedent(rest)) if part.strip())
        is_done = bool(bullet and bullet["tick"] in ("x", "X"))
        return Item(kind, first.strip(), heading, body, start + 1, self._last(start, end), is_done)


_BULLET = re.compile(r"\s*(?:[-*+]|(?P<number>\d{1,9})[.)])\s+(?:\[(?P<tick>[ xX])\]\s+)?")
