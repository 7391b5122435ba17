"""A log that grows without end is cut in its middle: its beginning and its end say most."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

HEAD, TAIL = 2**18, 3 * 2**18  # bytes that are kept, in whole lines where there are any
LONGEST = 2 * (HEAD + TAIL)  # of a log that is being written
CUT = re.compile(rb"\[hpo\] ([0-9]+) bytes that came here were cut out\n")
LONGEST_CUT = 80  # bytes of such a line


def shorten(log: Path, longest: int = LONGEST) -> None:
    """Cut the middle out of a log of more than `longest` bytes, and say there how much was cut, all told.

    The file stays the same one, so that whoever appends to it goes on. Only what is appended between the last look at
    its end and the cut, a few microseconds, is lost. Raises OSError.
    """
    if log.lstat().st_size <= longest:
        return
    descriptor = os.open(log, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another process may be at it
        _cut_middle(descriptor)
    finally:
        os.close(descriptor)


def _cut_middle(descriptor: int) -> None:
    """Move the end of the file to behind its beginning, and cut off what follows then."""
    end = os.fstat(descriptor).st_size
    start = os.pread(descriptor, HEAD + LONGEST_CUT, 0)
    earlier = CUT.search(start)
    head = earlier.start() if earlier else start.rfind(b"\n", 0, HEAD) + 1 or HEAD
    begin = earlier.end() if earlier else head
    tail = _last_lines(os.pread(descriptor, TAIL, end - TAIL))
    cut = end - len(tail) - begin + (int(earlier[1]) if earlier else 0)
    at = head
    content = b"[hpo] %d bytes that came here were cut out\n%s" % (cut, tail)
    while content:
        at += os.pwrite(descriptor, content, at)
        content = os.pread(descriptor, TAIL, end)  # what was appended meanwhile
        end += len(content)
    os.ftruncate(descriptor, at)


def _last_lines(content: bytes) -> bytes:
    """The content without the half of a line that it begins with; all of it where there is one line only."""
    rest = content.partition(b"\n")[2]
    return rest or content
