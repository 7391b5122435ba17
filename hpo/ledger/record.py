"""One record: its name, and its file, which holds a person's fields, the harness's block, and a person's prose."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from functools import cached_property
from typing import Any, NamedTuple

from hpo.errors import Refused
from hpo.ledger.prose import section, with_paragraph
from hpo.plain import nearest

STATUSES = ("planned", "wip", "analysis", "success", "failed")
CONCLUDED = ("success", "failed")
HEADINGS = (
    "Hypothesis",
    "Approach",
    "Results",
    "Problem",
    "Root cause",
    "Lesson",
    "Next steps",
    "Open questions",
)
FIELDS: dict[str, type] = {
    "title": str,
    "legacy_name": str,
    "study": str,
    "parent": str,
    "priority": int,
    "cost": str,
    "confidence": str,
    "superseded_by": str,
    "alias": str,
    "owner": str,
    "tags": list,
}
SEVERAL = ("study", "tags")  # fields that may be lists of texts
LAST = 10**9  # the priority of a record that has none
HARNESS = "hpo"  # who, in a history
CONFIDENCE = ("hypothesis", "tested", "confirmed")  # in the root cause
Value = str | int | list[str] | Mapping[str, Any]  # of a person's field
NOT_RUN = "not run"
NOT_MEASURED = "not measured"
NOT_APPLICABLE = "n/a"

# -- names -----------------------------------------------------------------------------------------------------------
_NAME = re.compile(
    r"v(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})_([a-z0-9]+(?:[-_][a-z0-9]+)*?)"
    rf"(?:_({'|'.join(STATUSES)}))?"
)
MAX_VARIANT = 80


class Name(NamedTuple):
    """An id, and the status behind it where one was written."""

    major: int
    minor: int
    variant: str
    status: str | None = None

    @property
    def id(self) -> str:
        """The name without the status."""
        return f"v{self.major}.{self.minor}_{self.variant}"


def name_of(text: str) -> Name:
    """An id, or a name. Raises Refused with what is allowed."""
    match = _NAME.fullmatch(text)
    if not match or len(match[3]) > MAX_VARIANT:
        raise Refused(
            f"an experiment is named vMAJOR.MINOR_VARIANT, as v1.2_wide-net, with a variant of at most "
            f"{MAX_VARIANT} lower-case letters and digits, separated by single - or _; got {text!r}"
        )
    last_word = re.split("[-_]", match[3])[-1]
    if last_word in STATUSES:
        raise Refused(
            f"the variant of an experiment must not end in a status, which the ledger puts behind it: "
            f"{last_word!r} in {text!r}"
        )
    return Name(int(match[1]), int(match[2]), match[3], match[4])


def variant_of(study: str) -> str:
    """A variant that reads like a study's name."""
    words = re.sub(r"[^a-z0-9_]+", "-", study.lower())
    variant = re.sub(r"[-_]*_[-_]*", "_", words).strip("-_") or "study"
    return f"{variant}-study" if re.split("[-_]", variant)[-1] in STATUSES else variant


# -- the file --------------------------------------------------------------------------------------------------------
MARK = "# -- kept by hpo from here on: edit what stands above this line, and the text below --"
_FORM = re.compile(r"\ufeff?\+\+\+[ \t]*\r?\n(.*?)^\+\+\+[ \t]*(?:\r?\n|\Z)(.*)", re.DOTALL | re.MULTILINE)
MERGE = re.compile(r"(?m)^[<>]{7}( .*)?$")  # as git leaves it where both sides have changed
_KEPT = {
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


_TOML_TYPES = {str: "string", list: "list", dict: "table"}


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

    def named(self, key: str) -> str:
        """A field of the person's as text; empty where it is not there."""
        return str(self.person.get(key, ""))

    @property
    def title(self) -> str:
        return self.named("title")

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
        return self.named("legacy_name")

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
        return self.named("owner") or next(iter(people), "")

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
        return bool(self.named("superseded_by"))

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
    """Raises Refused with what is wrong, in words that go on from the record's name."""
    match = _FORM.fullmatch(text)
    conflict = MERGE.search(match[1] if match else text)
    if conflict:
        raise Refused(
            f"has an unresolved merge ({conflict[0].strip()}); take either side of what hpo keeps, and "
            f"run: hpo ledger sync"
        )
    if not match:
        raise Refused("must begin with a line +++, TOML, and another line +++")
    fields, mark, kept = match[1].partition(MARK)
    record = Record(record_id, fields, _kept(tomllib.loads(kept)), match[2])
    if record.person.keys() & (_KEPT.keys() - FIELDS.keys()) and not mark:
        raise Refused(f"has lost its line {MARK!r}")
    return record


def render(record: Record) -> bytes:
    """The file of a record; parse of it is the record again."""
    above = record.fields if record.fields.endswith("\n") or not record.fields else f"{record.fields}\n"
    return f"+++\n{above}{MARK}\n{toml(record.kept)}+++\n{record.prose}".encode()


def with_line(fields: str, key: str, value: Value) -> str:
    """TOML with one of its lines changed, or added."""
    line = f"{key} = {_value(value)}"
    changed, times = re.subn(rf"(?m)^{key}[ \t]*=.*$", lambda _: line, fields)
    return changed if times else f"{fields}{line}\n"


def blank(record_id: str, at: str, who: str, fields: Mapping[str, Value]) -> Record:
    """A new record, planned."""
    prose = "".join(f"\n## {heading}\n" for heading in HEADINGS)
    return Record(record_id, toml(fields), {"status": "planned", "history": [event(at, who, "planned")]}, prose)


def event(at: str, who: str, to: str, why: str = "") -> dict[str, str]:
    """An entry of the history."""
    entry = {"at": at, "to": to, "who": who}
    return {**entry, "why": why} if why else entry


def heading_of(text: str) -> str:
    """The heading that a person means by its beginning, whatever its case: `root-cause`, `next`."""
    wanted = re.sub("[-_ ]+", " ", text.strip().lower())
    fitting = [heading for heading in HEADINGS if wanted and heading.lower().startswith(wanted)]
    if len(fitting) != 1:
        raise Refused(f"the heading must be one of {', '.join(HEADINGS)}, or its beginning; got {text!r}")
    return fitting[0]


def field_of(key: str, text: str) -> Value:
    """The value of a field of the person's, from its text."""
    if key not in FIELDS:
        raise Refused(f"there is no field {key!r}{nearest(key, ['status', *FIELDS])}")
    if FIELDS[key] is int:
        if not re.fullmatch("[1-9][0-9]{0,8}", text):
            raise Refused(f"{key}: must be a whole number of at least 1; got {text!r}")
        return int(text)
    if key == "confidence" and text not in CONFIDENCE:
        raise Refused(f"confidence: must be {' or '.join(CONFIDENCE)}; got {text!r}")
    if key == "study":
        return _studies_of(text)
    if key == "tags":
        return [tag.strip() for tag in text.split(",") if tag.strip()]
    return name_of(text).id if key in ("parent", "superseded_by") else text


def _studies_of(text: str) -> str | list[str]:
    if "/" in text:
        raise Refused(f"study: must be the name of a folder in runs/; got {text!r}")
    names = [name.strip() for name in text.split(",") if name.strip()]
    return names if len(names) > 1 else text.strip()


def _kept(block: dict[str, Any]) -> dict[str, Any]:
    block = {"status": "planned", "history": [], **block}
    for key, kind in _KEPT.items():
        if key in block and not isinstance(block[key], kind):
            raise Refused(f"has a damaged block of hpo's: {key} must be a {_TOML_TYPES[kind]}")
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


# -- TOML ------------------------------------------------------------------------------------------------------------
def toml(table: Mapping[str, Any], path: str = "") -> str:
    """TOML of strings, numbers, booleans, lists, tables and lists of tables, a line each, in the order given.

    `path` is where the table stands in the document. What is None is left out.
    """
    lines, tables = [], []
    for key, value in table.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            tables.append(f"\n[{name}]\n{toml(value, name)}")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            tables += [f"\n[[{name}]]\n{toml(item, name)}" for item in value]
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}\n")
    return "".join(lines + tables)


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        items = [_value(item) for item in value if item is not None]
        return f"[{', '.join(items)}]"
    if isinstance(value, str):  # as JSON, which leaves DEL as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime | date | time):  # that a person has written
        return value.isoformat()
    return json.dumps(value) if isinstance(value, bool) else repr(value)
