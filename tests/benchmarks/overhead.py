"""What the harness costs: a whole `hpo sweep` against a plain script that trains the same trials, in turn.

    python -m tests.benchmarks.overhead [PAIRS]

Both are whole processes, imports included, with one worker and glibc's allocator set alike. Prints each pair's
seconds, whether the values agree, and the median ratio hpo / plain.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna

from hpo.storage.folder import RunFolder

ENVIRONMENT = {
    **os.environ,
    "OMP_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}


def timed(*command: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    return time.perf_counter() - started, done.stdout


def sweep(folder: Path) -> tuple[float, list[dict], list[float]]:
    """Seconds, parameters and values of a fresh sweep."""
    seconds, _ = timed(
        sys.executable,
        "-m",
        "hpo",
        "sweep",
        "tests/benchmarks/small.py",
        "--force",
        "--workers",
        "1",
        "--runs",
        str(folder),
    )
    study = optuna.load_study(study_name="small", storage=RunFolder(folder / "small").storage)
    return seconds, [trial.params for trial in study.trials], [trial.value for trial in study.trials]


def main(pairs: int) -> None:
    ratios = []
    for number in range(pairs + 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            ours, params, values = sweep(folder / "runs")
            (folder / "trials.json").write_text(json.dumps(params))
            plain, printed = timed(
                sys.executable, "-m", "tests.benchmarks.plain", str(folder / "trials.json"), str(folder / "plain.db")
            )
        same = json.loads(printed.splitlines()[-1]) == values
        print(
            f"{'warm-up' if number == 0 else number}: hpo {ours:.1f} s, plain {plain:.1f} s, "
            f"ratio {ours / plain:.3f}, same values: {same}",
            flush=True,
        )
        ratios += [ours / plain] if number else []
    print(f"median ratio {statistics.median(ratios):.3f} over {pairs} pairs")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
