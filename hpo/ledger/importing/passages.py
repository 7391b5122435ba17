"""The text of one experiment, cut into passages at the labels that people have put into it.

A label is a line's beginning in bold with a colon (`**Results:** 0.1`), alone in its line (`**Results**`), or one that
the ledger knows (`**Result** 0.1`, `Results: 0.1`); a heading; an item of a list (`- **Approach:** ...`); or the first
of two cells of a table. The passages are all of the text, word for word.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from markdown_it.token import Token

from hpo.ledger.importing.labels import HEADING_OF, Passage, label_key
from hpo.ledger.importing.outline import parse, plain, row_cells


@dataclass(frozen=True)
class _Cut:
    """Where a passage begins: at `start` its label, at `text` what stands behind that. Offsets into the text."""

    start: int
    text: int
    label: str
    is_prefixed: bool = False
    is_heading: bool = False
    is_row: bool = False


_MARKED = r"(?P<edge>\*{1,3}|_{1,3})(?P<label>[^*_`\n:|]{1,60}?)\s*(?P<inside>:?)\s*(?P=edge)\s*(?P<colon>:?)[ \t]*"
_LINE = re.compile(rf"(?P<indent>[ \t]*)(?P<prefix>[^\w\s*`|<>#\[(-]{{0,4}}[ \t]*){_MARKED}")
_ITEM = re.compile(rf"(?P<indent>[ \t]*)(?P<bullet>[-*+]|\d{{1,9}}[.)])[ \t]+(?P<prefix>){_MARKED}")
_UNMARKED = re.compile(r"(?P<indent>[ \t]*)(?P<label>[A-Z][A-Za-z ]{2,24}):(?:[ \t]+|$)")
_WITHIN = re.compile(rf"(?<=\S)[ \t]+(?P<prefix>){_MARKED}")


def passages_of(text: str) -> list[Passage]:
    """The text of an experiment, cut at its labels."""
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    cuts = sorted(_cuts(text, starts), key=lambda cut: cut.start)
    ends = [cut.start for cut in cuts] + [len(text)]
    passages = [Passage("", _tidy(text[: ends[0]], is_labelled=False))]
    for cut, end in zip(cuts, ends[1:], strict=True):
        inner = text[cut.text : end]
        inner = inner.rstrip().removesuffix("|").replace("\\|", "|") if cut.is_row else inner
        passages.append(
            Passage(cut.label, _tidy(inner, is_labelled=bool(cut.label)), cut.is_prefixed, cut.is_heading, cut.is_row)
        )
    return [passage for passage in passages if passage.label or passage.text]


def _tidy(text: str, *, is_labelled: bool) -> str:
    """Without blank lines and rules around it; what stood in a list item, behind its label, is brought to the left."""
    first, newline, rest = text.partition("\n")
    if is_labelled and first.strip():
        text = f"{first.strip()}{newline}{textwrap.dedent(rest)}"
    lines = textwrap.dedent(text).split("\n")
    while lines and _NOTHING.fullmatch(lines[0]):
        lines.pop(0)
    while lines and _NOTHING.fullmatch(lines[-1]):
        lines.pop()
    return "\n".join(lines)


_NOTHING = re.compile(r"\s*(?:-{3,}|\*{3,}|_{3,})?\s*")


def _cuts(text: str, starts: Sequence[int]) -> Iterator[_Cut]:
    tokens = parse(text)
    owns_list = False  # whether a label stands before with nothing behind it in its line: the next list is its own
    for token, inside in zip_longest(tokens, tokens[1:]):
        if token.map is None:
            continue
        start, end = token.map
        if token.level:
            if token.type == "paragraph_open":  # of a list, which a line with a label ends: people leave no blank line
                yield from _unindented_cuts(text, starts, range(start + 1, end))
            continue
        cuts: list[_Cut] = []
        if token.type == "heading_open" and inside:
            behind = starts[start] if "](" in inside.content else min(starts[end], len(text))  # a link stays
            cuts = [_Cut(starts[start], behind, plain(inside.content).strip(": "), is_heading=True)]
        elif token.type == "paragraph_open":
            lines = range(start, end)
            cuts = [cut for line in lines for cut in _line_cuts(text[starts[line] : starts[line + 1]], starts[line])]
        elif token.type in ("bullet_list_open", "ordered_list_open") and not owns_list:
            cuts = _ended(_item_cuts(text, starts, _items(tokens, token)), starts[end])
        elif token.type == "table_open":
            cuts = _ended(_row_cuts(text, starts, range(start, end)), starts[end])
        if cuts:
            owns_list = bool(cuts[-1].label) and not text[cuts[-1].text :].partition("\n")[0].strip()
        yield from cuts


def _ended(cuts: list[_Cut], end: int) -> list[_Cut]:
    """With a cut behind a list or a table that has been cut: what follows is not its last part's."""
    return [*cuts, _Cut(end, end, "")] if cuts else []


def _line_cuts(line: str, offset: int) -> Iterator[_Cut]:
    """The labels in a line of a paragraph."""
    match = _LINE.match(line)
    if match and _is_label(match, line):
        yield _cut(match, offset)
    unmarked = _UNMARKED.match(line)
    if unmarked and label_key(unmarked["label"]) in HEADING_OF:
        yield _Cut(offset + unmarked.end("indent"), offset + unmarked.end(), unmarked["label"])
    for match in _WITHIN.finditer(line):
        ends_sentence = match["edge"] in ("**", "__") and line[: match.start()].rstrip()[-1:] in (".", ";", "!", "?")
        has_colon = bool(match["inside"] or match["colon"])
        is_known = label_key(match["label"]) in HEADING_OF and (has_colon or ends_sentence)
        is_code = line.count("`", 0, match.start()) % 2 == 1
        if is_known and not is_code and _is_outside(match, line):
            yield _cut(match, offset)


def _unindented_cuts(text: str, starts: Sequence[int], lines: Sequence[int]) -> Iterator[_Cut]:
    for line in lines:
        row = text[starts[line] : starts[line + 1]]
        if not row[:1].isspace():
            yield from _line_cuts(row, starts[line])


def _is_outside(match: re.Match[str], line: str) -> bool:
    """Whether the label stands behind the first one of its line."""
    first = _LINE.match(line)
    return first is None or match.start() >= first.end() - 1


def _is_label(match: re.Match[str], line: str) -> bool:
    has_colon = bool(match["inside"] or match["colon"])
    is_alone = not line[match.end() :].strip() and match["edge"] in ("**", "__", "***")
    is_strong = len(match["edge"]) > 1
    return label_key(match["label"]) in HEADING_OF or (is_strong and (has_colon or is_alone))


def _cut(match: re.Match[str], offset: int) -> _Cut:
    prefix = match["prefix"].strip()
    label = f"{prefix} {match['label'].strip()}".strip()
    return _Cut(offset + match.start("prefix"), offset + match.end(), label, is_prefixed=bool(prefix))


def _items(tokens: Sequence[Token], opened: Token) -> list[int]:
    """The first lines of a list's own items."""
    start, end = opened.map or (0, 0)
    items = [token for token in tokens if token.type == "list_item_open" and token.level == 1 and token.map]
    return [token.map[0] for token in items if token.map and start <= token.map[0] < end]


def _item_cuts(text: str, starts: Sequence[int], items: Sequence[int]) -> list[_Cut]:
    """A cut at each item of a list, if any of them has a label of the ledger's."""
    matches = {line: _ITEM.match(text[starts[line] : starts[line + 1]]) for line in items}
    known = [match for match in matches.values() if match and label_key(match["label"]) in HEADING_OF]
    cuts = []
    for line, match in matches.items():
        if match and _is_label(match, match.string):
            cuts.append(_Cut(starts[line], starts[line] + match.end(), match["label"].strip()))
        else:
            cuts.append(_Cut(starts[line], starts[line], ""))
    return cuts if known else []


def _row_cuts(text: str, starts: Sequence[int], lines: Sequence[int]) -> list[_Cut]:
    """A cut at each row of a table of two columns, if its first column has labels of the ledger's."""
    rows = {line: row_cells(text[starts[line] : starts[line + 1]]) for line in lines}
    known = [cells for cells in rows.values() if label_key(plain(cells[0])) in HEADING_OF]
    if not known or any(len(cells) != 2 for cells in rows.values()):
        return []
    cuts = []
    for line, cells in rows.items():
        label = plain(cells[0]).strip(": ")
        if not label.strip("-: "):  # the rule below the head
            cuts.append(_Cut(starts[line], starts[line + 1], ""))
        else:
            row = text[starts[line] : starts[line + 1]]
            behind = 0 if "](" in cells[0] else row.index(cells[0]) + len(cells[0]) + 1  # a link stays
            cuts.append(_Cut(starts[line], starts[line] + behind, label, is_row=True))
    return cuts
