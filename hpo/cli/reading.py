"""hpo report, status, logs and dashboard: what a study has come to. None of them trains."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import hpo
from hpo.cli.display import display
from hpo.cli.document import document
from hpo.cli.exits import exits
from hpo.cli.options import (
    Data,
    Debug,
    From,
    Json,
    Runs,
    Smoke,
    Storage,
    Study,
    Theirs,
)
from hpo.cli.terminal import complain, say
from hpo.errors import Refused


def report(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="A study file, or the name of one.")] = None,
    smoke: Smoke = False,
    data: Data = None,
    runs: Runs = Path("runs"),
    url: From = None,
    theirs: Theirs = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write runs/STUDY/report.html, which opens with no network; --from URL: of any Optuna study."""
    with document("report", as_json) as answer, exits(debug):
        progress = display(as_json=as_json)
        if url is None and study is not None:
            path = hpo.report(study, smoke=smoke, data=data, runs=runs, progress=progress)
        elif url is not None and study is None:
            path = hpo.report_on(url, study=theirs, runs=runs, progress=progress)
        else:
            raise Refused("report: name a STUDY, or an Optuna study with --from URL")
        answer({"report": path})


def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Its name or file; all if left out.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds, until Ctrl-C.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every trial, where there are more than twenty.")] = False,
    runs: Runs = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What is running, done, best, and how long it will take; of STUDY, a line a trial."""
    from hpo.cli.status import show_statuses, watch_statuses

    with document("status", as_json) as answer, exits(debug):
        if watch and as_json:
            raise Refused("--json prints one document, so it cannot be used with --watch")
        if watch:
            watch_statuses(lambda: hpo.status(study, runs=runs), trials=study is not None, every=every)
            return
        statuses = hpo.status(study, runs=runs)
        answer(statuses)
        if not as_json:
            show_statuses(statuses, trials=study is not None, every=every)


def logs(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="Its name or file.")],
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", min=0, help="Left out: the last trial that failed, or the newest.")
    ] = None,
    promotion: Annotated[bool, typer.Option("--promotion", help="Of a run of the promotion.")] = False,
    preflight: Annotated[bool, typer.Option("--preflight", help="Of the last preflight.")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the trial ends; Ctrl-C ends it, too.")] = False,
    runs: Runs = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What a trial has printed: prints, warnings, logging, tracebacks, crashes."""
    with document("logs", as_json) as answer, exits(debug):
        from hpo.output.reading import follow as pieces_of

        if follow and (as_json or preflight):
            raise Refused("--follow is for the log of a trial, as it is printed: without --json and --preflight")
        log = hpo.logs(study, number, promotion=promotion, preflight=preflight, runs=runs)
        if as_json:
            answer({**asdict(log), "path": str(log.path), "text": log.text})
            return
        if number is None:
            complain(f"{log.path}: {log.state or 'not ended'}")
        if not follow:
            sys.stdout.write(log.text)
            return
        with suppress(KeyboardInterrupt):
            for piece in pieces_of(log.path, log.has_ended):
                sys.stdout.write(piece)
                sys.stdout.flush()


def dashboard(
    study: Study,
    smoke: Smoke = False,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1; from elsewhere, tunnel: ssh -L.")] = 8080,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the study in optuna-dashboard while it runs: read-only, and on loopback alone."""
    with document("dashboard", as_json) as answer, exits(debug):
        from hpo.cli.dashboard import address, dashboard_server
        from hpo.verbs.opening import located
        from hpo.verbs.options import Options

        spec, folder = located(study, Options(smoke=smoke, runs=runs, storage=storage))
        server, url = dashboard_server(folder, port), address(folder, port)
        answer({"address": url})
        say(f"{url} shows {spec.name} as it is at each moment; Ctrl-C ends it")
    with exits(debug), server:
        server.serve_forever()
