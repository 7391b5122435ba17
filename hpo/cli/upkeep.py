"""hpo init, adopt, next, retry and rebuild: studies that are begun, taken over, continued and mended."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import hpo
from hpo.cli.display import display
from hpo.cli.document import document
from hpo.cli.exits import exits
from hpo.cli.options import (
    Accept,
    Data,
    Debug,
    Json,
    Runs,
    Smoke,
    Storage,
    Study,
    Theirs,
)
from hpo.cli.terminal import say
from hpo.errors import Refused


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the file, the task and the study: rings.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write NAME.py, a task and a study that work as they are, and test_NAME.py into this folder."""
    with document("init", as_json) as answer, exits(debug):
        from hpo.verbs.init import init_study

        starter = init_study(name, Path())
        answer(starter)
        say(f"wrote {starter.study}, a task and a study, and {starter.test}")
        say(f"test them:  python -m pytest {starter.test}")
        say(f"run them:   hpo run {starter.study}")


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
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make somebody else's Optuna study one of ours: runs/NAME. Nothing is written to URL."""
    with document("adopt", as_json) as answer, exits(debug):
        adoption = hpo.adopt(
            name,
            url,
            study=theirs,
            task=task,
            rename=_renamed(rename or []),
            runs=runs,
            progress=display(as_json=as_json),
        )
        answer(adoption)


def next_study(
    study: Study,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write STUDY_next.py, a study whose space follows from what the sweep of STUDY has shown."""
    with document("next", as_json) as answer, exits(debug):
        result = hpo.next_study(study, runs=runs, storage=storage)
        decisions = [{"name": decision.name, "reason": decision.reason} for decision in result.decisions]
        answer({"path": result.path, "decisions": decisions})
        say(f"wrote {result.path}")
        for decision in result.decisions:
            say(f"  {decision.name}: {decision.reason}")
        say(f"run it:  hpo run {result.path}")


def retry(
    study: Study,
    trials: Annotated[list[int] | None, typer.Argument(metavar="[N]...", help="Numbers of failed trials.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All trials that have failed.")] = False,
    promotion: Annotated[
        bool, typer.Option("--promotion", help="Runs of the promotion, not the sweep's trials.")
    ] = False,
    smoke: Smoke = False,
    data: Data = None,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    accept: Accept = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let the next sweep train failed trials again, or the next promotion failed runs. They keep their numbers, and how
    they had failed is kept."""
    with document("retry", as_json) as answer, exits(debug):
        from hpo.formatting import count

        noun, stage = ("run", "promotion") if promotion else ("trial", "sweep")
        retried = hpo.retry(
            study,
            trials or (),
            failed=failed,
            promotion=promotion,
            smoke=smoke,
            data=data,
            runs=runs,
            storage=storage,
            accept=accept or (),
        )
        answer(retried)
        if not retried.trials:
            say(f"no {noun} has failed")
            return
        for number, reason in zip(retried.trials, retried.reasons, strict=True):
            say(f"{noun} {number} had failed: {reason}")
        trained = f"the next {stage} trains {count(len(retried.trials), noun)} again"
        say(f"{trained}; number, configuration and seed stay")


def rebuild(
    study: Study,
    smoke: Smoke = False,
    data: Data = None,
    runs: Runs = Path("runs"),
    storage: Storage = None,
    force: Annotated[
        bool, typer.Option("--force", help="Although the storage knows trials that the folders lack.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a damaged or lost storage anew from the trials' folders. What it held is kept under another name."""
    with document("rebuild", as_json) as answer, exits(debug):
        from hpo.formatting import count, listed

        rebuilt = hpo.rebuild(study, smoke=smoke, data=data, runs=runs, storage=storage, force=force)
        answer(rebuilt)
        say(f"rebuilt {count(rebuilt.trials, 'trial')} into {rebuilt.storage}")
        if rebuilt.kept:
            say(f"what was there is kept as {listed(rebuilt.kept)}")


def _renamed(pairs: list[str]) -> dict[str, str]:
    renamed = {}
    for pair in pairs:
        theirs, equals_sign, ours = pair.rpartition("=")
        if not equals_sign or not theirs:
            raise Refused(f"--map: must be THEIRS=OURS, or THEIRS= to set a parameter aside; got {pair!r}")
        renamed[theirs] = ours
    return renamed
