"""hpo ledger new, note, set and sync: what changes records."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hpo.cli.document import document
from hpo.cli.exits import exits
from hpo.cli.ledger_options import EXPERIMENTS, RUNS, Debug, Folder, Id, Json, Runs
from hpo.cli.questions import in_one_line, question_in_json
from hpo.cli.terminal import say
from hpo.ledger.fields import field_of, heading_of
from hpo.ledger.folder import Ledger, is_question, now, person
from hpo.ledger.front_matter import Value
from hpo.ledger.name import name_of
from hpo.ledger.prose import dated
from hpo.ledger.record import Record
from hpo.ledger.verdicts import moved

RELATIONS = ("parent", "superseded_by")  # fields that name another experiment
Why = Annotated[str, typer.Option(metavar="TEXT", help="Kept in the history.")]
Study = Annotated[str, typer.Option(metavar="NAME", help="The study it is about: a folder in runs/.")]


def new(
    experiment: Id,
    title: str = "",
    study: Study = "",
    parent: str = "",
    priority: str = "",
    cost: Annotated[str, typer.Option(help="Expected, in words: 20 min on two cores.")] = "",
    owner: Annotated[str, typer.Option(metavar="NAME", help="Who answers for it; left out: you.")] = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="To file it under; repeatable.")] = None,
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Plan an experiment, or begin the record of a run made by hand; with --study, give its record this id."""
    with document("ledger new", as_json) as answer, exits(debug):
        folder = Ledger(ledger)
        texts = {
            "study": study,
            "parent": folder.id_of(parent),
            "priority": priority,
            "cost": cost,
            "owner": owner,
            "tags": ",".join(tag or ()),
        }
        given = {"title": title} | {key: text for key, text in texts.items() if text}
        fields = {key: field_of(key, text) for key, text in given.items()}
        if "parent" in fields:
            folder.require_relation("parent", str(fields["parent"]))
        record = _create_or_rename(folder, name_of(experiment).id, study, fields)
        answer({"id": record.id, "status": record.status, "file": folder.file(record.id)})
        say(str(folder.file(record.id)))


def _create_or_rename(ledger: Ledger, new_id: str, study: str, fields: dict[str, Value]) -> Record:
    """A new record with these fields; where the study has a record, that one under the new id."""
    ledger.make()
    with ledger.locked():
        record = ledger.of_study(study) if study else None
        if record is None:
            return ledger.create(new_id, {**fields, "owner": fields.get("owner", person())})
        record = ledger.rename(record, new_id)
        for key, value in fields.items():
            if value:
                record = ledger.write(record.with_field(key, value))
        return record


def note(
    experiment: Id,
    heading: Annotated[str, typer.Argument(help="hypothesis, approach, results, problem, root, lesson, next, open.")],
    text: Annotated[str, typer.Argument(help="Markdown; - reads it from standard input.")],
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Add a paragraph under a heading of the record. Nothing that was written is lost."""
    with document("ledger note", as_json) as answer, exits(debug):
        folder = Ledger(ledger)
        paragraph = dated(sys.stdin.read() if text == "-" else text, now()[:10], person())
        if is_question(experiment):
            question = folder.change_question(experiment, lambda question: question.with_text(heading, paragraph))
            answer(question_in_json(question))
            say(in_one_line(question))
            return
        full_heading = heading_of(heading)
        record = folder.change(experiment, lambda record: record.with_note(full_heading, paragraph))
        answer({"id": record.id, "status": record.status, "heading": full_heading})
        say(f"{record.id}: {full_heading}")


def set_field(
    experiment: Id,
    key: Annotated[str, typer.Argument(help="status, title, priority, parent, tags, owner, study, ...")],
    value: str,
    why: Why = "",
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Set a field. `status success` needs a promotion, `status failed` a problem or a lesson; `status wip` reopens."""
    with document("ledger set", as_json) as answer, exits(debug):
        folder = Ledger(ledger)
        if is_question(experiment):
            question = folder.change_question(experiment, lambda question: question.with_field(key, value))
            answer(question_in_json(question))
            say(in_one_line(question))
            return
        if key == "status":
            at, who = now(), person()
            record = folder.change(experiment, lambda record: moved(record, value, at=at, who=who, why=why))
        else:
            parsed = field_of(key, folder.id_of(value) if key in RELATIONS else value)
            if key in RELATIONS:
                folder.require_relation(key, str(parsed), of=folder.find(experiment).id)
            record = folder.change(experiment, lambda record: record.with_field(key, parsed))
        answer({"id": record.id, "status": record.status})
        say(record.name)


def sync(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Its name; all of them if left out.")] = None,
    runs: Runs = RUNS,
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Bring the records up to date with the studies' folders; a study without a record gets one."""
    with document("ledger sync", as_json) as answer, exits(debug):
        from hpo.ledger import keeping
        from hpo.storage.transient import failures_as_halted

        with failures_as_halted():
            results = keeping.sync(Ledger(ledger), runs, study)
            answer(results)
            for synced in results:
                say(f"{synced.id}: {synced.study}: {synced.message}")
