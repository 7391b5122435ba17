"""hpo ledger ask and suppose: open questions, and what might answer them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hpo.cli.document import document
from hpo.cli.exits import exits
from hpo.cli.ledger_options import EXPERIMENTS, Debug, Folder, Json
from hpo.cli.terminal import say
from hpo.errors import Refused
from hpo.ledger.folder import Ledger, is_question
from hpo.ledger.question import STATES, Hypothesis, Question, new_question

QuestionId = Annotated[str, typer.Argument(metavar="ID", help="q1, q2, ...")]
State = Annotated[str, typer.Option(help=f"{', '.join(STATES)}.")]
Evidence = Annotated[list[str], typer.Option(metavar="ID", help="An experiment, STUDY#TRIAL or a link; repeatable.")]


def ask(
    text: Annotated[str, typer.Argument(metavar="QUESTION")],
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write down an open question. `note q1 ideas TEXT`, `note q1 answer TEXT` and `set q1 status answered` go on."""
    with document("ledger ask", as_json) as answer, exits(debug):
        folder = Ledger(ledger)
        if not text.strip():
            raise Refused("the question has no text")
        folder.make()
        with folder.locked():
            question = folder.write_question(new_question(folder.next_question_id(), " ".join(text.split())))
        answer(question_in_json(question))
        say(str(folder.file(question.id)))


def suppose(
    question: QuestionId,
    hypothesis: Annotated[str, typer.Argument(metavar="TEXT", help="A possible answer.")],
    state: State = STATES[0],
    evidence: Evidence = [],  # noqa: B006  # typer copies it
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Add a hypothesis to a question; where it has it already, say what became of it, and by which evidence."""
    with document("ledger suppose", as_json) as answer, exits(debug):
        if not is_question(question):
            raise Refused(f"a question is named q1, q2, ...; got {question!r}")
        wanted = Hypothesis(state, " ".join(hypothesis.split()), tuple(evidence))
        changed = Ledger(ledger).change_question(question, lambda question: question.with_hypothesis(wanted))
        answer(question_in_json(changed))
        say(in_one_line(changed))


def in_one_line(question: Question) -> str:
    """The question with its id and its status."""
    return f"{question.id}: {question.status}: {question.text}"


def question_in_json(question: Question) -> dict[str, Any]:
    """A question with its hypotheses and the rest of its text."""
    return {
        "id": question.id,
        "status": question.status,
        "question": question.text,
        "hypotheses": question.hypotheses,
        "text": question.prose,
    }
