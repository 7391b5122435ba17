"""hpo VERB STUDY: parses, calls the verb of the public face, and prints.

That face loads on first use, so that `hpo --help` waits for neither torch nor Optuna.
"""

from __future__ import annotations

import atexit
import gc
import os
import stat
import sys
from typing import Annotated

import typer

import hpo
from hpo.cli import reading, stages, upkeep
from hpo.cli.database import app as database
from hpo.cli.export import export
from hpo.cli.ledger import app as ledger
from hpo.cli.tries import joined
from hpo.output.streams import steady_streams

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"hpo {hpo.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # its callback has printed it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version of hpo.")
    ] = False,
) -> None:
    """Hyperparameter search you can trust: preflight, sweep, promote, report."""


app.command()(upkeep.init)
app.command()(stages.run)
app.command()(stages.preflight)
app.command()(stages.gate)
app.command()(stages.sweep)
app.command()(stages.promote)
app.command()(reading.report)
app.command()(upkeep.adopt)
app.command()(reading.status)
app.command()(reading.logs)
app.command("next")(upkeep.next_study)
app.command()(upkeep.retry)
app.command()(upkeep.rebuild)
app.command()(export)
app.command()(reading.dashboard)
app.add_typer(database, name="database")
app.add_typer(ledger, name="ledger")


def main() -> None:
    """The entry point: every verb of the command line."""
    steady_streams()
    atexit.register(gc.freeze)  # else Python takes torch apart, which takes half a second
    os.umask(os.umask(0) | stat.S_IWOTH)  # what is written here is loaded again: nobody else may change it
    words = sys.argv[1:]
    del sys.argv[1:]  # a study file that parses the command line, here or in a worker, finds no words of hpo's
    app(joined(words))
