"""Tasks that misbehave on request, and the study that faults are injected into."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hpo.contract.pruning import Median
from hpo.engine import checkpoint
from hpo.engine.checkpoint_files import reached
from hpo.engine.training import fit
from hpo.recipe import Recipe
from hpo.search.sweep import sweep
from hpo.space import choose, log, uniform
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity, Moment, Split
from hpo.trial.provenance import identity
from tests.epochs import epoch
from tests.faults import check
from tests.faults.processes import alive, code_of, forked_workers, start
from tests.toy import INPUTS, Batch, Toy

EPOCHS = 4
CHEAP = Fidelity(size=INPUTS, train=48, val=32, epochs=EPOCHS)
EPOCH = epoch(loss=2.0, terms={"mse": 2.0}, scores={"mse": 1.0}, value=1.0, best=1.0)
FULL = Fidelity(size=INPUTS, train=64, val=32, epochs=EPOCHS + 1, test=40)


@dataclass(frozen=True)
class Victim(Toy):
    """Takes `pace` seconds an epoch, and does `deed` in the epoch `when`; where `here` names a file, only while that
    exists."""

    pace: float = 0.0
    deed: str = ""  # "die", "stop", "hang", "lock", "raise", "hoard", "fill"
    when: int = 1
    here: str = ""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        if split == "train":
            time.sleep(self.pace)
        return super().batches(split, fidelity, batch_size, rng)

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        if self.deed and at.epoch == self.when and (not self.here or Path(self.here).exists()):
            _do(self.deed)
        return super().loss(model, batch, at)


def _do(deed: str) -> None:
    if deed == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if deed == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return  # somebody has sent SIGCONT
    if deed == "hang":
        time.sleep(3600)
    if deed == "lock":
        sum(range(10**12))  # native code that never gives Python's lock back
    if deed == "fill":
        kept = bytes(os.urandom(2**20)) * 200
        time.sleep(3600 + len(kept))
    if deed == "hoard":
        torch.empty(2**34)
    raise RuntimeError("the task cannot do this")


def victims(**changes) -> StudySpec:
    """A study with everything that an interruption could disturb: draws, pruning, dropout and a running average.
    `changes` are fields of the study."""
    fields = {
        "name": "victims",
        "task": Victim(),
        "recipe": Recipe(lr=0.1, batch_size=16, ema=0.5),
        "space": {"recipe.lr": log(1e-3, 0.5), "task.shift": uniform(-1, 1), "task.dropout": choose(0.0, 0.2)},
        "smoke": CHEAP,
        "cheap": CHEAP,
        "full": FULL,
        "trials": 10,
        "startup_trials": 4,
        "keep": 1,
        "seeds": 2,
        "pruning": Median(warmup_epochs=1, min_trials=2, startup_trials=3),
    }
    return StudySpec(**{**fields, **changes})


def swept(study: StudySpec, folder: Path, *, workers: int = 1) -> None:
    sweep(study, RunFolder(folder), identity(study), workers=workers, device="cpu")


INTERRUPTED = victims(trials=3, pruning=None)


def interrupted(folder: Path, study: StudySpec = INTERRUPTED, trial: int = 1) -> None:
    """A sweep whose process has killed itself when the trial had two checkpoints."""

    def act() -> None:
        save = checkpoint.save

        def save_and_die(to: Path, epoch: int, state: dict[str, Any]) -> Path:
            path = save(to, epoch, state)
            if to.name == f"{trial:04d}" and epoch == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return path

        checkpoint.save = save_and_die
        swept(study, folder)

    assert code_of(start(act)) == -signal.SIGKILL
    assert reached(folder / "sweep" / f"{trial:04d}") == 1


def curve(study: StudySpec, params: dict, number: int) -> list[float]:
    """What an undisturbed run of a trial's params reports, in this process, and without the waiting."""
    task, recipe = study.configure(params, study.cheap)
    return [
        progress.best
        for progress in fit(
            replace(task, pace=0.0), recipe, study.cheap, seed=study.training_seed(number), device="cpu"
        )
    ]


def coordinator(study: StudySpec, folder: Path, *, workers: int = 2, **how) -> int:
    """The id of a process that sweeps with forked workers."""

    def act() -> None:
        with forked_workers():
            swept(study, folder, workers=workers)

    return start(act, **how)


def checked(folder: Path, trials: int) -> None:
    """Check the invariants, in a process of its own."""
    done = subprocess.run(
        [sys.executable, check.__file__, str(folder), str(trials)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [], done.stdout


def stored(folder: Path) -> dict:
    """The rows of a sweep, by number, read from the tables."""
    return check.rows(check.sqlite_query(folder / "study.db"), folder.name)


def asked(folder: Path, number: int) -> dict:
    return json.loads((folder / "sweep" / f"{number:04d}" / "trial.json").read_text())["params"]


def events(folder: Path, name: str) -> list[dict]:
    if not (folder / "events.log").exists():
        return []
    return [
        line
        for line in map(_parsed, (folder / "events.log").read_text(errors="replace").splitlines())
        if line.get("event") == name
    ]


def submitted_by(folder: Path, pid: int) -> list[dict]:
    """The jobs that this coordinator has given to its workers. The start of a job does not say whose job it is: the
    worker of a killed coordinator may still begin one."""
    return [event for event in events(folder, "submit") if event["pid"] == pid]


def _parsed(line: str) -> dict:
    """The event of a line; none where a full disk has left half of the line."""
    try:
        return json.loads(line)
    except ValueError:
        return {}


def attempts(folder: Path, trial: int) -> list[dict]:
    """The starts of one trial: a second one is its next attempt, after an interruption."""
    return [event for event in events(folder, "start") if event["trial"] == trial]


def trial_at(folder: Path, pid: int) -> int:
    """The trial that a process has started last."""
    return next(event["trial"] for event in reversed(events(folder, "start")) if event["pid"] == pid)


def at_work(folder: Path) -> list[int]:
    """The processes that are training now."""
    ended = {event["trial"]: event["at"] for event in events(folder, "end")}
    return [event["pid"] for event in events(folder, "start") if event["trial"] not in ended and alive(event["pid"])]


def each_as_undisturbed(study: StudySpec, folder: Path) -> None:
    """Every trial's curve is that of a run of its params alone."""
    for number in (int(path.name) for path in (folder / "sweep").iterdir()):
        history = json.loads((folder / "sweep" / f"{number:04d}" / "result.json").read_text())["history"]
        assert [epoch["best"] for epoch in history] == curve(study, asked(folder, number), number)[: len(history)]
