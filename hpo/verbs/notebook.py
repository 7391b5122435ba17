"""Progress in a notebook: a line of output a bar, replaced in place. It needs IPython, which a notebook has, and no
widgets; a notebook that is saved keeps the last state of each line."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from IPython.display import DisplayHandle

from hpo.formatting import duration
from hpo.verbs.display import Display, Update, check_line

if TYPE_CHECKING:
    from hpo.checking.made import Step


class NotebookBars(Display):
    """Progress below the cell that runs."""

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Update]:
        line, began, planned = OutputLine(), time.monotonic(), total

        def show(done: int, note: str, left: str = "", total: int | None = None) -> None:
            whole = planned if total is None else total
            parts = [f"{title}: {done} of {whole}", note, duration(time.monotonic() - began), left]
            line.show(", ".join(filter(None, parts)), done / max(1, whole))

        show(0, "")
        yield show

    @contextmanager
    def steps(self, title: str) -> Iterator[Callable[[Step], None]]:
        line, began = OutputLine(), time.monotonic()
        line.show(f"{title} begins")
        yield lambda step: line.show(f"{title}: {check_line(step)}")
        line.show(f"{title}: done, {duration(time.monotonic() - began)}")


class OutputLine:
    """One line of a cell's output."""

    def __init__(self) -> None:
        self._handle: Any = DisplayHandle()  # type: ignore[no-untyped-call]  # IPython's is not annotated
        self._is_shown = False

    def show(self, text: str, share: float | None = None) -> None:
        """Put the text in the place of the last one, after a bar where a share from 0 to 1 is given."""
        bar = "" if share is None else f'<progress value="{share:.3f}"></progress> '
        bundle = {"text/plain": text, "text/html": f"{bar}{html.escape(text)}"}
        publish = self._handle.update if self._is_shown else self._handle.display
        publish(bundle, raw=True)
        self._is_shown = True
