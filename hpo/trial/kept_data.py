"""What was found out about a study's data, in runs/STUDY/data.json: so that a resume does not read the data again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hpo.files import write_whole
from hpo.storage.folder import RunFolder

LONG_S = 5.0  # of a reading that nobody wants to wait for again


class KeptData:
    """Records by key, kept in the study's folder where `write` is called; without a folder, in this process alone.

    A file that is lost or damaged costs time, and nothing else.
    """

    def __init__(self, folder: RunFolder | None = None) -> None:
        self.folder = folder
        self.records = dict(_read(folder))

    def __getitem__(self, key: str) -> Any:
        return self.records.get(key)

    def keep(self, key: str, record: Any, seconds: float) -> None:
        """Keep what it has taken so long to find out: on disk at once where that was long, whatever the command comes
        to. Else a command that is refused writes nothing."""
        self.records[key] = record
        if seconds > LONG_S:
            self.write()

    def write(self) -> None:
        """Write the records down, where the study's folder is there: a command that is refused makes none."""
        if self.folder is not None and self.folder.path.is_dir() and self.records:
            text = json.dumps({**_read(self.folder), **self.records}, sort_keys=True)
            write_whole(self.folder.data, f"{text}\n".encode())


def _read(folder: RunFolder | None) -> Mapping[str, Any]:
    try:
        records = json.loads(folder.data.read_bytes()) if folder else {}
    except (OSError, ValueError):
        return {}
    return records if isinstance(records, dict) else {}
