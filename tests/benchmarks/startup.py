"""How long a person waits: from Enter to the first epoch that is trained and saved, for a look at a study, and for a
sweep that finds all its trials done.

    python -m tests.benchmarks.startup [TIMES]

The task's epochs take milliseconds, so that what is measured is the start. Beside it, a script that does no more than
import torch and Optuna and take one step of an optimizer.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpo.engine.checkpoint_files import reached
from hpo.storage.folder import RunFolder
from tests.benchmarks.history import make_history
from tests.benchmarks.measured import ENVIRONMENT, Measured, Row, spent, spread
from tests.benchmarks.quick import study

HPO = (sys.executable, "-m", "hpo")
SWEEP = (*HPO, "sweep", "tests/benchmarks/quick.py", "--force", "--workers", "1")
DONE = 1000  # trials of the sweep that is found done
BARE = """
import optuna, torch
model = torch.nn.Linear(6, 2)
optimizer = torch.optim.AdamW(model.parameters())
model(torch.randn(16, 6)).square().mean().backward()
optimizer.step()
"""
PATIENCE_S = 120.0


def measure(times: int = 5) -> Measured:
    first, bare, status, helped = [], [], [], []
    again = seconds_again(times)
    for _ in range(times):
        with tempfile.TemporaryDirectory() as runs:
            first.append(seconds_to_first_epoch(Path(runs)))
            status.append(spent(*HPO, "status", "--runs", runs).cpu)
        bare.append(spent(sys.executable, "-c", BARE).wall)
        helped.append(spent(*HPO, "--help").wall)
    print(f"first epoch {spread(first)} s, bare {spread(bare)}, again {spread(again)}", flush=True)
    print(f"status {spread(status)} CPU s", flush=True)
    return Measured(
        rows=(
            Row(
                "seconds from Enter to the first epoch, trained and saved",
                spread(first),
                "3.0",
                "seconds from Enter to the first epoch",
            ),
            Row("seconds of a bare script: import torch and Optuna, one step of AdamW", spread(bare)),
            Row("CPU seconds of `hpo status`", spread(status), "0.3", "CPU seconds of `hpo status`"),
            Row(
                f"seconds of a sweep whose {DONE:,} trials are done",
                spread(again),
                "3.0",
                f"seconds of a sweep whose {DONE:,} trials are done",
            ),
            Row("seconds of `hpo --help`", spread(helped)),
        ),
        how="A task whose epochs take milliseconds, on a warm disk, in turn.",
    )


def seconds_to_first_epoch(runs: Path) -> float:
    """Begin a sweep, wait for its first checkpoint, and end it."""
    command = [*SWEEP, "--runs", str(runs)]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT)
    try:
        while reached(runs / "quick" / "sweep" / "0000") < 0:
            if process.poll() is not None or time.perf_counter() - started > PATIENCE_S:
                raise RuntimeError(f"{' '.join(command)} came to no epoch; it ended with {process.returncode}")
            time.sleep(0.005)
        return time.perf_counter() - started
    finally:
        process.terminate()  # a shell may start programs that ignore Ctrl-C
        process.wait()


def seconds_again(times: int) -> list[float]:
    """The seconds of sweeps that find all their trials done."""
    with tempfile.TemporaryDirectory() as runs:
        make_history(study, RunFolder(Path(runs) / study.name), DONE)
        return [spent(*SWEEP, "--trials", str(DONE), "--runs", runs).wall for _ in range(times)]


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
