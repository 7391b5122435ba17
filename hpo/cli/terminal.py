"""What a person sees of a running verb: lines, tables, bars. rich loads when something is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


def say(text: str) -> None:
    """A line as it is: brackets in a path or an interval are no markup."""
    from rich.console import Console

    Console(highlight=False, soft_wrap=True, markup=False).print(text)


def complain(text: str) -> None:
    print(f"hpo: {text}", file=sys.stderr)


def table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    drawn = Table(*(Column(name, overflow="fold") for name in columns), title=title or None, title_justify="left")
    for row in rows:
        drawn.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=160)
    console.print(drawn)


@contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A progress bar with the time left; nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = progress.add_task(title, total=total, note="")
        yield lambda done, note: progress.update(shown, completed=done, note=note)


@contextmanager
def status_line(title: str, *, quiet: bool) -> Iterator[Callable[[str], None]]:
    from rich.console import Console

    console = Console(stderr=True, quiet=quiet)
    with console.status(title) as line:
        yield lambda name: line.update(f"{title}: {name} done")


def plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
