"""How long a person waits: from Enter to the first epoch that is trained and saved, and what a look at a study costs.

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
from tests.benchmarks.measured import ENVIRONMENT, Measured, Row, spent, spread

HPO = (sys.executable, "-m", "hpo")
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
    for _ in range(times):
        with tempfile.TemporaryDirectory() as runs:
            first.append(seconds_to_first_epoch(Path(runs)))
            status.append(spent(*HPO, "status", "--runs", runs).cpu)
        bare.append(spent(sys.executable, "-c", BARE).wall)
        helped.append(spent(*HPO, "--help").wall)
    print(f"first epoch {spread(first)} s, bare {spread(bare)} s, status {spread(status)} CPU s", flush=True)
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
            Row("seconds of `hpo --help`", spread(helped)),
        ),
        how="A task whose epochs take milliseconds, on a warm disk, in turn.",
    )


def seconds_to_first_epoch(runs: Path) -> float:
    """Begin a sweep, wait for its first checkpoint, and end it."""
    command = [*HPO, "sweep", "tests/benchmarks/quick.py", "--force", "--workers", "1", "--runs", str(runs)]
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


if __name__ == "__main__":
    measure(*map(int, sys.argv[1:]))
