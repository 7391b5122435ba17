"""hpo VERB STUDY: parses, calls the verb of the public face, and prints.

That face loads on first use, so that `hpo --help` waits for neither torch nor Optuna.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

import hpo
from hpo.cli.exits import exits
from hpo.cli.ledger import app as ledger
from hpo.cli.terminal import document_alone, say
from hpo.errors import ExitCode, NoGo, Refused
from hpo.workers.streams import steady_streams

if TYPE_CHECKING:
    from hpo.checking.preflight import Preflight
    from hpo.promotion.candidate import Tie
    from hpo.promotion.gate import Gate
    from hpo.promotion.results import Verdict
    from hpo.verbs.display import Display

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hyperparameter search you can trust: preflight, sweep, promote, report.",
)
app.add_typer(ledger, name="ledger")

Study = Annotated[str, typer.Argument(metavar="STUDY", help="A study file, or the name of one in ./studies.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="The whole path in seconds, at the study's smoke fidelity.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes side by side; left out: one a core, or one a GPU.")]
Trials = Annotated[int | None, typer.Option(min=1, help="Trials in all, earlier ones included.")]
Timeout = Annotated[float | None, typer.Option(min=0, help="Start no new trial after this many seconds.")]
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
Scheduler = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of the Dask scheduler: tcp://HOST:8786.")]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Where studies are kept.")]
Force = Annotated[bool, typer.Option("--force", help="Sweep without a fresh go of preflight. It is recorded.")]
Accept = Annotated[
    list[str] | None,
    typer.Option(metavar="PART", help="space or code: go on with a study in which that has changed."),
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


@app.command()
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the file, the task and the study: rings.")],
    debug: Debug = False,
) -> None:
    """Write NAME.py, a task and a study that work as they are, and test_NAME.py into this folder."""
    with exits(debug):
        from hpo.verbs.init import init_study

        starter = init_study(name, Path())
        say(f"wrote {starter.study}, a task and a study, and {starter.test}")
        say(f"test them:  python -m pytest {starter.test}")
        say(f"run them:   hpo run {starter.study}")


@app.command()
def run(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    trials: Trials = None,
    timeout: Timeout = None,
    keep: Keep = None,
    seeds: Seeds = None,
    tie: TieOption = "default",
    data: Data = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    storage: Storage = None,
    backend: Backend = "local",
    scheduler: Scheduler = None,
    devices: Devices = 1,
    force: Force = False,
    accept: Accept = None,
    debug: Debug = False,
) -> None:
    """Preflight, sweep, promote and report, in this order; again: go on where it stopped."""
    with exits(debug):
        try:
            hpo.run(
                study,
                smoke=smoke,
                workers=workers,
                trials=trials,
                timeout=timeout,
                keep=keep,
                seeds=seeds,
                tie=cast("Tie", tie),
                data=data,
                device=device,
                runs=runs,
                storage=storage,
                backend=backend,
                scheduler=scheduler,
                devices=devices,
                force=force,
                accept=accept or (),
                progress=_terminal(),
            )
        except NoGo:  # what was shown of the preflight or the gate has said why
            raise typer.Exit(ExitCode.NO) from None


@app.command()
def preflight(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    data: Data = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Prove that the task can be learned before money is spent. Exit 0: go. Exit 1: no-go."""
    with exits(debug):
        with document_alone() if as_json else nullcontext():
            result = hpo.preflight(
                study,
                smoke=smoke,
                workers=workers,
                data=data,
                device=device,
                runs=runs,
                progress=_terminal(as_json=as_json),
            )
        if as_json:
            _print_record(result)
        raise typer.Exit(ExitCode.NO if result.status == "no-go" else ExitCode.DONE)


@app.command()
def gate(
    study: Study,
    workers: Workers = None,
    trials: Trials = None,
    data: Data = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    storage: Storage = None,
    backend: Backend = "local",
    scheduler: Scheduler = None,
    devices: Devices = 1,
    force: Force = False,
    accept: Accept = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Say whether the cheap fidelity ranks like the full one. Exit 0: it does. Exit 1: it does not."""
    with exits(debug):
        with document_alone() if as_json else nullcontext():
            result = hpo.gate(
                study,
                workers=workers,
                trials=trials,
                data=data,
                device=device,
                runs=runs,
                storage=storage,
                backend=backend,
                scheduler=scheduler,
                devices=devices,
                force=force,
                accept=accept or (),
                progress=_terminal(as_json=as_json),
            )
        if as_json:
            _print_record(result)
        raise typer.Exit(ExitCode.NO if result.decision == "refuse" else ExitCode.DONE)


@app.command()
def sweep(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    trials: Trials = None,
    timeout: Timeout = None,
    data: Data = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    storage: Storage = None,
    backend: Backend = "local",
    scheduler: Scheduler = None,
    force: Force = False,
    accept: Accept = None,
    debug: Debug = False,
) -> None:
    """Search at the cheap fidelity. Again: go on. Refuses without a fresh go of preflight."""
    with exits(debug):
        hpo.sweep(
            study,
            smoke=smoke,
            workers=workers,
            trials=trials,
            timeout=timeout,
            data=data,
            device=device,
            runs=runs,
            storage=storage,
            backend=backend,
            scheduler=scheduler,
            force=force,
            accept=accept or (),
            progress=_terminal(),
        )


@app.command()
def promote(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    keep: Keep = None,
    seeds: Seeds = None,
    more: More = None,
    again: Again = False,
    tie: TieOption = "default",
    data: Data = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    storage: Storage = None,
    backend: Backend = "local",
    scheduler: Scheduler = None,
    devices: Devices = 1,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let the best and the default race at full fidelity, and say whether one beats the default."""
    with exits(debug):
        with document_alone() if as_json else nullcontext():
            verdict = hpo.promote(
                study,
                smoke=smoke,
                workers=workers,
                keep=keep,
                seeds=seeds,
                more=more,
                again=again,
                tie=cast("Tie", tie),
                data=data,
                device=device,
                runs=runs,
                storage=storage,
                backend=backend,
                scheduler=scheduler,
                devices=devices,
                progress=_terminal(as_json=as_json),
            )
        if as_json:
            _print_record(verdict)


@app.command()
def report(
    study: Annotated[str | None, typer.Argument(metavar="STUDY", help="A study file, or the name of one.")] = None,
    smoke: Smoke = False,
    data: Data = None,
    runs: Runs = Path("runs"),
    url: From = None,
    theirs: Theirs = None,
    debug: Debug = False,
) -> None:
    """Write runs/STUDY/report.html, which opens with no network; --from URL: of any Optuna study."""
    with exits(debug):
        if (study is None) == (url is None):
            raise Refused("report: name a STUDY, or an Optuna study with --from URL")
        if url is not None:
            hpo.report_on(url, study=theirs, runs=runs, progress=_terminal())
        elif study is not None:
            hpo.report(study, smoke=smoke, data=data, runs=runs, progress=_terminal())


@app.command()
def adopt(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the study is called here.")],
    url: Annotated[str, typer.Option("--from", metavar="URL", help="sqlite:///FILE, postgresql://…, or a file.")],
    theirs: Theirs = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="FILE", help="A study file whose space has the parameters.")
    ] = None,
    rename: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="Another name for a parameter; THEIRS= sets it aside."),
    ] = None,
    runs: Runs = Path("runs"),
    debug: Debug = False,
) -> None:
    """Make somebody else's Optuna study one of ours: runs/NAME. Nothing is written to URL."""
    with exits(debug):
        hpo.adopt(name, url, study=theirs, task=task, rename=_renamed(rename or []), runs=runs, progress=_terminal())


@app.command()
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Its name or file; all if left out.")] = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What is running, done, best, and how long it will take."""
    with exits(debug):
        with document_alone() if as_json else nullcontext():
            statuses = hpo.status(study, runs=runs)
        if as_json:
            print(json.dumps([asdict(status) for status in statuses], indent=1))
        else:
            from hpo.cli.results import show_statuses

            show_statuses(statuses)


@app.command("next")
def next_study(
    study: Study,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    debug: Debug = False,
) -> None:
    """Write STUDY_next.py, a study whose space follows from what the sweep of STUDY has shown."""
    with exits(debug):
        result = hpo.next_study(study, runs=runs, storage=storage)
        say(f"wrote {result.path}")
        for decision in result.decisions:
            say(f"  {decision.name}: {decision.reason}")
        say(f"run it:  hpo run {result.path}")


@app.command()
def rebuild(
    study: Study,
    smoke: Smoke = False,
    data: Data = None,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    force: Annotated[
        bool, typer.Option("--force", help="Although the storage knows trials that the folders lack.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Make a damaged or lost storage anew from the trials' folders. What it held is kept under another name."""
    with exits(debug):
        from hpo.formatting import count, listed

        rebuilt = hpo.rebuild(study, smoke=smoke, data=data, runs=runs, storage=storage, force=force)
        say(f"rebuilt {count(rebuilt.trials, 'trial')} into {rebuilt.storage}")
        if rebuilt.kept:
            say(f"what was there is kept as {listed(rebuilt.kept)}")


@app.command()
def dashboard(
    study: Study,
    smoke: Smoke = False,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1; from elsewhere, tunnel: ssh -L.")] = 8080,
    debug: Debug = False,
) -> None:
    """Show the study as it is now in optuna-dashboard: a copy, on loopback alone."""
    with exits(debug):
        from hpo.cli.dashboard import serve
        from hpo.verbs.opening import located
        from hpo.verbs.options import Options

        options = Options(smoke=smoke, runs=runs, storage=storage)
        spec, folder = located(study, options)
        serve(folder, port, lambda address: say(f"{address} shows {spec.name} as it is now; Ctrl-C ends it"))


def main() -> None:
    """The entry point: every verb of the command line."""
    steady_streams()
    os.umask(os.umask(0) | stat.S_IWOTH)  # what is written here is loaded again: nobody else may change it
    words = sys.argv[1:]
    del sys.argv[1:]  # a study file that parses the command line, here or in a worker, finds no words of hpo's
    app(words)


def _renamed(pairs: list[str]) -> dict[str, str]:
    renamed = {}
    for pair in pairs:
        theirs, equals_sign, ours = pair.rpartition("=")
        if not equals_sign or not theirs:
            raise Refused(f"--map: must be THEIRS=OURS, or THEIRS= to set a parameter aside; got {pair!r}")
        renamed[theirs] = ours
    return renamed


def _terminal(*, as_json: bool = False) -> Display:
    """What shows a person how a verb goes on; with --json, standard output is left to the document."""
    from hpo.cli.results import Terminal, WarningsOnly

    return WarningsOnly() if as_json else Terminal()


def _print_record(record: Preflight | Gate | Verdict) -> None:
    """Print a record as its file in the study's folder has it."""
    from hpo.plain import nulled, plain

    print(json.dumps(nulled(plain(asdict(record))), indent=1, sort_keys=True))
