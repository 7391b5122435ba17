"""The folder of records, experiments/: read by anybody, changed by one process at a time."""

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
from hpo.files import make_folder, write_whole
from hpo.ledger.front_matter import Value
from hpo.ledger.name import Name, name_of, variant_of
from hpo.ledger.question import ID, Question, parse_question, render_question
from hpo.ledger.record import Record, blank, parse, render

NOTES = "notes-"  # how a file with notes that belong to no experiment begins


@dataclass(frozen=True)
class Ledger:
    """A folder of records."""

    path: Path

    def file(self, record_id: str) -> Path:
        """Where the record of an id is, or would be."""
        return self.path / f"{record_id}.md"

    def make(self) -> None:
        """Begin a ledger where there is none."""
        make_folder(self.path)

    def _check(self) -> None:
        if not self.path.is_dir():
            raise Refused(f"there is no ledger in {self.path}; hpo ledger sync begins one, or hpo ledger new")

    def ids(self) -> list[str]:
        """All ids, in the order of their numbers. A file that is not named as an experiment is none."""
        self._check()
        names = [_name_of_file(path) for path in self.path.glob("v*.md")]
        known = [name for name in names if name is not None]
        return [name.id for name in sorted(known, key=lambda name: (name.major, name.minor, name.variant))]

    def records(self) -> list[Record]:
        """All records, in the order of their ids."""
        return [self.read(record_id) for record_id in self.ids()]

    def find(self, text: str) -> Record:
        """The record of an id, or of any name of it. Raises Refused, with the nearest that there is."""
        try:
            record_id = name_of(text).id
        except Refused as error:
            if record := self._of_legacy_name(text):
                return record
            names = [record.legacy_name for record in self.records() if record.legacy_name]
            close = difflib.get_close_matches(text, names, 1)
            raise Refused(f"{error}; did you mean {close[0]!r}?" if close else str(error)) from error
        if not self.file(record_id).exists():
            if record := self._of_legacy_name(text):
                return record
            close = difflib.get_close_matches(record_id, self.ids(), 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise Refused(f"there is no experiment {record_id} in {self.path}{hint}")
        return self.read(record_id)

    def id_of(self, text: str) -> str:
        """The id of the record that had this name before; a text that is no such name as it is."""
        record = self._of_legacy_name(text) if self.path.is_dir() else None
        return record.id if record else text

    def _of_legacy_name(self, text: str) -> Record | None:
        """The record that was called so before it had an id. Raises Refused where several were."""
        wanted = " ".join(text.split()).casefold()
        records = [record for record in self.records() if record.legacy_name.casefold() == wanted and wanted]
        if len(records) > 1:
            raise Refused(f"{' and '.join(record.id for record in records)} were both called {text!r}; give the id")
        return records[0] if records else None

    def read(self, record_id: str) -> Record:
        """The record of an id that there is. Raises Refused where its file is broken."""
        return parse(record_id, self.file(record_id).read_bytes())

    def of_study(self, study: str) -> Record | None:
        """The record that names a study, if there is one. Raises Refused where several do."""
        records = [record for record in self.records() if study in record.studies]
        if len(records) > 1:
            ids = " and ".join(record.id for record in records)
            raise Refused(f"{ids} both name the study {study}; leave it to one of them")
        return records[0] if records else None

    def require_relation(self, key: str, record_id: str, of: str = "") -> None:
        """Raise Refused unless a record may name another one as its parent or successor: one that there is, no circle.

        `of` is the id of the first; empty where that has no children yet.
        """
        ids = self.ids() if self.path.is_dir() else []
        if record_id not in ids:
            close = difflib.get_close_matches(record_id, ids, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; hpo ledger new {record_id} plans it"
            raise Refused(f"{key}: must be an experiment of the ledger; there is no {record_id} in {self.path}{hint}")
        line = [record_id]
        while (ancestor := self.read(line[-1]).field_text(key)) in ids and ancestor not in line:
            line.append(ancestor)
        if of in line:
            raise Refused(f"{key}: must lead to another experiment; {' -> '.join([of, *line])} leads back to {of}")

    def create(self, record_id: str, fields: Mapping[str, Value], *, who: str = "", at: str = "") -> Record:
        """A new record, planned. Under the lock."""
        if self.file(record_id).exists():
            raise Refused(f"there is an experiment {record_id} already, in {self.file(record_id)}")
        return self.write(blank(record_id, at or now(), who or person(), fields))

    def change(self, text: str, change: Callable[[Record], Record]) -> Record:
        """Read a record, change it and write it, all under the lock, so that no other process's change is lost."""
        with self.locked():
            return self.write(change(self.find(text)))

    def write(self, record: Record) -> Record:
        """Write the file whole, or leave it as it was; it is not touched where nothing differs. Under the lock."""
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

    def rename(self, record: Record, new_id: str) -> Record:
        """Another id for a record; whoever names it as a parent or a successor follows. Under the lock."""
        if self.file(new_id).exists():
            raise Refused(f"there is an experiment {new_id} already, in {self.file(new_id)}")
        os.rename(self.file(record.id), self.file(new_id))
        for relative in self.records():
            for key in ("parent", "superseded_by"):
                if relative.field_text(key) == record.id:
                    relative = self.write(relative.with_field(key, new_id))
        return self.read(new_id)

    def next_id(self, study: str) -> str:
        """The next free minor of the highest major, with the study's name."""
        numbers = [name_of(record_id)[:2] for record_id in self.ids()]
        major, minor = max([(1, -1), *numbers])  # 0 is the major of what had no version when it was imported
        return Name(major, minor + 1, variant_of(study)).id

    # -- questions and notes -----------------------------------------------------------------------------------------
    def questions(self) -> list[Question]:
        """All questions, in the order of their numbers."""
        self._check()
        ids = [path.stem for path in self.path.glob("q*.md") if is_question(path.stem)]
        return sorted((self.question(question_id) for question_id in ids), key=lambda question: question.number)

    def question(self, question_id: str) -> Question:
        """The question of an id. Raises Refused where there is none, or where its file is broken."""
        self._check()
        if not self.file(question_id).exists():
            raise Refused(f"there is no question {question_id} in {self.path}")
        return parse_question(question_id, self.file(question_id).read_bytes())

    def next_question_id(self) -> str:
        """The next free number."""
        return f"q{max((question.number for question in self.questions()), default=0) + 1}"

    def write_question(self, question: Question) -> Question:
        """Write the file whole, or leave it as it was. Under the lock."""
        content = render_question(question)
        parse_question(question.id, content)
        write_whole(self.file(question.id), content)
        return question

    def change_question(self, question_id: str, change: Callable[[Question], Question]) -> Question:
        """Read a question, change it and write it, all under the lock."""
        with self.locked():
            return self.write_question(change(self.question(question_id)))

    def notes(self) -> list[str]:
        """The names of the files with notes that belong to no experiment."""
        return sorted(path.name for path in self.path.glob(f"{NOTES}*.md"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that writes here. Waits for another one; the kernel frees the lock when that dies."""
        self._check()
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # the folder itself: no lock file stands among the records
            for unfinished in self.path.glob(".*.tmp"):
                unfinished.unlink()
            yield
        finally:
            os.close(folder)


def is_question(text: str) -> bool:
    """Whether a text is the id of a question: q1."""
    return bool(ID.fullmatch(text))


def now() -> str:
    """The time as a history has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def person() -> str:
    """Who gives the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # nobody, in a container without a name for its user
        return f"user {os.getuid()}"


def _name_of_file(path: Path) -> Name | None:
    """The name of a record's file; None where the file is not named as an experiment without its status."""
    try:
        name = name_of(path.stem)
    except Refused:
        return None
    return name if name.id == path.stem else None
