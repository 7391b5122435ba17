"""optuna-dashboard, to look at a study: on loopback alone, and on a copy, so that no change made there reaches it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna

from hpo.errors import Refused
from hpo.storage.database import open_storage, stored_study
from hpo.storage.folder import SQLITE, RunFolder, promotion_name
from hpo.storage.transient import failures_as_halted

LOOPBACK = "127.0.0.1"  # the dashboard asks for no password: whoever reaches it can change everything


@failures_as_halted()
def serve(folder: RunFolder, port: int, ready: Callable[[str], None]) -> None:
    """Show the study as it is now, until this process is stopped. Raises Refused where there is none."""
    try:
        from optuna_dashboard import run_server
    except ImportError as error:
        raise Refused("the dashboard is not installed; pip install 'hpo[dashboard]'") from error
    with tempfile.TemporaryDirectory(prefix="hpo-dashboard-") as private:
        copy = copied(folder, Path(private) / "copy.db")
        ready(f"http://{LOOPBACK}:{port}")
        run_server(copy, host=LOOPBACK, port=port)


def copied(folder: RunFolder, path: Path) -> str:
    """The URL of a copy, taken without disturbing a study that runs."""
    url = f"{SQLITE}{path}"
    if folder.storage.startswith(SQLITE) and folder.database.exists():
        source = sqlite3.connect(f"{folder.database.as_uri()}?mode=ro", uri=True)
        with closing(source), closing(sqlite3.connect(path)) as target:
            source.backup(target)
        return url
    names = [name for name in (folder.path.name, promotion_name(folder.path.name)) if stored_study(folder, name)]
    if not names:
        raise Refused(f"there is no storage of {folder.path} to show; a sweep makes it")
    storage = open_storage(folder.storage)
    for name in names:
        optuna.copy_study(from_study_name=folder.name_of(name), from_storage=storage, to_storage=url)
    return url
