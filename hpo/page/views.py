"""What the templates of the pages render: records of text and numbers. Only the templates write markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from hpo.formatting import NOTHING, finite, is_bounded, number, numerals, score
from hpo.promotion.intervals import Interval

SIGNS = {
    "go": "✓",
    "caution": "!",
    "no-go": "✕",
    "open": "○",
    "skip": "–",
}


@dataclass(frozen=True)
class Badge:
    """A status as a sign, a word and a colour."""

    form: ClassVar[str] = "badge"
    status: str
    label: str = ""  # the word; empty: the status itself

    @property
    def style(self) -> str:
        """The CSS class. A status that no colour stands for is shown as an open one."""
        return self.status if self.status in SIGNS else "open"

    @property
    def sign(self) -> str:
        return SIGNS[self.style]

    @property
    def text(self) -> str:
        return self.label or self.status


# -- tables ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Code:
    """Text as code, and a remark after it."""

    form: ClassVar[str] = "code"
    text: str
    remark: str = ""


@dataclass(frozen=True)
class Marked:
    """A word with a sign before it, which a screen reader passes over."""

    form: ClassVar[str] = "marked"
    sign: str
    text: str


@dataclass(frozen=True)
class Tagged:
    """A text with bold words after it."""

    form: ClassVar[str] = "tagged"
    text: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Remark:
    """A text, perhaps empty, with a muted remark after it."""

    form: ClassVar[str] = "remark"
    text: str
    remark: str


@dataclass(frozen=True)
class Anchor:
    """A link to a place on the same page, shown under the name of that place."""

    form: ClassVar[str] = "anchor"
    name: str


@dataclass(frozen=True)
class Whisker:
    """A lead and its interval beside zero, in pixels of a drawing 120 wide with zero in its middle."""

    low: float
    mean: float
    high: float
    colour: str  # a role of the palette


@dataclass(frozen=True)
class Lines:
    """Text on several lines, and a whisker below them."""

    form: ClassVar[str] = "lines"
    lines: tuple[str, ...]
    whisker: Whisker | None = None


@dataclass(frozen=True)
class Ranged:
    """A mean with its range; a line may break between the two alone."""

    form: ClassVar[str] = "ranged"
    mean: str
    range: str


Content = str | Badge | Code | Marked | Tagged | Remark | Anchor | Lines | Ranged


@dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    content: Content
    style: str = ""  # CSS classes: num, ranged, words, reason, name, differs
    sort_value: Any = None  # what the cell is sorted by; None: its text


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    parts: tuple[str, ...]  # of the text; a line may break between two of them
    is_number: bool = False


@dataclass(frozen=True)
class Table:
    """A table in a scroll box of its own. The first cell of a row is the row's header."""

    name: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[Cell, ...], ...]
    is_sortable: bool = False  # such a table arrives sorted by its first column
    marks_first: bool = False  # the first row stands out


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Cell | str]],
    *,
    name: str,
    numbers: Iterable[str] = (),
    is_sortable: bool = False,
    marks_first: bool = False,
) -> Table:
    """A table of cells and plain strings. `numbers` are the heads of the columns that hold numbers."""
    number_heads = set(numbers)
    return Table(
        name=name,
        heads=tuple(Head(_breakable(head), head in number_heads) for head in heads),
        rows=tuple(tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows),
        is_sortable=is_sortable,
        marks_first=marks_first,
    )


def _breakable(text: str) -> tuple[str, ...]:
    """The parts of a hyperparameter's full name: a line may break after the dot of "task.width"."""
    return tuple(re.split(r"(?<=[a-z]\.)(?=[a-z])", text))


def number_cell(value: Any, text: str = "") -> Cell:
    """A number, aligned to the right; what is missing is sorted last."""
    return Cell(text or number(value), "num", "" if finite(value) is None else value)


def interval_cell(value: Interval | None, *, signed: bool = False) -> Cell:
    """A mean with its range, aligned to the right; a dash where there is none."""
    if not is_bounded(value):
        return Cell(NOTHING, "num", "")
    shown = numerals(value, signed=signed)
    return Cell(Ranged(shown.mean, f"[{shown.low}, {shown.high}]"), "num ranged", value.mean)


def score_cell(value: Any) -> Cell:
    """A score with the digits of a score."""
    return number_cell(value, score(value))


# -- figures ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Key:
    """One entry of a figure's legend: a role of the palette, the mark it is drawn with, and its name."""

    role: str
    mark: str  # dot | cross | thin-cross | diamond | square | ring | star | line | dashed | dotted
    text: str


@dataclass(frozen=True)
class Plot:
    """The place of a plotly figure in the page, and the figure as data, which the page's script draws."""

    title: str
    point: str  # what the figure shows, in a sentence
    data: Mapping[str, Any]  # the figure as plotly's JSON
    keys: tuple[Key, ...] = ()
    least_px: int = 0  # a plot narrower than this scrolls sideways in its own box
    height_px: int = 380


# -- the page --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page that the navigation leads to. Each kind of section has a template of its own."""

    name: ClassVar[str]  # unique in the page
    title: ClassVar[str]
    template: ClassVar[str]
    lead: str  # what the section says, in a sentence
    badge: Badge | None = None  # before the lead


@dataclass(frozen=True)
class Tile:
    """A key figure at the top of the page."""

    name: str
    value: str
    note: str = ""
    unit: str = ""
