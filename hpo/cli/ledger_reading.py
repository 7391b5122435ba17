"""hpo ledger list, show, similar, page and lint: what the records say. Of these, page alone writes."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo.cli.document import document
from hpo.cli.exits import Ended, exits
from hpo.cli.ledger_options import EXPERIMENTS, RUNS, Debug, Folder, Id, Json, Runs
from hpo.cli.questions import question_in_json
from hpo.cli.terminal import say, table
from hpo.errors import ExitCode, Refused
from hpo.files import write_whole
from hpo.ledger.folder import Ledger, is_question
from hpo.ledger.lint import promises, surroundings
from hpo.ledger.mending import mended
from hpo.ledger.name import CONCLUDED, STATUSES
from hpo.ledger.prose import WRITTEN_BY_HPO, undated
from hpo.ledger.question import render_question
from hpo.ledger.record import Record, render
from hpo.ledger.verdicts import proposed

Csv = Annotated[bool, typer.Option("--csv", help="Print the rows of the dashboard as CSV.")]
ORDERS: dict[str, Callable[[Record], Any]] = {
    "id": lambda record: record.order,
    "date": lambda record: record.date,
    "status": lambda record: (STATUSES.index(record.status), record.order),
    "priority": lambda record: (record.priority, record.order),
    "owner": lambda record: (record.owner.casefold(), record.order),
}
MOST_ALIKE = 5
ALIKE = ("alike", "experiment", "status", "title", "learned")


def list_records(
    status: Annotated[str, typer.Option(help="Only those of this status.")] = "",
    find: Annotated[str, typer.Option(metavar="TEXT", help="Only those with this text, in upper or lower case.")] = "",
    tag: Annotated[str, typer.Option(metavar="WORD", help="Only those with this tag.")] = "",
    owner: Annotated[str, typer.Option(metavar="NAME", help="Only those of this person.")] = "",
    sort: Annotated[str, typer.Option(metavar="BY", help="id, date (newest first), status, priority or owner.")] = "id",
    runs: Runs = RUNS,
    ledger: Folder = EXPERIMENTS,
    as_csv: Csv = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The experiments, with what came of them."""
    with document("ledger list", as_json) as answer, exits(debug):
        if as_json and as_csv:
            raise Refused("--json or --csv, not both")
        if status and status not in STATUSES:
            raise Refused(f"--status: must be one of {', '.join(STATUSES)}; got {status!r}")
        if sort not in ORDERS:
            raise Refused(f"--sort: must be one of {', '.join(ORDERS)}; got {sort!r}")
        known = mended(Ledger(ledger), runs)
        records = [record for record in known if _matches(record, status, find, tag, owner)]
        records.sort(key=ORDERS[sort], reverse=sort == "date")
        answer([_in_json(record) for record in records])
        if as_csv:
            _print_csv(records)
        elif not as_json:
            _show(records)


def _in_json(record: Record) -> dict[str, Any]:
    """The fields of the person's and what hpo keeps, as the record's file has them."""
    computed = {"id": record.id, "date": record.date, "owner": record.owner, "tags": record.tags}
    return {**record.kept, **record.person, **computed, "study": record.part("study"), "studies": record.studies}


def _matches(record: Record, status: str, text: str, tag: str, owner: str) -> bool:
    if (status and record.status != status) or (tag and tag not in record.tags) or (owner and record.owner != owner):
        return False
    return text.lower() in f"{record.id}\n{record.label}\n{record.prose}".lower()


def _show(records: Iterable[Record]) -> None:
    from hpo.ledger.dashboard import result  # reads numbers as the pages do, with numpy

    rows = []
    for record in records:
        state = str(record.part("study").get("state", ""))
        day, tags = record.date[:10], ", ".join(record.tags)
        title = (
            record.label if not record.is_superseded else f"{record.label} (now {record.field_text('superseded_by')})"
        )
        rows.append((record.id, day, record.status, state, result(record).shown, record.owner, tags, title))
    table("", ("experiment", "date", "status", "state", "result", "owner", "tags", "title"), rows)


def _print_csv(records: Iterable[Record]) -> None:
    """The rows of the dashboard, with the titles and the old names behind them."""
    from hpo.ledger.dashboard import Column, cells

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*Column, "Title", "Old name", "Parent", "Priority", "Date", "Owner", "Tags"])
    for record in records:
        named = [record.field_text(key) for key in ("title", "legacy_name", "parent", "priority")]
        filed = [record.date[:10], record.owner, ", ".join(record.tags)]
        writer.writerow([*(cells(record) | {Column.STATUS: record.status}).values(), *named, *filed])


def questions(ledger: Folder = EXPERIMENTS, as_json: Json = False, debug: Debug = False) -> None:
    """The open questions of the ledger and those that are answered, with what might answer them."""
    with document("ledger questions", as_json) as answer, exits(debug):
        from hpo.ledger.reading import open_first

        asked = open_first(Ledger(ledger).questions())
        answer([question_in_json(question) for question in asked])
        rows = [
            (question.id, question.status, question.text, "\n".join(map(str, question.hypotheses)))
            for question in asked
        ]
        if not as_json:
            table("", ("question", "status", "", "hypotheses"), rows)


def similar(experiment: Id, ledger: Folder = EXPERIMENTS, as_json: Json = False, debug: Debug = False) -> None:
    """The experiments that are most alike, and what was learned from them: look before you begin a planned one."""
    with document("ledger similar", as_json) as answer, exits(debug):
        from hpo.ledger.similar import similar as alike

        folder = Ledger(ledger)
        rows = []
        for likeness in alike(folder.find(experiment), folder.records())[:MOST_ALIKE]:
            record = likeness.record
            learned = undated(record.section("Lesson") or record.section("Problem"))
            rows.append((f"{likeness.share:.2f}", record.id, record.status, record.label, " ".join(learned.split())))
        answer([dict(zip(ALIKE, row, strict=True)) for row in rows])
        if as_json:
            return
        if not rows:
            say("no other experiment has anything in common with it")
            return
        table("", ALIKE, rows)


def show(
    experiment: Id, runs: Runs = RUNS, ledger: Folder = EXPERIMENTS, as_json: Json = False, debug: Debug = False
) -> None:
    """One record as its file has it, and what the harness would conclude."""
    with document("ledger show", as_json) as answer, exits(debug):
        if is_question(experiment):
            question = Ledger(ledger).question(experiment)
            answer(question_in_json(question))
            print(render_question(question).decode())
            return
        mended(Ledger(ledger), runs)
        record = Ledger(ledger).find(experiment)
        answer(_in_json(record) | {"text": record.prose, "proposed": proposed(record)})
        print(render(record).decode())
        if record.status not in CONCLUDED:
            say(f"the harness would say: {proposed(record)}")


def page(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a page would change.")] = False,
    runs: Runs = RUNS,
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write EXPERIMENTS.md and EXPERIMENTS.html beside the folder of records."""
    with document("ledger page", as_json) as answer, exits(debug):
        from hpo.ledger.page import pages

        folder = ledger.resolve()
        known = Ledger(ledger)
        records = known.records() if check else mended(known, runs)
        to_runs = os.path.relpath(runs, folder.parent)
        texts = pages(records, folder.name, to_runs, known.questions(), known.notes())
        _check_ours(folder.parent / "EXPERIMENTS.md")
        contents = {folder.parent / name: text.encode() for name, text in texts.items()}
        stale = [path for path, content in contents.items() if not path.exists() or path.read_bytes() != content]
        answer({"changed": stale, "written": not check})
        for path in stale:
            if not check:
                write_whole(path, contents[path])
            say(f"{path}: not up to date" if check else str(path))
        raise Ended(ExitCode.NO if check and stale else ExitCode.DONE)


def _check_ours(path: Path) -> None:
    """Raise Refused where a page would overwrite a file that a person has written."""
    if path.exists() and path.stat().st_size and not path.read_text(errors="replace").startswith(WRITTEN_BY_HPO):
        raise Refused(
            f"{path} was not written by hpo ledger page; import it (hpo ledger import {path.name}), and then move it "
            f"away: git mv {path.name} docs/"
        )


def lint(runs: Runs = RUNS, ledger: Folder = EXPERIMENTS, as_json: Json = False, debug: Debug = False) -> None:
    """What the records promise and do not keep. Exit 1 where there is anything."""
    with document("ledger lint", as_json) as answer, exits(debug):
        records = Ledger(ledger).records()
        findings = [*promises(records, Ledger(ledger).questions()), *surroundings(ledger, records, runs)]
        answer([finding._asdict() for finding in findings])
        for finding in findings:
            say(str(finding))
        raise Ended(ExitCode.NO if findings else ExitCode.DONE)
