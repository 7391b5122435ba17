"""Nothing is lost under load: 8 worker processes, 320 trials of 10 reports each, on SQLite and on PostgreSQL.

`python -m tests.benchmarks.load sqlite` (or `postgresql`) prints what was asked for, what is stored, what is lost, and
the time. The server is started for it, on loopback; every trial's row is compared with the trial's own folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from hpo.recipe import Recipe
from hpo.search.sweep import sweep
from hpo.space import log, uniform
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.provenance import identity
from tests.faults import check, servers
from tests.toy import INPUTS, Toy

WORKERS, TRIALS, REPORTS = 8, 320, 10
FIDELITY = Fidelity(size=INPUTS, train=32, val=32, epochs=REPORTS)
STUDY = StudySpec(
    name="load",
    task=Toy(),
    recipe=Recipe(lr=0.1, batch_size=16),
    smoke=FIDELITY,
    cheap=FIDELITY,
    full=FIDELITY,
    space={"recipe.lr": log(1e-3, 0.3), "task.shift": uniform(-1, 1)},
    trials=TRIALS,
    startup_trials=TRIALS,
    pruning=None,
)


@contextmanager
def storage(kind: str) -> Iterator[tuple[RunFolder, check.Query]]:
    with tempfile.TemporaryDirectory(prefix="hpo-load-") as base:
        folder = Path(base) / "runs" / STUDY.name
        if kind == "sqlite":
            yield RunFolder(folder), lambda text: check.sqlite_query(folder / "study.db")(text)
            return
        Path(base).chmod(0o755)  # the user postgres must come in
        with servers.postgres(Path(base) / "server") as server:
            os.environ["PGPASSFILE"] = str(server.passfile)
            server.fresh()
            yield RunFolder(folder, server.url), server.query


def measure(kind: str) -> None:
    with storage(kind) as (folder, query):
        began = time.monotonic()
        sweep(STUDY, folder, identity(STUDY), workers=WORKERS, device="cpu")
        seconds = time.monotonic() - began
        rows = check.rows(query, STUDY.name)
        complete = sum(row["state"] == "COMPLETE" for row in rows.values())
        reports = sum(len(row["reports"]) for row in rows.values())
        wrong = list(check.violations(folder.path, TRIALS, query))
    asked = TRIALS * REPORTS
    print(
        f"{kind}: {WORKERS} workers, {complete} of {TRIALS} trials complete, {reports} of {asked} reports; lost: "
        f"{TRIALS - complete} trials, {asked - reports} reports; violations: {len(wrong)}; {seconds:.0f} s, "
        f"{TRIALS / seconds:.1f} trials/s",
        flush=True,
    )
    assert not wrong, wrong


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    measure(sys.argv[1])
