"""hpo preflight, gate, sweep, promote, and run: all of them in order."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, cast

import hpo
from hpo.cli.display import display
from hpo.cli.document import document
from hpo.cli.exits import Ended, code_of, exits
from hpo.cli.options import (
    Accept,
    Again,
    Backend,
    Budget,
    Data,
    Debug,
    Device,
    Devices,
    Force,
    Json,
    Keep,
    Log,
    More,
    Notify,
    Runs,
    Scheduler,
    Seeds,
    Smoke,
    Storage,
    Study,
    TieOption,
    Timeout,
    Trials,
    Try,
    Workers,
)
from hpo.cli.terminal import complain
from hpo.cli.tries import parsed
from hpo.errors import ExitCode, NoGo
from hpo.verbs.clock import as_command

if TYPE_CHECKING:
    from hpo.promotion.candidate import Tie

LOCAL = "local"  # the backend that trains in processes of this machine
TIMED_OUT = "--timeout has ended the sweep before its trials were done; the same command goes on"


def worker_ahead(backend: str = LOCAL) -> AbstractContextManager[None]:
    """A worker that imports torch while this process does, where the backend has workers on this machine."""
    if backend != LOCAL:
        return nullcontext()
    from hpo.workers import ahead  # brings joblib, which --help need not wait for

    return ahead.worker_ahead()


def run(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    trials: Trials = None,
    timeout: Timeout = None,
    budget: Budget = None,
    tries: Try = None,
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
    log: Log = None,
    notify: Notify = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Preflight, sweep, promote and report, in order; again: go on where it stopped. Exit 3: task checks not passed."""
    with document("run", as_json) as answer, exits(debug), worker_ahead(backend), as_command():
        try:
            verdict = hpo.run(
                study,
                smoke=smoke,
                workers=workers,
                trials=trials,
                timeout=timeout,
                budget=budget,
                tries=parsed(tries or ()),
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
                log=log,
                notify=notify,
                progress=display(as_json=as_json),
            )
        except NoGo as error:  # what was shown of the preflight or the gate has said why
            raise Ended(ExitCode.NO, str(error)) from None
        answer(verdict)
        raise Ended(code_of(verdict, smoke=smoke))


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
    with document("preflight", as_json) as answer, exits(debug), worker_ahead():
        result = hpo.preflight(
            study,
            smoke=smoke,
            workers=workers,
            data=data,
            device=device,
            runs=runs,
            progress=display(as_json=as_json),
        )
        answer(result)
        raise Ended(ExitCode.NO if result.status == "no-go" else ExitCode.DONE)


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
    with document("gate", as_json) as answer, exits(debug):
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
            progress=display(as_json=as_json),
        )
        answer(result)
        raise Ended(ExitCode.NO if result.decision == "refuse" else ExitCode.DONE)


def sweep(
    study: Study,
    smoke: Smoke = False,
    workers: Workers = None,
    trials: Trials = None,
    timeout: Timeout = None,
    tries: Try = None,
    data: Data = None,
    device: Device = "auto",
    runs: Runs = Path("runs"),
    storage: Storage = None,
    backend: Backend = "local",
    scheduler: Scheduler = None,
    force: Force = False,
    accept: Accept = None,
    log: Log = None,
    notify: Notify = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Search at the cheap fidelity. Again: go on. Refuses without a fresh go of preflight."""
    with document("sweep", as_json) as answer, exits(debug), worker_ahead(backend):
        standing = hpo.sweep(
            study,
            smoke=smoke,
            workers=workers,
            trials=trials,
            timeout=timeout,
            tries=parsed(tries or ()),
            data=data,
            device=device,
            runs=runs,
            storage=storage,
            backend=backend,
            scheduler=scheduler,
            force=force,
            accept=accept or (),
            log=log,
            notify=notify,
            progress=display(as_json=as_json),
        )
        answer(standing)
        if standing.timed_out:
            complain(TIMED_OUT)
            raise Ended(ExitCode.TRY_AGAIN, TIMED_OUT)


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
    log: Log = None,
    notify: Notify = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Let the best and the default race at full fidelity, and say which is better. Exit 3: task checks not passed."""
    with document("promote", as_json) as answer, exits(debug), worker_ahead(backend if devices == 1 else "inline"):
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
            log=log,
            notify=notify,
            progress=display(as_json=as_json),
        )
        answer(verdict)
        raise Ended(code_of(verdict, smoke=smoke))
