"""Shows a log on the screen while it grows."""

from __future__ import annotations

import codecs
import os
from typing import TextIO

from hpo.output.streams import leads_to, steady

CHUNK = 2**16


class Screen:
    """Copies what is appended to an open log to where `stream` leads: above a progress bar, into a notebook's cell, or,
    where that is standard output itself, to `descriptor`, a copy of it."""

    def __init__(self, log: int, stream: TextIO, descriptor: int) -> None:
        self._log, self._at = log, os.fstat(log).st_size
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stream = steady(descriptor, stream) if leads_to(1, stream) else stream

    def show_new(self) -> None:
        """Show what was appended since the last time. Where nothing was, half a line is shown, too: it may ask."""
        content = os.pread(self._log, CHUNK, self._at)
        if not content:
            self._stream.flush()
        while content:
            self._stream.write(self._decoder.decode(content))
            self._at += len(content)
            content = os.pread(self._log, CHUNK, self._at)

    def skip_to_end(self) -> None:
        """Go on at the end: the log was cut."""
        self._at = min(self._at, os.fstat(self._log).st_size)
