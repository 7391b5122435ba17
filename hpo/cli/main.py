"""hpo VERB STUDY. Imports neither torch nor Optuna until a verb needs them: `hpo --help` is immediate."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.exits import exits
from hpo.cli.ledger import app as ledger
from hpo.cli.terminal import bar, plain, say, status_line, table
from hpo.errors import ExitCode

if TYPE_CHECKING:
    from hpo.checking.preflight import Preflight
    from hpo.page.status import Status
    from hpo.storage.folder import RunFolder
    from hpo.study import StudySpec
    from hpo.task import Check

DOUBTED = ("no-go", "caution")
COLOUR = {"go": "green", "caution": "yellow", "no-go": "red", "skip": "dim"}

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
Keep = Annotated[int | None, typer.Option(min=1, help="Configurations to promote beside the default.")]
Seeds = Annotated[int | None, typer.Option(min=1, help="Fresh seeds for each of them.")]
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
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@dataclass(frozen=True)
class Opened:
    """A study as the command line asks for it, its folder, and what its trials depend on."""

    study: StudySpec
    folder: RunFolder
    identity: dict[str, str]
    workers: int
    device: str
    on: str  # the backend


@app.command()
def run(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    trials: Trials = None,
    timeout: Timeout = None,
    keep: Keep = None,
    seeds: Seeds = None,
    data: Data = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    storage: Storage = None,
    backend: Backend = "local",
    scheduler: Scheduler = None,
    devices: Devices = 1,
    force: Force = False,
    debug: Debug = False,
) -> None:
    """Preflight, sweep, promote and report, in this order; again: go on where it stopped."""
    with exits(debug):
        opened = _open(
            study,
            smoke=smoke,
            workers=workers,
            data=data,
            device=device,
            runs=runs,
            storage=storage,
            backend=backend,
            scheduler=scheduler,
            trials=trials,
            keep=keep,
            seeds=seeds,
        )
        _check_devices(devices, opened)
        _require_same(opened)
        if _is_fresh(opened):
            say(f"preflight of {opened.study.name}: passed before, and nothing has changed since")
        elif _preflight(opened).status == "no-go":
            if not force:
                raise typer.Exit(ExitCode.NO)
            _record_force(opened)
        _sweep(opened, timeout=timeout)
        _promote(opened, devices=devices)
        _report(opened.study, opened.folder)


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
        opened = _open(study, smoke=smoke, workers=workers, data=data, device=device, runs=runs)
        result = _preflight(opened, quiet=as_json)
        if as_json:
            print(opened.folder.preflight.read_text())
        raise typer.Exit(ExitCode.NO if result.status == "no-go" else ExitCode.DONE)


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
    debug: Debug = False,
) -> None:
    """Search at the cheap fidelity. Again: go on. Refuses without a fresh go of preflight."""
    with exits(debug):
        from hpo.checking.preflight import require_go

        opened = _open(
            study,
            smoke=smoke,
            workers=workers,
            data=data,
            device=device,
            runs=runs,
            storage=storage,
            backend=backend,
            scheduler=scheduler,
            trials=trials,
        )
        _require_same(opened)
        if not force:
            require_go(opened.folder, opened.identity, _command("preflight", study, smoke=smoke, data=data, runs=runs))
        elif not _is_fresh(opened):
            _record_force(opened)
        _sweep(opened, timeout=timeout)


@app.command()
def promote(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    keep: Keep = None,
    seeds: Seeds = None,
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
    """Retrain the best and the default at full fidelity, on fresh seeds, and say which one won."""
    with exits(debug):
        from hpo.promotion.selection import require_trials

        opened = _open(
            study,
            smoke=smoke,
            workers=workers,
            data=data,
            device=device,
            runs=runs,
            storage=storage,
            backend=backend,
            scheduler=scheduler,
            keep=keep,
            seeds=seeds,
        )
        _check_devices(devices, opened)
        _require_same(opened)
        require_trials(opened.study, opened.folder, _command("sweep", study, smoke=smoke, data=data, runs=runs))
        _promote(opened, devices=devices, quiet=as_json)
        if as_json:
            print((opened.folder.path / "verdict.json").read_text())


@app.command()
def report(
    study: Study, smoke: Smoke = False, data: Data = None, runs: Runs = Path("runs"), debug: Debug = False
) -> None:
    """Write runs/STUDY/report.html, which opens with no network."""
    with exits(debug):
        from hpo.errors import Refused
        from hpo.storage.folder import RunFolder

        loaded = _load(study, smoke=smoke, data=data)
        folder = RunFolder(runs / loaded.name)
        if not folder.path.is_dir():
            raise Refused(
                f"nothing has been run in {folder.path}; run: "
                f"{_command('run', study, smoke=smoke, data=data, runs=runs)}"
            )
        _report(loaded, folder)


@app.command()
def status(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Its name; all of them if left out.")] = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """What is running, done, best, and how long it will take."""
    with exits(debug):
        from hpo.page.status import statuses

        found = statuses(runs, study)
        if as_json:
            print(json.dumps([asdict(one) for one in found], indent=1))
        else:
            _show(found)


@app.command()
def rebuild(
    study: Study,
    smoke: Smoke = False,
    data: Data = None,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    debug: Debug = False,
) -> None:
    """Make a damaged or lost storage anew from the trials' folders."""
    with exits(debug):
        from hpo.trial.rebuild import rebuild as from_folders

        opened = _open(study, smoke=smoke, workers=1, data=data, device="auto", runs=runs, storage=storage)
        _record(opened.folder)
        trials = from_folders(opened.study, opened.folder, opened.identity)
        say(f"{trials} trials are in {opened.folder.storage} again")


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
        from hpo.storage.folder import RunFolder
        from hpo.storage.postgresql import check_url

        loaded = _load(study, smoke=smoke, data=None)
        folder = RunFolder((runs / loaded.name).absolute(), None if storage is None else check_url(storage))
        serve(folder, port, lambda address: say(f"{address} shows {loaded.name} as it is now; Ctrl-C ends it"))


def main() -> None:
    """The entry point: every verb of the command line."""
    app()


# -- the verbs, with what they show ----------------------------------------------------------------------------------
def _show(found: list[Status]) -> None:
    from hpo.formatting import duration, number

    table(
        "",
        ("study", "preflight", "sweep", "running", "best", "left", "promotion"),
        [
            (
                one.study,
                one.preflight,
                "not run" if one.trials is None else f"{one.done}/{one.trials}",
                f"{one.running}" + (f", {one.interrupted} interrupted" if one.interrupted else ""),
                "" if one.best is None else f"{number(one.best)} (trial {one.best_trial})",
                duration(one.seconds_left) if one.seconds_left else "",
                one.promotion,
            )
            for one in found
        ],
    )


def _preflight(opened: Opened, *, quiet: bool = False) -> Preflight:
    from hpo.checking.preflight import preflight
    from hpo.formatting import duration

    _record(opened.folder)
    with status_line("preflight", quiet=quiet) as watch:
        result = preflight(
            opened.study,
            opened.folder,
            opened.identity,
            workers=opened.workers or _places(opened.device),
            device=opened.device,
            watch=lambda check: watch(check.name),
        )
    if not quiet:
        _show_checks(f"preflight of {opened.study.name}: {result.status}", result.checks)
        say(f"{result.status} after {duration(result.seconds)}; kept in {opened.folder.preflight}")
    return result


def _sweep(opened: Opened, *, timeout: float | None) -> None:
    from hpo.formatting import count, number
    from hpo.ledger.harvest import entered
    from hpo.search.sweep import sweep
    from hpo.trial.lifecycle import Standing

    def line(standing: Standing) -> str:
        best = (
            ""
            if standing.best is None
            else f", best {opened.study.task.goal} {number(standing.best)} (trial {standing.best_number})"
        )
        return f"{standing.pruned} pruned, {standing.failed} failed{best}"

    _record(opened.folder)
    say(
        f"sweep of {opened.study.name}: {count(opened.study.trials, 'trial')}, "
        f"{count(opened.workers, 'worker') if opened.workers else 'all workers of the cluster'}"
    )
    with entered(opened.folder), bar("sweep", opened.study.trials) as watch:
        standing = sweep(
            opened.study,
            opened.folder,
            opened.identity,
            workers=opened.workers,
            on=opened.on,
            timeout=timeout,
            device=opened.device,
            watch=lambda now: watch(now.done, line(now)),
        )
    wanted = max(standing.done, standing.trials)  # an earlier sweep may have asked for more
    say(f"{standing.done} of {wanted} trials: {standing.complete} complete, {line(standing)}")


def _promote(opened: Opened, *, devices: int, quiet: bool = False) -> None:
    from hpo.formatting import better, count, interval, label, number
    from hpo.ledger.harvest import entered
    from hpo.promotion.promote import promote
    from hpo.storage.database import require_same

    full = {**opened.identity, **_full_identity(opened)}
    require_same(opened.folder, f"{opened.study.name}.promotion", full)
    _record(opened.folder)
    if not quiet:
        others = count(opened.study.keep, "best other", "best others")
        say(f"promotion of {opened.study.name}: the default and the {others}, {count(opened.study.seeds, 'seed')} each")
    runs = (opened.study.keep + 1) * opened.study.seeds
    with entered(opened.folder, quiet=quiet), bar("promote", runs) as watch:
        verdict = promote(
            opened.study,
            opened.folder,
            full,
            workers=opened.workers,
            on=opened.on,
            device=opened.device,
            devices=devices,
            watch=lambda now: watch(now.done, ""),
        )
    if quiet:
        return
    rows = [
        (
            result.candidate.name,
            number(result.candidate.cheap),
            number(result.full),
            interval(result.test) if result.test else "failed",
            interval(result.ahead_of_default, signed=True) if result.ahead_of_default else "",
        )
        for result in verdict.results
    ]
    rows += [(one.name, "", "", number(one.scores[verdict.goal]), "") for one in verdict.baselines]
    table(
        f"{label(verdict.goal)}: {better(verdict.direction)}",
        ("", "cheap", "full, validation", "full, test", "ahead of default"),
        rows,
    )
    doubts = [check for check in verdict.checks if check.status in DOUBTED]
    if doubts:
        _show_checks("what the task doubts", doubts)
    say(verdict.sentence)
    say(f"winner's weights and card: {opened.folder.export}")


def _show_checks(title: str, checks: Sequence[Check]) -> None:
    rows = [
        (
            check.name,
            f"[{COLOUR[check.status]}]{check.status}[/]",
            plain(check.seen),
            plain(check.allowed),
            plain(check.look_at) if check.status in DOUBTED else "",
        )
        for check in checks
    ]
    shown = 5 if any(row[4] for row in rows) else 4  # where nothing is wrong, there is nothing to look at
    table(title, ("check", "", "seen", "allowed", "look at")[:shown], [row[:shown] for row in rows])


def _report(study: StudySpec, folder: RunFolder) -> None:
    from hpo.ledger.harvest import entered
    from hpo.page.report import write_report

    _record(folder)
    with entered(folder):
        path = write_report(study, folder)
    say(f"report: {path.resolve()}")


# -- opening ---------------------------------------------------------------------------------------------------------
def _open(
    name: str,
    *,
    smoke: bool,
    workers: int | None,
    data: Path | None,
    device: str,
    runs: Path,
    storage: str | None = None,
    backend: str = "local",
    scheduler: str | None = None,
    trials: int | None = None,
    keep: int | None = None,
    seeds: int | None = None,
) -> Opened:
    """Load a study and change what the command line says. Everything that can be refused is refused here, before
    anything is written."""
    from hpo.storage.folder import RunFolder
    from hpo.storage.postgresql import check_url
    from hpo.trial.provenance import identity

    url = None if storage is None else check_url(storage)
    study = _load(name, smoke=smoke, data=data)
    study = replace(
        study,
        trials=study.trials if trials is None else trials,
        keep=study.keep if keep is None else keep,
        seeds=study.seeds if seeds is None else seeds,
    )
    folder = RunFolder((runs / study.name).absolute(), url)
    folder.check_writable()
    on = _backend(backend, scheduler, folder)
    if backend != "dask":
        _check_device(device)
    if workers is None:
        workers = _places(device) if backend == "local" else {"inline": 1, "dask": 0}[backend]
    return Opened(study, folder, identity(study), workers, device, on)


def _backend(name: str, scheduler: str | None, folder: RunFolder) -> str:
    from hpo.errors import Refused
    from hpo.storage.folder import SQLITE

    if name not in ("local", "inline", "dask"):
        raise Refused(f"--backend: must be local, inline or dask; got {name!r}")
    if (name == "dask") != (scheduler is not None):
        raise Refused("--backend dask and --scheduler ADDRESS belong together")
    if scheduler is None:
        return name
    if folder.storage.startswith(SQLITE):
        raise Refused(
            "--backend dask: its workers write to the storage from several machines, which SQLite cannot "
            "bear; name a PostgreSQL one: --storage postgresql://USER@HOST/DATABASE"
        )
    return scheduler


def _load(name: str, *, smoke: bool, data: Path | None) -> StudySpec:
    from hpo.verbs.load import load_study

    study = load_study(name)
    if data is not None:
        study = _with_data(study, data)
    return study.as_smoke() if smoke else study


def _with_data(study: StudySpec, data: Path) -> StudySpec:
    from hpo.errors import Refused

    if "data" not in {field.name for field in fields(study.task)}:
        raise Refused(f"--data: {type(study.task).__name__} reads no data of the user's")
    if not data.is_dir():
        raise Refused(f"--data: must be a folder; got {data}, which {'is a file' if data.exists() else 'is not there'}")
    return replace(study, task=replace(study.task, data=str(data.resolve())))


def _check_device(device: str) -> None:
    from hpo.errors import Refused

    kind, _, index = device.partition(":")
    known = device in ("auto", "cpu", "cuda") or (kind == "cuda" and index.isdecimal())
    if not known:
        raise Refused(f"--device: must be auto, cpu, cuda or cuda:N; got {device!r}")
    if kind == "cuda":
        import torch

        if int(index or 0) >= torch.cuda.device_count():
            raise Refused(f"--device {device}: this machine has {torch.cuda.device_count() or 'no'} CUDA devices")


def _check_devices(count: int, opened: Opened) -> None:
    from hpo.errors import Refused

    if count == 1:
        return
    if opened.on not in ("local", "inline"):
        raise Refused("--devices: shares a run among devices of this machine; leave --backend dask out")
    if opened.device.startswith("cuda:"):
        raise Refused(f"--devices {count}: takes the first {count} devices; give --device cuda, got {opened.device}")
    import torch

    if opened.device != "cpu" and 0 < torch.cuda.device_count() < count:
        raise Refused(f"--devices {count}: this machine has {torch.cuda.device_count()} CUDA devices")


def _full_identity(opened: Opened) -> dict[str, str]:
    from hpo.plain import fingerprint
    from hpo.trial.provenance import data_hash

    study = opened.study
    data = data_hash(study.configure({}, study.full).task, study.full, ("train", "val", "test"))
    return {"fidelity": fingerprint(study.full), "data": data}


def _require_same(opened: Opened) -> None:
    from hpo.storage.database import require_same

    require_same(opened.folder, opened.study.name, opened.identity)


def _record_force(opened: Opened) -> None:
    from hpo.checking.preflight import record_force

    record_force(opened.folder)


def _command(verb: str, study: str, *, smoke: bool, data: Path | None, runs: Path) -> str:
    """The command for another verb on the same study."""
    words = [
        "hpo",
        verb,
        study,
        *(["--smoke"] if smoke else []),
        *(["--data", str(data)] if data else []),
        *([] if runs == Path("runs") else ["--runs", str(runs)]),
    ]
    return shlex.join(words)


def _is_fresh(opened: Opened) -> bool:
    from hpo.checking.preflight import require_go
    from hpo.errors import Refused

    try:
        require_go(opened.folder, opened.identity, "")
    except Refused:
        return False
    return True


def _record(folder: RunFolder) -> None:
    """Append the command to the study's log, with the versions that it ran under."""
    from datetime import UTC, datetime

    from hpo.files import no_link
    from hpo.trial.provenance import versions

    folder.make()
    line = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "hpo " + " ".join(sys.argv[1:]),
        "versions": versions(),
    }
    with open(folder.commands, "a", opener=no_link) as file:
        file.write(json.dumps(line) + "\n")


def _places(device: str) -> int:
    """How many trials have a place of their own on this machine: a GPU each, or a core."""
    if device.startswith("cuda:"):
        return 1
    import torch

    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    return gpus or len(os.sched_getaffinity(0))
