"""The file of `--log`: a line with the time for all that is told of a command."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from hpo import events
from hpo.errors import Refused


class LogFile:
    """A file that lines are appended to; several commands may share it. Raises Refused where it cannot be written.

    A line that cannot be written later, as the disk is full, is lost, which the study's log of events says.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Refused(f"--log: {path} cannot be written: {error.strerror}") from error

    def write(self, line: str) -> None:
        """Append a line, with the time before it."""
        stamped = f"{datetime.now(UTC).isoformat(timespec='seconds')} {line}\n"
        try:
            os.write(self._descriptor, stamped.encode(errors="backslashreplace"))
        except OSError as error:
            events.record("log", lost=line, failed=error.strerror)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
