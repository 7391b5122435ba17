"""The standard streams of a process that works for hours: they may be closed, or nobody reads them any more."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOST = (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EDQUOT)  # no reader, no terminal, no room on the disk


class _Unheard(io.FileIO):
    """Writes to a descriptor; drops what cannot be written, as in `hpo preflight disc.py | head -1`."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in LOST:
                raise
            return memoryview(data).nbytes


def steady_streams() -> None:
    """Let no print end the work: that nobody listens is no reason for a trial to fail, or for a no-go.

    What the stream's encoding does not have is shown as an escape. Standard streams that are closed lead nowhere:
    the next file to be opened would have their number, and be written into.
    """
    for number in (0, 1, 2):
        open_if_closed(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115  # it stays open
    sys.stdout = steady(1, sys.stdout)
    sys.stderr = steady(2, sys.stderr)


def open_if_closed(number: int) -> None:
    """Make a descriptor that is closed lead nowhere."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        if opened != number:
            os.dup2(opened, number)
            os.close(opened)
        os.set_inheritable(number, True)


def steady(number: int, before: TextIO | None) -> io.TextIOWrapper:
    """A stream on the descriptor, in the encoding of the stream before, which is flushed."""
    if before is not None:
        before.flush()
    buffer = io.BufferedWriter(_Unheard(number, "w", closefd=False))
    encoding = before.encoding if before is not None else None
    return io.TextIOWrapper(buffer, encoding, errors="backslashreplace", line_buffering=True, write_through=number == 2)


def leads_to(number: int, stream: TextIO | None) -> bool:
    """Whether the stream writes to that descriptor, and does nothing else."""
    return type(stream) is io.TextIOWrapper and stream.fileno() == number
