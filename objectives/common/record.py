"""What a folder of outputs says about itself: OUT/hpo-record.jsonl, a line for the settings and one for each output.

A line is appended and synced as a whole. A line that a kill has cut off is dropped when the file is opened again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

RECORD = "hpo-record.jsonl"


@dataclass(frozen=True)
class Entry:
    """An output that was whole when this was written."""

    name: str  # of its job
    sha256: str  # of its inputs
    output: str  # its path inside OUT
    facts: Mapping[str, Any]


class Record:
    """The record of one OUT, held by one process at a time. Use it in a `with` statement."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.path = out / RECORD
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))  # as they will be read
        self.entries: dict[str, Entry] = {}  # by the name of the job; the last one holds
        self._file: BinaryIO | None = None

    def __enter__(self) -> Record:
        """Read the record. Raises ValueError where another process holds it, or it is of other settings."""
        if self.path.exists():
            self._open()
            try:
                self._read()
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, entry: Entry, file: Path) -> None:
        """Append an entry for an output whose content is in `file`: that is on the disk first."""
        with file.open("rb") as content:
            os.fsync(content.fileno())
        if self._file is None:
            self._open()
            self._read()
        self._append(asdict(entry))
        self.entries[entry.name] = entry

    def _open(self) -> None:
        self._file = self.path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._close()
            raise ValueError(f"another command is writing to {self.path.parent}; wait for its end") from error
        except OSError:  # a file system without locks: then nobody is kept out
            pass

    def _read(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        lines = whole.splitlines()
        if not lines:
            self._append({"settings": self.settings})
            return
        try:
            self._check_settings(json.loads(lines[0])["settings"])
            entries = [Entry(**json.loads(line)) for line in lines[1:]]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is damaged ({error}); name another folder") from error
        self.entries = {entry.name: entry for entry in entries}

    def _check_settings(self, before: Mapping[str, Any]) -> None:
        if before == self.settings:
            return
        names = sorted(set(before) | set(self.settings))
        changes = [
            f"{name} was {before.get(name)!r} and is {self.settings.get(name)!r}"
            for name in names
            if before.get(name) != self.settings.get(name)
        ]
        raise ValueError(
            f"{self.path.parent} holds outputs of other settings ({'; '.join(changes)}); name another folder"
        )

    def _append(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
