"""The folder of records, experiments/: read, and changed by one process at a time."""

from __future__ import annotations

import difflib
import fcntl
import getpass
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hpo.errors import Refused
from hpo.files import write_whole
from hpo.ledger.record import Name, Record, blank, name_of, parse, render, variant_of

HARNESS = "hpo"  # who, in a history


@dataclass(frozen=True)
class Ledger:
    """A folder of records."""

    path: Path

    def file(self, id: str) -> Path:
        return self.path / f"{id}.md"

    def make(self) -> None:
        """Begin a ledger where there is none."""
        self.path.mkdir(parents=True, exist_ok=True)

    def _check(self) -> None:
        if not self.path.is_dir():
            raise Refused(f"there is no ledger in {self.path}; hpo ledger sync begins one, or hpo ledger new")

    def ids(self) -> list[str]:
        """In the order of their numbers. A file that is not named as an experiment is none."""
        self._check()
        names = [name for path in self.path.glob("v*.md") if (name := _id_of(path.stem))]
        return [name.id for name in sorted(names, key=lambda name: name[:3])]

    def records(self) -> list[Record]:
        return [self.read(id) for id in self.ids()]

    def find(self, text: str) -> Record:
        """The record of an id, or of any name of it. Raises Refused, with the nearest that there is."""
        id = name_of(text).id
        if not self.file(id).exists():
            near = difflib.get_close_matches(id, self.ids(), 1)
            raise Refused(
                f"there is no experiment {id} in {self.path}" + (f"; did you mean {near[0]}?" if near else "")
            )
        return self.read(id)

    def read(self, id: str) -> Record:
        return parse(id, self.file(id).read_bytes())

    def of_study(self, study: str) -> Record | None:
        found = [record for record in self.records() if record.study == study]
        if len(found) > 1:
            raise Refused(f"{' and '.join(one.id for one in found)} both name the study {study}; leave it to one")
        return found[0] if found else None

    def create(self, id: str, fields: Mapping[str, str | int], *, who: str = "", at: str = "") -> Record:
        """A new record, planned. Under the lock."""
        if self.file(id).exists():
            raise Refused(f"there is an experiment {id} already, in {self.file(id)}")
        return self.write(blank(id, at or now(), who or person(), fields))

    def change(self, text: str, change: Callable[[Record], Record]) -> Record:
        """Read a record, change it and write it, all under the lock: of two processes, each sees what the other did."""
        with self.locked():
            return self.write(change(self.find(text)))

    def write(self, record: Record) -> Record:
        """The file whole, or as it was; not touched where nothing differs. Under the lock."""
        try:
            content = render(record)
        except UnicodeEncodeError as error:
            raise Refused(
                f"what is written into {record.id} must be UTF-8; it holds {error.object[error.start]!r}"
            ) from error
        parse(record.id, content)
        path = self.file(record.id)
        if not path.exists() or path.read_bytes() != content:
            write_whole(path, content)
        return record

    def rename(self, record: Record, id: str) -> Record:
        """Another id for a record; whoever names it as a parent or a successor follows. Under the lock."""
        if self.file(id).exists():
            raise Refused(f"there is an experiment {id} already, in {self.file(id)}")
        os.rename(self.file(record.id), self.file(id))
        for other in self.records():
            for key in ("parent", "superseded_by"):
                if other.named(key) == record.id:
                    other = self.write(other.with_field(key, id))
        return self.read(id)

    def next_id(self, study: str) -> str:
        """The next free minor of the highest major, with the study's name."""
        numbers = [name_of(id)[:2] for id in self.ids()] or [(1, -1)]
        major, minor = max(numbers)
        return Name(major, minor + 1, variant_of(study)).id

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The only process that writes here. Waits for another; the kernel frees it when that dies."""
        self._check()
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # the folder itself: no lock file stands among the records
            for unfinished in self.path.glob(".*.tmp"):
                unfinished.unlink()
            yield
        finally:
            os.close(folder)


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def person() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # nobody, in a container without a name for its user
        return f"user {os.getuid()}"


def _id_of(stem: str) -> Name | None:
    try:
        name = name_of(stem)
    except Refused:
        return None
    return name if name.id == stem else None
