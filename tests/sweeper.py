"""A process that sweeps on request and can be killed: `python -m tests.sweeper`.

It imports everything once and then forks a child for each request (a line of JSON: the fields of Request), so that a
test can kill a real sweep dozens of times without paying for dozens of imports. It answers a line with the child's
process id, and, once that has ended, one with its exit code (negative: the signal that killed it).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
import torch

from hpo.contract.pruning import Median
from hpo.recipe import Recipe
from hpo.search.sweep import sweep
from hpo.space import choose, log, uniform, when
from hpo.storage.database import _opened_once
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.provenance import identity
from tests.toy import INPUTS, Toy

FIDELITY = Fidelity(size=INPUTS, train=48, val=32, epochs=4)

# Conditional and joint draws, pruning, a spared trial, early stopping, dropout and an average: all that an interruption
# could disturb.
STUDY = StudySpec(
    name="interrupted",
    task=Toy(),
    recipe=Recipe(lr=0.1, batch_size=16, ema=0.5, patience=2),
    space={
        "recipe.lr": log(1e-3, 0.5),
        "task.dropout": choose(0.0, 0.3),
        "task.shift": when("task.dropout", 0.3, uniform(-1, 1)),
        "task.pull": uniform(0, 1),
    },
    smoke=FIDELITY,
    cheap=FIDELITY,
    full=FIDELITY,
    trials=8,
    startup_trials=4,
    pruning=Median(warmup_epochs=1, min_trials=2, startup_trials=2),
    seed=2,
)


OBJECTS: dict[str, dict[str, Any]] = {  # samplers and pruners of Optuna's
    "": {},
    "CMA-ES": {"search": optuna.samplers.CmaEsSampler(popsize=4), "pruning": None},
    "GP": {"search": optuna.samplers.GPSampler(n_startup_trials=3), "pruning": Median(1)},
    "ladder": {"pruning": "auto"},
    "QMC": {"search": optuna.samplers.QMCSampler(scramble=True), "pruning": None},
    "Hyperband": {
        "search": optuna.samplers.TPESampler(n_startup_trials=3),
        "pruning": optuna.pruners.HyperbandPruner(min_resource=1, reduction_factor=2),
    },
}


@dataclass(frozen=True)
class Request:
    folder: str
    trials: int = STUDY.trials
    die_at: int = 0  # the process kills itself at this moment: before a commit to the storage or the rename of a file
    at: str = ""  # only renames to a name with this in it are counted
    past: bool = False  # at the first moment of any kind after that one, instead
    after: float = 0.0  # it is sent the signal after so many seconds
    signal: int = signal.SIGKILL
    name: str = STUDY.name
    warm: str | None = None  # an earlier study, in the folder beside this one
    objects: str = ""  # which of OBJECTS search and prune


def rows(folder: Path, name: str = STUDY.name) -> list[dict[str, Any]]:
    """All that a trial is, but for the time it took."""
    trials = optuna.load_study(study_name=name, storage=RunFolder(folder).storage).trials
    return [
        {
            "number": trial.number,
            "state": trial.state.name,
            "values": trial.values,
            "params": trial.params,
            "intermediate": trial.intermediate_values,
            "constraints": trial.constraints,
            "attributes": {key: value for key, value in trial.user_attrs.items() if key != "seconds"},
        }
        for trial in trials
    ]


def serve() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # what is imported at its first use would take each child a second
        _sweep(Request(folder, trials=1))
    _opened_once.cache_clear()
    for line in sys.stdin:
        request = Request(**json.loads(line))
        pid = os.fork()
        if pid == 0:
            _run(request)
        print("started", pid, flush=True)
        if request.after:
            time.sleep(request.after)
            os.kill(pid, request.signal)  # it may have ended, but has not been waited for: the number is still its own
        _, status = os.waitpid(pid, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)


def _run(request: Request) -> None:
    """In the child; never returns."""
    code = 1
    try:
        if request.die_at:
            _die(request)
        _sweep(request)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def _sweep(request: Request) -> None:
    given = OBJECTS[request.objects]
    study = replace(STUDY, trials=request.trials, name=request.name, warm=request.warm, **given)
    sweep(study, RunFolder(Path(request.folder)), identity(study), device="cpu")


def _die(request: Request) -> None:
    seen = 0

    def moment(name: str = "") -> None:
        nonlocal seen
        if request.past and seen == request.die_at:
            os.kill(os.getpid(), request.signal)
        seen += request.at in name
        if not request.past and seen == request.die_at:
            os.kill(os.getpid(), request.signal)

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "commit", lambda connection: moment())
    sys.addaudithook(lambda name, arguments: moment(str(arguments[1])) if name == "os.rename" else None)


class Sweeper:
    """The test's end of the line."""

    def __init__(self, process: subprocess.Popen) -> None:
        self._process = process
        self._running = 0

    def start(self, request: Request) -> int:
        """The id of the process that sweeps."""
        self._process.stdin.write(json.dumps(asdict(request)) + "\n")
        self._process.stdin.flush()
        self._running = self._answer("started")
        return self._running

    def code(self) -> int:
        """Wait until it has ended."""
        code = self._answer("ended")
        self._running = 0
        return code

    def stop(self) -> None:
        """Kill what is running, if anything is."""
        if self._running:
            with suppress(ProcessLookupError):
                os.kill(self._running, signal.SIGKILL)
            self.code()

    def _answer(self, expected: str) -> int:
        said, number = self._process.stdout.readline().split()
        assert said == expected
        return int(number)


@contextmanager
def sweeper(hash_seed: int) -> Iterator[Sweeper]:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sweeper"],
        cwd=Path(__file__).parent.parent,
        text=True,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Sweeper(process)
    finally:
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    serve()
