"""The options that the verbs of hpo ledger share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Id = Annotated[str, typer.Argument(metavar="ID", help="v1.2_wide, with or without its status, or an old name.")]
Folder = Annotated[Path, typer.Option("--ledger", metavar="DIR", help="Where the records are.")]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Where studies are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
EXPERIMENTS = Path("experiments")
RUNS = Path("runs")
