"""hpo ledger ask and suppose: open questions, and what might answer them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from hpo.cli.exits import exits
from hpo.cli.ledger_options import EXPERIMENTS, Debug, Folder
from hpo.cli.terminal import say
from hpo.errors import Refused
from hpo.ledger.folder import Ledger, is_question
from hpo.ledger.question import STATES, Hypothesis, Question, new_question, render_question

QuestionId = Annotated[str, typer.Argument(metavar="ID", help="q1, q2, ...")]
State = Annotated[str, typer.Option(help=f"{', '.join(STATES)}.")]
Evidence = Annotated[list[str], typer.Option(metavar="ID", help="An experiment, STUDY#TRIAL or a link; repeatable.")]


def ask(
    text: Annotated[str, typer.Argument(metavar="QUESTION")], ledger: Folder = EXPERIMENTS, debug: Debug = False
) -> None:
    """Write down an open question. `note q1 ideas TEXT`, `note q1 answer TEXT` and `set q1 status answered` go on."""
    with exits(debug):
        folder = Ledger(ledger)
        if not text.strip():
            raise Refused("the question has no text")
        folder.make()
        with folder.locked():
            question = folder.write_question(new_question(folder.next_question_id(), " ".join(text.split())))
        say(str(folder.file(question.id)))


def suppose(
    question: QuestionId,
    hypothesis: Annotated[str, typer.Argument(metavar="TEXT", help="A possible answer.")],
    state: State = STATES[0],
    evidence: Evidence = [],  # noqa: B006  # typer copies it
    ledger: Folder = EXPERIMENTS,
    debug: Debug = False,
) -> None:
    """Add a hypothesis to a question; where it has it already, say what became of it, and by which evidence."""
    with exits(debug):
        if not is_question(question):
            raise Refused(f"a question is named q1, q2, ...; got {question!r}")
        wanted = Hypothesis(state, " ".join(hypothesis.split()), tuple(evidence))
        say(change_question(Ledger(ledger), question, lambda question: question.with_hypothesis(wanted)))


def change_question(ledger: Ledger, question_id: str, change: Callable[[Question], Question]) -> str:
    """Change a question, and say which."""
    question = ledger.change_question(question_id, change)
    return f"{question.id}: {question.status}: {question.text}"


def show_question(ledger: Ledger, question_id: str) -> None:
    """Print a question as its file has it."""
    print(render_question(ledger.question(question_id)).decode())
