"""Reads the log of a trial, also while it is written."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hpo.files import no_link

LOOK_S = 0.2
CHUNK = 2**16


def text_of(log: Path) -> str:
    """The whole log. What is not UTF-8 is shown as replacement characters."""
    return log.read_text(encoding="utf-8", errors="replace")


def follow(log: Path, has_ended: Callable[[], bool]) -> Iterator[str]:
    """Yield the log piece by piece, and what is appended to it, until it has ended and all of it was yielded.

    A log that is not there yet is waited for. Where it was cut meanwhile, goes on at its end.
    """
    decoder, at = codecs.getincrementaldecoder("utf-8")(errors="replace"), 0
    while True:
        is_last = has_ended()  # before the log is read: what was written until then is shown
        content = b""
        if log.exists():
            with open(log, "rb", opener=no_link) as file:
                at = min(at, file.seek(0, 2))
                file.seek(at)
                content = file.read(CHUNK)
        at += len(content)
        if content:
            yield decoder.decode(content)
        elif is_last:
            return
        else:
            time.sleep(LOOK_S)
