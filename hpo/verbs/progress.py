"""Which display shows the progress of a verb."""

from __future__ import annotations

from rich.console import Console

from hpo.verbs.display import Bars, Display


def display_for(progress: bool | Display) -> Display:
    """The display that a verb's argument `progress` asks for."""
    if isinstance(progress, Display):
        return progress
    if not progress:
        return Display()
    if Console().is_jupyter:
        from hpo.verbs.notebook import NotebookBars  # IPython is there in a notebook, and need not be elsewhere

        return NotebookBars()
    return Bars()
