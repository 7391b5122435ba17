"""What a person sees: lines, and tables. rich loads when something is shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def say(text: str) -> None:
    """Print a line as it is: brackets in a path or an interval are no markup."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True, markup=False).print(text)


def complain(text: str) -> None:
    """Print a line on standard error."""
    print(f"hpo: {text}", file=sys.stderr)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table. Its cells may hold rich's markup; see `plain`."""
    from rich.console import Console
    from rich.table import Column, Table

    drawn = Table(*(Column(name, overflow="fold") for name in columns), title=title or None, title_justify="left")
    for row in rows:
        drawn.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(drawn)


def plain(text: str) -> str:
    """The text with its brackets escaped, for a table."""
    from rich.markup import escape

    return escape(text)
