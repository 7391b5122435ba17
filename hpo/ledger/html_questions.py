"""Open questions, plans, notes and warnings as sections of EXPERIMENTS.html."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import quote

from hpo.ledger.html_records import FileLink, Passage, rendered
from hpo.ledger.prose import led
from hpo.ledger.question import Hypothesis, Question
from hpo.ledger.reading import remaining
from hpo.page.views import Badge, Section

ANSWER_BADGES = {"open": "open", "answered": "go"}
STATE_BADGES = {"open": "open", "supported": "go", "refuted": "no-go"}


@dataclass(frozen=True)
class Entry:
    """A line about an experiment."""

    id: str
    text: str


@dataclass(frozen=True)
class HypothesisView:
    """What might answer a question, and what became of it."""

    badge: Badge
    text: str
    evidence: str


@dataclass(frozen=True)
class QuestionView:
    """An open question with its hypotheses."""

    id: str
    badge: Badge
    text: str
    url: str
    hypotheses: tuple[HypothesisView, ...]
    passages: tuple[Passage, ...]


@dataclass(frozen=True, kw_only=True)
class QuestionsSection(Section):
    """Open questions of all records."""

    name: ClassVar[str] = "questions"
    title: ClassVar[str] = "Open questions"
    template: ClassVar[str] = "ledger/questions.html.j2"
    asked: tuple[QuestionView, ...]
    questions: tuple[Entry, ...]


def question_view(question: Question, folder: str) -> QuestionView:
    """What the page says of a question. `folder` leads from the page to the questions."""
    return QuestionView(
        id=question.id,
        badge=Badge(ANSWER_BADGES[question.status], question.status),
        text=question.text,
        url=quote(f"{folder}/{question.id}.md"),
        hypotheses=tuple(_hypothesis(hypothesis) for hypothesis in question.hypotheses),
        passages=tuple(
            Passage(heading, rendered(led(question.section(heading), folder))) for heading in remaining(question)
        ),
    )


def _hypothesis(hypothesis: Hypothesis) -> HypothesisView:
    badge = Badge(STATE_BADGES.get(hypothesis.state, "open"), hypothesis.state)
    return HypothesisView(badge, hypothesis.text, ", ".join(hypothesis.evidence))


@dataclass(frozen=True, kw_only=True)
class NotesSection(Section):
    """Files with text that belongs to no experiment."""

    name: ClassVar[str] = "notes"
    title: ClassVar[str] = "Notes"
    template: ClassVar[str] = "ledger/notes.html.j2"
    notes: tuple[FileLink, ...]


@dataclass(frozen=True, kw_only=True)
class PlansSection(Section):
    """What to run next."""

    name: ClassVar[str] = "next"
    title: ClassVar[str] = "Next experiments"
    template: ClassVar[str] = "ledger/plans.html.j2"
    plans: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class WarningsSection(Section):
    """What is wrong in the records."""

    name: ClassVar[str] = "warnings"
    title: ClassVar[str] = "Warnings"
    template: ClassVar[str] = "ledger/warnings.html.j2"
    warnings: tuple[str, ...]
