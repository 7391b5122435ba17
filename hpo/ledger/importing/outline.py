"""The sections of a Markdown text, by its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token


@dataclass(frozen=True)
class Section:
    """A heading with all that stands below it. Lines are counted from 0, and an end is the first line behind."""

    level: int  # 1 to 6; 0 for the whole text
    heading: str  # as written, without its `#`
    start: int
    body: int  # behind the heading
    own_end: int  # where the first section within it begins
    end: int
    children: tuple[Section, ...]


@dataclass(frozen=True)
class _Heading:
    level: int
    text: str
    start: int
    body: int


def outline(text: str) -> Section:
    """The whole text as a section. A `#` in a code block, a comment, a quotation or a list is no heading.

    A line below which stands `---` is a heading where the text has no `#` or `##`; elsewhere that is a rule.
    """
    headings = list(_headings(parse(text)))
    if not any(heading.level <= 2 for heading in headings):
        headings = list(_headings(_parser(underlined_headings=True).parse(text)))
    lines = text.count("\n") + 1
    children = _sections(headings, lines)
    return Section(0, "", 0, 0, children[0].start if children else lines, lines, children)


def parse(text: str) -> list[Token]:
    """The blocks of a Markdown text, with tables and without underlined headings."""
    return _parser(underlined_headings=False).parse(text)


def plain(heading: str) -> str:
    """A heading, a label or a cell without emphasis, code and the targets of links."""
    without_links = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    without_emphasis = re.sub(r"[*`~]+|(?<!\w)_+|_+(?!\w)|\\(?=[^\w\s])", "", without_links)
    return " ".join(without_emphasis.split())


@cache
def row_cells(row: str) -> list[str]:
    """The cells of a table's row, as written."""
    return re.split(r"(?<!\\)\|", row.strip().removeprefix("|").removesuffix("|"))


def _parser(*, underlined_headings: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table").disable("inline")  # the text of a line is read by labels.py
    return parser if underlined_headings else parser.disable("lheading")


def _headings(tokens: Sequence[Token]) -> Iterator[_Heading]:
    for token, inside in pairwise(tokens):
        if token.type == "heading_open" and token.level == 0 and token.map:
            start, end = token.map
            is_paragraph = token.markup in ("-", "=") and end - start > 2  # several lines, and a rule behind them
            if not is_paragraph:
                yield _Heading(int(token.tag[1]), inside.content, start, end)


def _sections(headings: Sequence[_Heading], end: int) -> tuple[Section, ...]:
    """The headings of one level with those below them; the end of the last is given."""
    sections = []
    while headings:
        first, rest = headings[0], headings[1:]
        deeper = next((n for n, heading in enumerate(rest) if heading.level <= first.level), len(rest))
        section_end = rest[deeper].start if deeper < len(rest) else end
        children = _sections(rest[:deeper], section_end)
        own_end = children[0].start if children else section_end
        sections.append(Section(first.level, first.text, first.start, first.body, own_end, section_end, children))
        headings = rest[deeper:]
    return tuple(sections)
