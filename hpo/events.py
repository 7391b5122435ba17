"""What happened to a study, a JSON line each, in runs/<study>/events.log: what to read after a bad night."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_log: Path | None = None  # of the study that this process works for


def keep(path: Path) -> None:
    """Append this process's events to `path` from now on."""
    global _log
    _log = path


def record(event: str, **fields: Any) -> None:
    """One line. A disk that is full is not made worse by saying so: what cannot be written is dropped."""
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
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"  # a full disk took half a line
            text = "\n" * torn + json.dumps(line) + "\n"
            os.write(descriptor, text.encode())  # one write: lines of several processes do not mix
        finally:
            os.close(descriptor)
    except OSError:
        return
