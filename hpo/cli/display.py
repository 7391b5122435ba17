"""What a command shows while its verb works."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpo.verbs.display import Display


def display(*, as_json: bool = False) -> Display:
    """What shows a person how a verb goes on; with --json, standard output is left to the document."""
    from hpo.cli.results import Terminal, WarningsOnly

    return WarningsOnly() if as_json else Terminal()
