"""The search of other libraries on the same tables: ASHA of Ray Tune and of Syne Tune, in an environment of their own.

    python -m tests.benchmarks.peers [SEEDS]

The environment is made once, in $HPO_PEERS or .cache/peers. Where the libraries cannot be installed, the rows say so.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import optuna

from tests.benchmarks.measured import Measured, Row
from tests.benchmarks.replay import mean_time, played, tables_here
from tests.benchmarks.search.searches import Stock
from tests.benchmarks.search.tables import read_table

FOLDER = Path(os.environ.get("HPO_PEERS", ".cache/peers"))
PACKAGES = ("ray[tune]", "syne-tune", f"optuna=={optuna.__version__}", "lazy-loader")
INSTALL_S = 600
LIBRARIES = ("Ray Tune", "Syne Tune")


def measure(seeds: int = 32) -> Measured:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    how = f"ASHA with a reduction factor of 3 from 1 epoch on, random configurations, 1 worker, {seeds} seeds."
    quantity = "{}, ASHA: speed-up over stock Optuna to a regret of 0.10"
    try:
        python = installed()
    except (subprocess.SubprocessError, OSError) as error:
        reason = f"could not be installed here ({type(error).__name__})"
        return Measured(tuple(Row(quantity.format(name), reason) for name in LIBRARIES), how)
    paths = tables_here()
    command = [str(python), "-m", "tests.benchmarks.peers_replay", str(seeds), *map(str, paths)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    times: dict[str, list[float]] = json.loads(output.splitlines()[-1])
    stock = [mean_time(runs, 0.10) for runs in played(Stock, list(map(read_table, paths)), 1, seeds)]
    rows = []
    for name in LIBRARIES:
        ratios = [own / other for own, other in zip(stock, times[name], strict=True)]
        rows.append(Row(quantity.format(name), f"{statistics.geometric_mean(ratios):.2f}"))
    return Measured(tuple(rows), how)


def installed() -> Path:
    """The interpreter of the environment, which is made where it is not there. Raises where that fails."""
    python = FOLDER / "bin" / "python"
    probe = [str(python), "-c", "import ray.tune, syne_tune, optuna"]
    if python.exists() and subprocess.run(probe, capture_output=True).returncode == 0:
        return python
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True, capture_output=True)
    install = [str(python), "-m", "pip", "install", "-q", *PACKAGES]
    subprocess.run(install, check=True, capture_output=True, timeout=INSTALL_S)
    subprocess.run(probe, check=True, capture_output=True)
    return python


if __name__ == "__main__":
    for row in measure(*map(int, sys.argv[1:])).rows:
        print(f"{row.quantity}: {row.measured}")
