"""One record: its file holds a person's fields, the harness's block, and a person's prose."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hpo.errors import Refused
from hpo.ledger.fields import FIELDS, HEADINGS
from hpo.ledger.front_matter import MERGE, Value, split, toml, with_line
from hpo.ledger.name import STATUSES, name_of
from hpo.ledger.prose import section, with_paragraph

LAST = 10**9  # the priority of a record that has none
HARNESS = "hpo"  # who, in a history
NOT_RUN = "not run"
NOT_MEASURED = "not measured"
NOT_APPLICABLE = "n/a"

MARK = "# -- kept by hpo from here on: edit what stands above this line, and the text below --"
_BLOCK_TYPES = {
    "status": str,
    "history": list,
    "study": dict,
    "identity": dict,
    "space": dict,
    "sweep": dict,
    "promotion": dict,
    "winner": dict,
    "baselines": dict,
    "versions": dict,
    "files": dict,
    "further": dict,
    "imported": dict,
}
OWN = ("status", "history", "imported")  # of the block, what no study says
_TOML_NAMES = {str: "string", list: "list", dict: "table"}


@dataclass(frozen=True)
class Record:
    """An experiment, as its file has it."""

    id: str
    fields: str  # of the person: TOML, as written
    kept: Mapping[str, Any]  # by the harness
    prose: str

    @property
    def status(self) -> str:
        """One of STATUSES."""
        return str(self.kept["status"])

    @property
    def name(self) -> str:
        """The id with the status behind it."""
        return f"{self.id}_{self.status}"

    @property
    def history(self) -> list[Mapping[str, str]]:
        """Every status that the record has had: at, to, who, and perhaps why."""
        history: list[Mapping[str, str]] = self.kept["history"]
        return history

    @cached_property
    def person(self) -> Mapping[str, Any]:
        """The person's fields."""
        return tomllib.loads(self.fields)

    def field_text(self, key: str) -> str:
        """A field of the person's as text; empty where it is not there."""
        return str(self.person.get(key, ""))

    @property
    def title(self) -> str:
        return self.field_text("title")

    @property
    def order(self) -> tuple[int, int, str]:
        """What records are put in order by: the numbers of the id, as numbers."""
        name = name_of(self.id)
        return name.major, name.minor, name.variant

    @property
    def label(self) -> str:
        """The title, after the name that it was known by before it had an id."""
        is_said = self.legacy_name in ("", self.title)
        return self.title if is_said else f"{self.legacy_name}: {self.title}"

    @property
    def legacy_name(self) -> str:
        """What it was called before it had an id."""
        return self.field_text("legacy_name")

    @property
    def studies(self) -> tuple[str, ...]:
        """All studies that it is about."""
        given = self.person.get("study", "")
        return tuple(str(name) for name in given) if isinstance(given, list) else (str(given),) if given else ()

    @property
    def study(self) -> str:
        """The first of its studies, whose result it is ranked by; empty for a run made by hand."""
        return next(iter(self.studies), "")

    @property
    def is_by_hand(self) -> bool:
        """Whether no study stands behind it: a run that a person has made, or that came from a file kept by hand."""
        return not self.studies and not self.part("study")

    @property
    def is_imported_by_hand(self) -> bool:
        """Whether it came from a file that people had kept by hand, and no study stands behind it."""
        return self.is_by_hand and bool(self.part("imported"))

    @property
    def owner(self) -> str:
        """Who answers for it: as the field says, else the first person in its history; empty where that is nobody."""
        people = [str(event["who"]) for event in self.history if event["who"] != HARNESS]
        return self.field_text("owner") or next(iter(people), "")

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that a person has filed it under."""
        tags = self.person.get("tags", ())
        return tuple(str(tag) for tag in tags) if isinstance(tags, list) else ()

    @property
    def priority(self) -> int:
        """A whole number, 1 for what comes first; without one, last."""
        given = self.person.get("priority")
        return given if isinstance(given, int) else LAST

    @property
    def is_superseded(self) -> bool:
        """Whether another experiment has taken its place."""
        return bool(self.field_text("superseded_by"))

    @property
    def date(self) -> str:
        """When it was concluded, else when something last happened to it."""
        ended = self.part("study").get("ended", "")
        return max([str(ended), *(str(event["at"]) for event in self.history)])

    def part(self, name: str) -> Mapping[str, Any]:
        """A table of the harness's block; empty where that stage has not been."""
        part: Mapping[str, Any] = self.kept.get(name, {})
        return part

    def section(self, heading: str) -> str:
        """The person's text under a heading; empty where there is none."""
        return section(self.prose, heading)

    def with_field(self, key: str, value: Value) -> Record:
        """The record with one field of the person's changed, and no other line."""
        changed = replace(self, fields=with_line(self.fields, key, value))
        if not _holds(changed, {**self.person, key: value}):
            raise Refused(
                f"the fields of {self.id} are written so that {key!r} cannot be changed here; "
                f"edit experiments/{self.id}.md"
            )
        return changed

    def with_note(self, heading: str, text: str) -> Record:
        """The record with a paragraph more under a heading; what stood there stays."""
        text = re.sub(r"(?m)^( {0,3})(#{1,6}\s)", r"\1\\\2", text.replace("\r\n", "\n").strip())
        prose = with_paragraph(self.prose, heading, text)
        changed = replace(self, prose=prose)
        others = [name for name in HEADINGS if name != heading]
        if any(changed.section(name) != self.section(name) for name in others):
            raise Refused(f"the note opens a ``` or ~~~ that it does not close; in {heading!r} of {self.id}")
        return changed


def parse(record_id: str, content: bytes) -> Record:
    """A record from its file. Raises Refused naming the id and what is wrong."""
    try:
        return _parse(record_id, content.decode())
    except Refused as error:
        raise Refused(f"the record {record_id}.md {error}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise Refused(f"the record {record_id}.md cannot be read: {error}") from error


def _parse(record_id: str, text: str) -> Record:
    """A record from its text. The message of Refused is a clause: it goes on from the name of the record."""
    parts = split(text)
    conflict = MERGE.search(parts.fields if parts else text)
    if conflict:
        raise Refused(
            f"has an unresolved merge ({conflict[0].strip()}); take either side of what hpo keeps, and "
            f"run: hpo ledger sync"
        )
    if not parts:
        raise Refused("must begin with a line +++, TOML, and another line +++")
    fields, mark, kept = parts.fields.partition(MARK)
    record = Record(record_id, fields, _checked_block(tomllib.loads(kept)), parts.prose)
    if record.person.keys() & (_BLOCK_TYPES.keys() - FIELDS.keys()) and not mark:
        raise Refused(f"has lost its line {MARK!r}")
    return record


def render(record: Record) -> bytes:
    """The file of a record; parse of it is the record again."""
    above = record.fields if record.fields.endswith("\n") or not record.fields else f"{record.fields}\n"
    return f"+++\n{above}{MARK}\n{toml(record.kept)}+++\n{record.prose}".encode()


def blank(record_id: str, at: str, who: str, fields: Mapping[str, Value]) -> Record:
    """A new record, planned."""
    prose = "".join(f"\n## {heading}\n" for heading in HEADINGS)
    return Record(record_id, toml(fields), {"status": "planned", "history": [event(at, who, "planned")]}, prose)


def event(at: str, who: str, to: str, why: str = "") -> dict[str, str]:
    """An entry of the history."""
    entry = {"at": at, "to": to, "who": who}
    return {**entry, "why": why} if why else entry


def _checked_block(block: dict[str, Any]) -> dict[str, Any]:
    """The harness's block, with a status and a history. Raises Refused where it is damaged."""
    block = {"status": "planned", "history": [], **block}
    for key, kind in _BLOCK_TYPES.items():
        if key in block and not isinstance(block[key], kind):
            raise Refused(f"has a damaged block of hpo's: {key} must be a {_TOML_NAMES[kind]}")
    if block["status"] not in STATUSES:
        raise Refused(f"has the status {block['status']!r}; allowed: {', '.join(STATUSES)}")
    if not all(isinstance(event, dict) and {"at", "to", "who"} <= event.keys() for event in block["history"]):
        raise Refused("has a damaged history: every entry must have at, to and who")
    return block


def _holds(record: Record, expected: Mapping[str, Any]) -> bool:
    try:
        return record.person == expected
    except tomllib.TOMLDecodeError:
        return False
