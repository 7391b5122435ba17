"""An experiment, a plan, a question or notes of a file, in the form that the ledger keeps."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from hpo.errors import Refused
from hpo.ledger.fields import HEADINGS
from hpo.ledger.front_matter import Value, toml
from hpo.ledger.importing.dashboard import Row
from hpo.ledger.importing.document import Item, Kind, Note
from hpo.ledger.importing.labels import sorted_by_heading
from hpo.ledger.importing.marks import day_of
from hpo.ledger.importing.passages import passages_of
from hpo.ledger.name import Name, name_of, variant_of
from hpo.ledger.prose import contained, led, with_paragraph
from hpo.ledger.question import QUESTION_HEADINGS, STATES, Question, new_question
from hpo.ledger.record import Record, event

IMPORT = "import"  # who, in a history
DASHBOARD = "Dashboard"
MAX_SLUG = 40  # of a variant that is made of a title
_QUESTION_HEADINGS = {
    "Hypotheses": "hypothesis|hypotheses|possible answers|candidates",
    "Ideas": "idea|ideas|next step|next steps|todo|test|tests|experiment|experiments|how to tell",
    "Answer": "answer|answers|resolution|conclusion|outcome|result|results",
}
QUESTION_HEADING_OF = {
    label: heading for heading in QUESTION_HEADINGS for label in _QUESTION_HEADINGS[heading].split("|")
}
_ANSWERED = re.compile(r"^[\s*+-]*[✓✔✅☑]|[✓✔✅☑]\ufe0f?\s*$")
_REFUTED = re.compile(r"(?i)~~|[✗✘❌✕]|\b(refuted|ruled out|rejected|disproved|wrong|unlikely)\b")
_SUPPORTED = re.compile(r"(?i)[✓✔✅]|\b(supported|confirmed|proved|shown)\b")


@dataclass(frozen=True)
class Origin:
    """The file that something came from."""

    file: str
    lead: str  # from the folder of records to where the file's links begin
    text: str  # all of it

    def part(self, item: Item, mark: str) -> dict[str, Value]:
        """What a record or a question keeps of where it came from; `mark` tells whether its text is the same."""
        return {"file": self.file, "place": item.place, "heading": item.written, "text": mark}


# -- records ---------------------------------------------------------------------------------------------------------
def record_of(item: Item, record_id: str, mark: str, rows: Sequence[Row], at: str, origin: Origin) -> Record:
    """The record of an experiment or a plan. `at` is when a plan enters the ledger."""
    status, why = _status(item, rows)
    fields: dict[str, Value] = {"title": item.heading.title or item.written, "legacy_name": item.heading.name}
    if item.heading.priority:
        fields["priority"] = item.heading.priority
    passages = passages_of(item.text)
    dates = [passage.text for passage in passages if passage.key in ("date", "dates", "finished", "ended")]
    day = at if status == "planned" else item.heading.day or day_of("\n".join(dates))
    history = [event(day, IMPORT, status, f"{origin.file}, {item.place}{why}")]
    kept = {"status": status, "history": history, "imported": origin.part(item, mark)}
    texts = sorted_by_heading(passages)
    for row in rows:
        texts[DASHBOARD] = f"{texts.get(DASHBOARD, '')}\n\n{row.text}".strip()
    return Record(record_id, toml(fields), kept, _prose(HEADINGS, texts, origin))


def has_status(item: Item, rows: Sequence[Row]) -> bool:
    """Whether the file says how the experiment came out."""
    return bool(item.kind is Kind.PLANS or item.heading.status or any(row.status for row in rows))


def _status(item: Item, rows: Sequence[Row]) -> tuple[str, str]:
    """The status, and what is to be said of where it comes from."""
    if item.is_ticked:
        return "analysis", "; ticked there"
    given = item.heading.status or next((row.status for row in rows if row.status), "")
    if not given and item.kind is Kind.PLANS:
        return "planned", ""
    return (given, "") if given else ("analysis", "; no status is given there")


def _with_targets(text: str, whole: str) -> str:
    """The text with the targets, from elsewhere in the file, of its links that name one: `[notes][deep]`."""
    for name, target in re.findall(r"(?m)^ {0,3}\[([^\]\n]+)\]:[ \t]+(\S.*)$", whole):
        definition = f"[{name}]: {target}"
        if f"[{name}]".casefold() in text.casefold() and definition not in text:
            text = f"{text}\n\n{definition}"
    return text


def _prose(headings: Sequence[str], texts: Mapping[str, str], origin: Origin) -> str:
    prose = "".join(f"\n## {heading}\n" for heading in headings)
    for heading, text in texts.items():
        prose = with_paragraph(prose, heading, contained(led(_with_targets(text, origin.text), origin.lead)))
    return prose


def new_id(item: Item, taken: Collection[str]) -> str:
    """A free id. A version in the name stays; what has none is of version 0, in the order of the file."""
    try:
        name = name_of(item.heading.name)
        if name.id not in taken:
            return name.id
    except Refused:
        pass
    match = re.fullmatch(r"(?i)v(\d{1,6})(?:\.(\d{1,6}))?(?:[-_. ]+(.+))?", item.heading.name)
    major = int(match[1]) if match else 0
    words = (match[3] or item.heading.title) if match else item.heading.name
    variant = _slug(words)
    if match and match[2] and Name(major, int(match[2]), variant).id not in taken:
        return Name(major, int(match[2]), variant).id
    minors = [name_of(record_id).minor for record_id in taken if name_of(record_id).major == major]
    return Name(major, max(minors, default=-1) + 1, variant).id


def _slug(words: str) -> str:
    """A variant that reads like a title, cut after a word."""
    german = words.lower().translate({ord("ä"): "ae", ord("ö"): "oe", ord("ü"): "ue", ord("ß"): "ss"})
    ascii_words = unicodedata.normalize("NFKD", german).encode("ascii", "ignore").decode()
    slug = variant_of(ascii_words)
    if len(slug) > MAX_SLUG:
        slug = variant_of(re.sub(r"[-_][^-_]*$", "", slug[: MAX_SLUG + 1])[:MAX_SLUG])
    return slug if re.search("[a-z0-9]", ascii_words) else "experiment"


# -- questions and notes ---------------------------------------------------------------------------------------------
def question_of(item: Item, question_id: str, mark: str, origin: Origin) -> Question:
    """The record of an open question."""
    question = new_question(question_id, question_text(item), origin.part(item, mark))
    texts = sorted_by_heading(passages_of(item.text), QUESTION_HEADING_OF)
    if "Hypotheses" in texts:
        texts["Hypotheses"] = re.sub(r"(?m)^[-*+][ \t]+(?P<text>.*)$", _with_state, texts["Hypotheses"])
    question = Question(question_id, question.fields, _prose(QUESTION_HEADINGS, texts, origin))
    is_answered = item.is_ticked or bool(_ANSWERED.search(item.written)) or bool(question.section("Answer"))
    return question.with_field("status", "answered") if is_answered else question


def question_text(item: Item) -> str:
    """The question without its bullet, its tick and its number."""
    return re.sub(
        r"^(?:[-*+]\s+)?(?:\d{1,9}[.)]\s+)?(?:\[[ xX]\]\s+)?(?:(?:(?:Q|Question)\s*\d+|\d{1,3})\s*[.):]\s*)?",
        "",
        " ".join(item.written.split()),
    ).strip("*_ ")


def _with_state(line: re.Match[str]) -> str:
    text = line["text"]
    if re.match(rf"(?i)({'|'.join(STATES)}):", text):
        return f"- {text}"
    if _REFUTED.search(text):
        return f"- refuted: {text}"
    return f"- supported: {text}" if _SUPPORTED.search(text) else f"- open: {text}"


def notes_of(notes: Sequence[Note], origin: Origin, mark: str) -> str:
    """A file of what belongs to no experiment, in the order of the file that it comes from."""
    file = origin.file.replace("--", "-")
    head = f"<!-- What belongs to no experiment in {file}, kept by `hpo ledger import`; text {mark} -->"
    return "\n\n".join([head, *(led(note.text, origin.lead) for note in notes)]) + "\n"
