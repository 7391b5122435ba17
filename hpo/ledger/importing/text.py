"""The text of a file that people have kept by hand: UTF-8, one kind of line end, mangled characters repaired."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import Refused
from hpo.ledger.importing.marks import STATUS_OF_MARK

MISREAD_AS = ("mac_roman", "cp1252", "cp850", "cp437")  # how UTF-8 is read by programs that expect something older


@dataclass(frozen=True)
class Repair:
    """Characters that some program had read in a wrong encoding."""

    line: int
    mangled: str
    repaired: str


@dataclass(frozen=True)
class Source:
    """The text of a file, with `\\n` at the end of its lines, and what was repaired in it."""

    path: Path
    text: str
    repairs: tuple[Repair, ...]

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")


def read_source(path: Path) -> Source:
    """Read a file. Raises Refused where it is missing, empty, no UTF-8, or a page of hpo's own."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise Refused(
            f"{path} must be UTF-8, and is not in line {line}; convert it first: iconv -f CP1252 -t UTF-8 {path}"
        ) from error
    if not text.strip():
        raise Refused(f"{path} is empty")
    text, repairs = repaired(re.sub(r"\r\n?", "\n", text))
    return Source(path, text, tuple(repairs))


def repaired(text: str) -> tuple[str, list[Repair]]:
    """The text with characters put right that UTF-8 became when it was read as something else.

    Characters are repaired in a text most of whose unusual characters can be, and elsewhere where a status mark comes
    of it: `√±` alone may be meant.
    """
    runs = [run for run in _UNUSUAL.findall(text)]
    encoding = max(MISREAD_AS, key=lambda name: sum(_reread(run, name) is not None for run in runs))
    can_be = sum(_reread(run, encoding) is not None for run in runs)
    repairs = []

    def repair(run: re.Match[str]) -> str:
        meant = _reread(run[0], encoding)
        if meant is None or not (2 * can_be >= len(runs) or STATUS_OF_MARK.keys() & set(meant)):
            return run[0]
        repairs.append(Repair(text.count("\n", 0, run.start()) + 1, run[0], meant))
        return meant

    return _UNUSUAL.sub(repair, text), repairs


_UNUSUAL = re.compile(r"[^\x00-\x7f]+")


def _reread(run: str, encoding: str) -> str | None:
    """What was meant by characters that came of UTF-8 read in `encoding`; None where they did not."""
    content = b""
    for character in run:
        try:
            content += character.encode(encoding)
        except UnicodeEncodeError:
            if not "\x80" <= character <= "\x9f":  # these stand for themselves where an encoding has nothing there
                return None
            content += character.encode("latin-1")
    try:
        meant = content.decode()
    except UnicodeDecodeError:
        return None
    return meant if all(unicodedata.category(sign) not in ("Cc", "Cn", "Co") for sign in meant) else None
