"""What a command shows while its verb works, and the document that it prints at the end."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpo.checking.preflight import Preflight
    from hpo.promotion.gate import Gate
    from hpo.promotion.results import Verdict
    from hpo.verbs.display import Display


def display(*, as_json: bool = False) -> Display:
    """What shows a person how a verb goes on; with --json, standard output is left to the document."""
    from hpo.cli.results import Terminal, WarningsOnly

    return WarningsOnly() if as_json else Terminal()


def print_record(record: Preflight | Gate | Verdict) -> None:
    """Print a record as its file in the study's folder has it."""
    from hpo.plain import nulled, plain

    print(json.dumps(nulled(plain(asdict(record))), indent=1, sort_keys=True))
