"""The options that verbs share: their names, kinds and help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Study = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of one in ./studies.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="The whole path in seconds, at the study's smoke fidelity.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes side by side; left out: one a core, or one a GPU.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all, earlier ones included.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Start no new trial after this many seconds.")]
Try = Annotated[
    list[str] | None,
    typer.Option("--try", metavar="NAME=VALUE...", help="Train this configuration first; again: a further one."),
]
Budget = Annotated[
    str | None, typer.Option(metavar="TIME", help="For the whole run: 90s, 45m, 2h. It plans trials, keep and seeds.")
]
Keep = Annotated[int | None, typer.Option(min=1, help="Configurations that start the race beside the default.")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Runs of each in the last round.")]
More = Annotated[int | None, typer.Option(min=1, help="Further seeds for the default and the leader: another look.")]
Again = Annotated[bool, typer.Option("--again", help="A new promotion on fresh seeds: another look.")]
TieOption = Annotated[str, typer.Option("--tie", metavar="WHO", help="Who is exported on a tie: default or leader.")]
Data = Annotated[Path | None, typer.Option(metavar="DIR", help="Your own data instead of what the task ships.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Devices = Annotated[int, typer.Option(min=1, help="GPUs, or processes, that share each run of the promotion.")]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="HPO_STORAGE",
        help="postgresql://USER@HOST/DB, without a password; left out: SQLite in the study's folder.",
    ),
]
Backend = Annotated[str, typer.Option(metavar="NAME", help="local: processes; inline: this one; dask: a cluster.")]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Of the Dask scheduler, tcp://HOST:8786, or its scheduler file, FILE.json."),
]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Where studies are kept.")]
Force = Annotated[bool, typer.Option("--force", help="Sweep without a fresh go of preflight. It is recorded.")]
Accept = Annotated[
    list[str] | None,
    typer.Option(metavar="PART", help="space or code: go on with a study in which that has changed."),
]
Log = Annotated[Path | None, typer.Option(metavar="FILE", help="Append a line with the time for each trial that ends.")]
Notify = Annotated[
    str | None,
    typer.Option(metavar="COMMAND", help="Start it for each event, with a JSON document on its standard input."),
]
From = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="URL", help="Somebody else's Optuna study: sqlite:///FILE, postgresql://…, or a file."
    ),
]
Theirs = Annotated[str | None, typer.Option("--study", metavar="NAME", help="Which study of URL, if it has several.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
