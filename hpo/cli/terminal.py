"""What a person sees: lines, and tables. rich loads when something is shown.

All text is shown as it is: brackets in a name, a path or an interval are no markup, and colons no emoji.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

Cell: TypeAlias = "str | Text"  # a Text has a colour
PIPE_WIDTH = 160  # of a table that no terminal shows
LEAST_COLUMN = 10


def say(text: str) -> None:
    """Print a line."""
    from rich.console import Console
    from rich.text import Text

    Console(highlight=False, soft_wrap=True).print(Text(text))


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(f"hpo: {text}", file=sys.stderr)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print a table; where the terminal is too narrow for one that can be read, each row as lines."""
    show(laid_out(title, columns, rows))


def show(drawn: RenderableType) -> None:
    """Print what is laid out, or a line."""
    _console().print(drawn, overflow="fold", markup=False, emoji=False)


def laid_out(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table | Text:
    """A table; where the terminal is too narrow for one that can be read, each row as lines."""
    if _least_width(columns, rows) <= _console().width:
        return _drawn(title, columns, rows)
    return _listed(title, columns, rows)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=PIPE_WIDTH)


def _least_width(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> int:
    """The width at which every column shows its words whole, or LEAST_COLUMN characters of a longer one."""
    width = 1
    for name, *cells in zip(columns, *rows, strict=True):
        words = [word for cell in (name, *cells) for word in str(cell).split()]
        width += min(LEAST_COLUMN, max(map(len, words), default=0)) + 3  # and its frame
    return width


def _drawn(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    headers = (Column(Text(name), overflow="fold") for name in columns)
    drawn = Table(*headers, title=Text(title) if title else None, title_justify="left")
    for row in rows:
        drawn.add_row(*(_text(cell) for cell in row))
    return drawn


def _listed(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Text:
    """Each cell on lines of its own, after the name of its column. Empty cells are left out."""
    from rich.text import Text

    blocks = [Text(title)] if title else []
    for row in rows:
        named = [(name, _text(cell)) for name, cell in zip(columns, row, strict=True)]
        lines = [Text(f"{name}: " if name else "").append_text(text) for name, text in named if text]
        blocks.append(Text("\n").join(lines))
    return Text("\n\n").join(blocks)


def _text(cell: Cell) -> Text:
    from rich.text import Text

    return Text(cell) if isinstance(cell, str) else cell


@contextmanager
def document_alone() -> Iterator[None]:
    """Keep standard output for a JSON document: what tasks print, here and in workers, goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
