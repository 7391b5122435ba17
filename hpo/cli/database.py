"""hpo database: a PostgreSQL server of one's own, for a team without an administrator."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from hpo.cli.document import document
from hpo.cli.exits import exits
from hpo.cli.options import Debug, Json
from hpo.cli.terminal import say

app = typer.Typer(no_args_is_help=True, help="A PostgreSQL server of your own: made, started and stopped without root.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Its folder. Workers read the password there.")]
Host = Annotated[
    str,
    typer.Option(metavar="NAME", help="This machine's name for others; left out: it listens on this machine alone."),
]


@app.command()
def start(folder: Folder, host: Host = "127.0.0.1", as_json: Json = False, debug: Debug = False) -> None:
    """Start the server, and print the variables that name it: eval "$(hpo database start DIR)"."""
    with document("database start", as_json) as answer, exits(debug):
        from hpo.storage.own_server import OwnServer

        server = OwnServer(folder.absolute())
        server.start(host)
        answer(server.variables)
        for name, value in server.variables.items():
            say(f"export {name}={shlex.quote(value)}")


@app.command()
def stop(folder: Folder, as_json: Json = False, debug: Debug = False) -> None:
    """Stop the server. Its data stays."""
    with document("database stop", as_json), exits(debug):
        from hpo.storage.own_server import OwnServer

        OwnServer(folder.absolute()).stop()
