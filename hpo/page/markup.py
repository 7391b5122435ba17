"""The parts that the page is made of: sections, badges, tables, figures. Everything from outside is escaped here."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo.formatting import finite, number, score
from hpo.page.drawing import Drawing, Key


@dataclass(frozen=True)
class Section:
    """A part of the page that the navigation leads to."""

    name: str
    title: str
    html: str


def section(name: str, title: str, lead: str, *content: str) -> Section:
    """A section with a leading sentence; `lead` and `content` are markup."""
    heading = f'<h2 id="{name}-title">{text_of(title)}</h2><p class="lead">{lead}</p>'
    return Section(
        name, title, f'<section id="{name}" aria-labelledby="{name}-title">{heading}{"".join(content)}</section>'
    )


def block(title: str, content: str) -> str:
    return f'<div class="block"><h3>{text_of(title)}</h3>{content}</div>'


def folded(title: str, content: str) -> str:
    return f"<details><summary>{text_of(title)}</summary>{content}</details>"


def caveats(texts: Iterable[str]) -> str:
    return "".join(f'<p class="caveat">{text_of(text)}</p>' for text in texts)


def code(text: str) -> str:
    return f"<pre><code>{text_of(text)}</code></pre>"


def text_of(value: Any) -> str:
    return html.escape(str(value))


def json_of(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


_BADGES = {"go": "✓", "caution": "!", "no-go": "✕", "open": "○", "skip": "–"}


def badge(status: str, text: str = "") -> str:
    """A status as a sign, a word and a colour."""
    kind = status if status in _BADGES else "open"
    sign = f'<span aria-hidden="true">{_BADGES[kind]}</span>'
    return f'<span class="badge {kind}">{sign} {text_of(text or status)}</span>'


# -- tables ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Cell:
    """One cell of a table: its markup, and what it is sorted by where that is not its text."""

    html: str
    kind: str = ""  # classes: num, words, reason, name, differs
    value: Any = None

    @property
    def td(self) -> str:
        value = "" if self.value is None else f' data-value="{text_of(self.value)}"'
        kind = f' class="{self.kind}"' if self.kind else ""
        return f"<td{kind}{value}>{self.html}</td>"


Rows = list[list[Cell | str]]


def numeric(value: Any, text: str = "") -> Cell:
    """A number, on the right; what is missing is sorted last."""
    return Cell(text_of(text or number(value)), "num", "" if finite(value) is None else value)


def scored(value: Any) -> Cell:
    return numeric(value, score(value))


def words(text: Any, kind: str = "words") -> Cell:
    return Cell(text_of(text), kind)


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Cell | str]],
    *,
    name: str,
    numbers: Sequence[str] = (),
    sortable: bool = False,
    first: bool = False,
) -> str:
    """A table in a scroll box of its own; a plain string is text. The first cell of a row is its header, and `first`
    marks the first row. A sortable one arrives sorted by its first column."""
    head = "".join(_head(text, index, text in numbers, sortable) for index, text in enumerate(heads))
    body = "".join(
        f"<tr{' class=first' if first and not index else ''}>{_row(row, sortable)}</tr>"
        for index, row in enumerate(rows)
    )
    return (
        f'<div class="scroll{" tall" if sortable else ""}" role="region" tabindex="0" aria-label="{text_of(name)}">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _head(text: str, index: int, number: bool, sortable: bool) -> str:
    label = re.sub(r"(?<=[a-z]\.)(?=[a-z])", "<wbr>", text_of(text))
    inner = f'<button type="button">{label}</button>' if sortable else label
    order = " aria-sort=ascending" if sortable and not index else ""
    return f'<th scope="col"{" class=num" if number else ""}{order}>{inner}</th>'


def _row(row: Sequence[Cell | str], sortable: bool) -> str:
    cells = [one if isinstance(one, Cell) else Cell(text_of(one)) for one in row]
    if sortable:
        return "".join(cell.td for cell in cells)
    return f'<th scope="row">{cells[0].html}</th>' + "".join(cell.td for cell in cells[1:])


# -- figures ---------------------------------------------------------------------------------------------------------
_MARKS = {
    "dot": '<circle cx="8" cy="7" r="4.5" fill="{}"/>',
    "ring": '<circle cx="8" cy="7" r="4" fill="none" stroke="{}" stroke-width="1.6"/>',
    "diamond": '<path d="M8 1.5 13 7 8 12.5 3 7Z" fill="{}"/>',
    "square": '<rect x="3.5" y="2.5" width="9" height="9" fill="{}"/>',
    "cross": '<path d="M4 3l8 8M12 3l-8 8" stroke="{}" stroke-width="3"/>',
    "thin-cross": '<path d="M4.5 3.5l7 7M11.5 3.5l-7 7" stroke="{}" stroke-width="1.5"/>',
    "line": '<path d="M0 7h16" stroke="{}" stroke-width="2.5"/>',
    "dashed": '<path d="M0 7h16" stroke="{}" stroke-width="2.5" stroke-dasharray="5 3"/>',
    "dotted": '<path d="M0 7h16" stroke="{}" stroke-width="2.5" stroke-dasharray="2 2.5"/>',
}


def legend(keys: Sequence[Key]) -> str:
    """The marks of a figure and what they stand for."""
    entries = "".join(
        f'<li><svg width="16" height="14" aria-hidden="true">{_MARKS[key.mark].format(f"var(--{key.role})")}</svg>'
        f"{text_of(key.text)}</li>"
        for key in keys
    )
    return f'<ul class="keys" aria-label="Legend">{entries}</ul>' if keys else ""


def chart(drawing: Drawing | None) -> str:
    """A figure with its title, its point and its legend; nothing where there is none."""
    if drawing is None:
        return ""
    return plot(
        drawing.title, drawing.point, json.loads(drawing.figure.to_json()), legend(drawing.keys), drawing.least_px
    )


def plot(title: str, point: str, figure: Mapping[str, Any], marks: str = "", least_px: int = 0) -> str:
    """The place of a plotly figure, and the figure as data, which the page's script draws."""
    height = figure.get("layout", {}).get("height") or 380
    least = f"min-width:{least_px}px;" if least_px else ""
    scrolls = f' role="region" tabindex="0" aria-label="{text_of(title)}"' if least_px else ""
    return f"""<figure class="chart"><figcaption><h3>{text_of(title)}</h3><p>{text_of(point)}</p></figcaption>{marks}
<div class="plotbox"{scrolls}><div class="plot" role="img" aria-label="{text_of(title)}. {text_of(point)}"
style="{least}height:{height}px"></div><script type="application/json">{json_of(figure)}</script></div></figure>"""


def charts(drawings: Iterable[Drawing | None], kind: str = "") -> str:
    """Figures side by side, as many as the page is wide."""
    drawn = "".join(chart(drawing) for drawing in drawings)
    return f'<div class="charts {kind}">{drawn}</div>' if drawn else ""
