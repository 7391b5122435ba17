"""An open question: experiments/q1.md, with its hypotheses and what speaks for and against them.

    +++
    question = "Why does the network do worse on photographs than on patterns?"
    status = "open"
    +++

    ## Hypotheses
    - open: the photographs are blurred before they are sampled
    - refuted: the rate is too high (evidence: v1.4_rates)

    ## Ideas
    ## Answer

All of it is a person's, and no command changes another line than the one that it is about.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hpo.errors import Refused
from hpo.ledger.front_matter import split, toml, with_line
from hpo.ledger.prose import contained, places, section, with_paragraph

STATES = ("open", "supported", "refuted")  # of a hypothesis
ANSWERS = ("open", "answered")  # status of a question
QUESTION_HEADINGS = ("Hypotheses", "Ideas", "Answer")
ID = re.compile(r"q[1-9][0-9]{0,5}")
_HYPOTHESIS = re.compile(r"(?m)^[-*+][ \t]+(?P<state>[A-Za-z]+):[ \t]*(?P<text>.*(?:\n(?![-*+#\n]).*)*)")
_EVIDENCE = re.compile(r"\s*\(evidence: (?P<evidence>[^)]*)\)\s*\Z")


@dataclass(frozen=True)
class Hypothesis:
    """A possible answer, and where the evidence for its state stands: ids of experiments, `study#trial`, links."""

    state: str  # one of STATES
    text: str
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        evidence = f" (evidence: {', '.join(self.evidence)})" if self.evidence else ""
        return f"{self.state}: {self.text}{evidence}"


@dataclass(frozen=True)
class Question:
    """An open question, as its file has it."""

    id: str
    fields: str  # TOML, as written
    prose: str

    @cached_property
    def person(self) -> Mapping[str, Any]:
        """The fields."""
        return tomllib.loads(self.fields)

    @property
    def number(self) -> int:
        """That of its id."""
        return int(self.id[1:])

    @property
    def text(self) -> str:
        """The question itself."""
        return str(self.person.get("question", ""))

    @property
    def status(self) -> str:
        """One of ANSWERS."""
        return str(self.person.get("status", ANSWERS[0]))

    @property
    def imported(self) -> Mapping[str, Any]:
        """Where it was imported from; empty where it was not."""
        imported = self.person.get("imported", {})
        return imported if isinstance(imported, dict) else {}

    def section(self, heading: str) -> str:
        """The text under a heading; empty where there is none."""
        return section(self.prose, heading)

    @property
    def hypotheses(self) -> list[Hypothesis]:
        """The items under `## Hypotheses` that begin with a word and a colon."""
        return [_hypothesis(match) for match in _HYPOTHESIS.finditer(self.section("Hypotheses"))]

    def with_field(self, key: str, value: str) -> Question:
        """The question with another status, or in other words."""
        if key not in ("question", "status"):
            raise Refused(f"a question has a status and a question; got {key!r}")
        if key == "status" and value not in ANSWERS:
            raise Refused(f"the status of a question must be {' or '.join(ANSWERS)}; got {value!r}")
        return replace(self, fields=with_line(self.fields, key, value))

    def with_text(self, heading: str, text: str) -> Question:
        """The question with a paragraph more under the heading that begins so."""
        wanted = heading.strip().lower()
        fitting = [name for name in QUESTION_HEADINGS if wanted and name.lower().startswith(wanted)]
        if len(fitting) != 1:
            raise Refused(f"the heading must be one of {', '.join(QUESTION_HEADINGS)}; got {heading!r}")
        return replace(self, prose=with_paragraph(self.prose, fitting[0], contained(text.strip())))

    def with_hypothesis(self, wanted: Hypothesis) -> Question:
        """The question with a hypothesis more; where it has one with this text, with that in another state.

        Evidence is added to what is there already.
        """
        if wanted.state not in STATES:
            raise Refused(f"the state of a hypothesis must be {', '.join(STATES)}; got {wanted.state!r}")
        place = places(self.prose).get("Hypotheses")
        lines = _HYPOTHESIS.finditer(self.prose, place.start, place.end) if place else ()
        for line in lines:
            hypothesis = _hypothesis(line)
            if hypothesis.text.casefold() == wanted.text.casefold():
                evidence = tuple(dict.fromkeys(hypothesis.evidence + wanted.evidence))
                changed = f"- {Hypothesis(wanted.state, hypothesis.text, evidence)}"
                return replace(self, prose=self.prose[: line.start()] + changed + self.prose[line.end() :])
        return replace(self, prose=with_paragraph(self.prose, "Hypotheses", f"- {wanted}"))


def new_question(question_id: str, text: str, imported: Mapping[str, Any] | None = None) -> Question:
    """A question that nobody has answered."""
    fields = toml({"question": text, "status": ANSWERS[0]})
    if imported:
        fields = with_line(fields, "imported", imported)
    return Question(question_id, fields, "".join(f"\n## {heading}\n" for heading in QUESTION_HEADINGS))


def parse_question(question_id: str, content: bytes) -> Question:
    """A question from its file. Raises Refused naming the id and what is wrong."""
    try:
        parts = split(content.decode())
        question = Question(question_id, parts.fields, parts.prose) if parts else None
        if question is None or not question.text.strip():
            raise Refused(
                f'the question {question_id}.md must begin with a line +++, question = "...", and another line +++'
            )
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Refused(f"the question {question_id}.md cannot be read: {error}") from error
    if question.status not in ANSWERS:
        raise Refused(
            f"the question {question_id}.md has the status {question.status!r}; allowed: {', '.join(ANSWERS)}"
        )
    return question


def render_question(question: Question) -> bytes:
    """The file of a question; parse_question of it is the question again."""
    return f"+++\n{question.fields}+++\n{question.prose}".encode()


def _hypothesis(match: re.Match[str]) -> Hypothesis:
    text = match["text"].strip()
    evidence = _EVIDENCE.search(text)
    named = [name.strip() for name in evidence["evidence"].split(",")] if evidence else []
    return Hypothesis(match["state"].lower(), _EVIDENCE.sub("", text), tuple(name for name in named if name))
