"""The log of a study's events, runs/<study>/events.log: one JSON line for each, to read when something went wrong."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_log: Path | None = None  # the log of the study that this process works for


def keep(path: Path) -> None:
    """Append this process's events to `path` from now on."""
    global _log
    _log = path


def record(event: str, **fields: Any) -> None:
    """Append one line to the log. A line that cannot be written is dropped: a full disk must not stop the work."""
    if _log is None:
        return
    line = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "pid": os.getpid(),
        "host": platform.node(),
        **fields,
    }
    try:
        descriptor = os.open(_log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            last_line_is_torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # the disk was full
            text = json.dumps(line) + "\n"
            if last_line_is_torn:
                text = "\n" + text
            os.write(descriptor, text.encode())  # one write: lines of several processes do not mix
        finally:
            os.close(descriptor)
    except OSError:
        return
