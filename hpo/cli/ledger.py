"""hpo ledger VERB: what a person writes into the experiment ledger, and what it answers."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from hpo.cli.exits import exits
from hpo.cli.ledger_import import import_file
from hpo.cli.ledger_options import EXPERIMENTS, RUNS, Debug, Folder, Id, Json, Runs
from hpo.cli.questions import ask, change_question, show_question, suppose
from hpo.cli.terminal import say, table
from hpo.errors import ExitCode, Refused
from hpo.files import write_whole
from hpo.ledger.folder import Ledger, is_question, now, person
from hpo.ledger.lint import promises, surroundings
from hpo.ledger.prose import WRITTEN_BY_HPO
from hpo.ledger.record import CONCLUDED, STATUSES, Record, Value, field_of, heading_of, name_of, render
from hpo.ledger.verdicts import moved, proposed

app = typer.Typer(no_args_is_help=True, help="The experiment ledger: one record per experiment, in experiments/.")

Csv = Annotated[bool, typer.Option("--csv", help="Print the rows of the dashboard as CSV.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="Kept in the history.")]
Study = Annotated[str, typer.Option(metavar="NAME", help="The study it is about: a folder in runs/.")]
MOST_ALIKE = 5
TEXT_MAY_BEGIN_WITH_A_DASH = {"ignore_unknown_options": True}  # as a list does

app.command("import")(import_file)
app.command()(ask)
app.command()(suppose)


@app.command()
def new(
    experiment: Id,
    title: str = "",
    study: Study = "",
    parent: str = "",
    priority: str = "",
    cost: Annotated[str, typer.Option(help="Expected, in words: 20 min on two cores.")] = "",
    ledger: Folder = EXPERIMENTS,
    debug: Debug = False,
) -> None:
    """Plan an experiment, or begin the record of a run made by hand; with --study, give its record this id."""
    with exits(debug):
        texts = {"study": study, "parent": Ledger(ledger).id_of(parent), "priority": priority, "cost": cost}
        given = {"title": title} | {key: text for key, text in texts.items() if text}
        fields = {key: field_of(key, text) for key, text in given.items()}
        record = _create_or_rename(Ledger(ledger), name_of(experiment).id, study, fields)
        say(str(Ledger(ledger).file(record.id)))


def _create_or_rename(ledger: Ledger, new_id: str, study: str, fields: dict[str, Value]) -> Record:
    """A new record with these fields; where the study has a record, that one under the new id."""
    ledger.make()
    with ledger.locked():
        record = ledger.of_study(study) if study else None
        if record is None:
            return ledger.create(new_id, fields)
        record = ledger.rename(record, new_id)
        for key, value in fields.items():
            if value:
                record = ledger.write(record.with_field(key, value))
        return record


@app.command(context_settings=TEXT_MAY_BEGIN_WITH_A_DASH)
def note(
    experiment: Id,
    heading: Annotated[str, typer.Argument(help="hypothesis, approach, results, problem, root, lesson, next, open.")],
    text: Annotated[str, typer.Argument(help="Markdown; - reads it from standard input.")],
    ledger: Folder = EXPERIMENTS,
    debug: Debug = False,
) -> None:
    """Add a paragraph under a heading of the record. Nothing that was written is lost."""
    with exits(debug):
        folder = Ledger(ledger)
        paragraph = sys.stdin.read() if text == "-" else text
        if is_question(experiment):
            say(change_question(folder, experiment, lambda question: question.with_text(heading, paragraph)))
            return
        full_heading = heading_of(heading)
        record = folder.change(experiment, lambda record: record.with_note(full_heading, paragraph))
        say(f"{record.id}: {full_heading}")


@app.command("set", context_settings=TEXT_MAY_BEGIN_WITH_A_DASH)
def set_field(
    experiment: Id,
    key: Annotated[str, typer.Argument(help="status, title, priority, cost, parent, study, confidence, ...")],
    value: str,
    why: Why = "",
    ledger: Folder = EXPERIMENTS,
    debug: Debug = False,
) -> None:
    """Set a field. `status success` needs a promotion, `status failed` a problem or a lesson; `status wip` reopens."""
    with exits(debug):
        if is_question(experiment):
            say(change_question(Ledger(ledger), experiment, lambda question: question.with_field(key, value)))
        elif key == "status":
            at, who = now(), person()
            say(Ledger(ledger).change(experiment, lambda record: moved(record, value, at=at, who=who, why=why)).name)
        else:
            parsed = field_of(key, Ledger(ledger).id_of(value) if key in ("parent", "superseded_by") else value)
            say(Ledger(ledger).change(experiment, lambda record: record.with_field(key, parsed)).name)


@app.command("list")
def list_records(
    status: Annotated[str, typer.Option(help="Only those of this status.")] = "",
    find: Annotated[str, typer.Option(metavar="TEXT", help="Only those with this text, in upper or lower case.")] = "",
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    as_csv: Csv = False,
    debug: Debug = False,
) -> None:
    """The experiments, with what came of them."""
    with exits(debug):
        if as_json and as_csv:
            raise Refused("--json or --csv, not both")
        if status and status not in STATUSES:
            raise Refused(f"--status: must be one of {', '.join(STATUSES)}; got {status!r}")
        records = [record for record in Ledger(ledger).records() if _matches(record, status, find)]
        if as_json:
            rows = [{"id": record.id, **record.person, **record.kept} for record in records]
            print(json.dumps(rows, indent=1, default=str))
        elif as_csv:
            _print_csv(records)
        else:
            _show(records)


def _matches(record: Record, status: str, text: str) -> bool:
    if status and record.status != status:
        return False
    return text.lower() in f"{record.id}\n{record.label}\n{record.prose}".lower()


def _show(records: Iterable[Record]) -> None:
    from hpo.ledger.reading import result  # reads numbers as the pages do, with numpy

    rows = []
    for record in records:
        state = str(record.part("study").get("state", ""))
        rows.append((record.id, record.status, state, result(record).shown, record.label))
    table("", ("experiment", "status", "state", "result", "title"), rows)


def _print_csv(records: Iterable[Record]) -> None:
    """The rows of the dashboard, with the titles and the old names behind them."""
    from hpo.ledger.reading import Column, cells

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*Column, "Title", "Old name", "Parent", "Priority"])
    for record in records:
        named = [record.named(key) for key in ("title", "legacy_name", "parent", "priority")]
        writer.writerow([*(cells(record) | {Column.STATUS: record.status}).values(), *named])


@app.command()
def similar(experiment: Id, ledger: Folder = EXPERIMENTS, debug: Debug = False) -> None:
    """The experiments that are most alike, and what was learned from them: look before you begin a planned one."""
    with exits(debug):
        from hpo.ledger.similar import similar as alike

        folder = Ledger(ledger)
        rows = []
        for likeness in alike(folder.find(experiment), folder.records())[:MOST_ALIKE]:
            record = likeness.record
            learned = record.section("Lesson") or record.section("Problem")
            rows.append((f"{likeness.share:.2f}", record.id, record.status, record.label, " ".join(learned.split())))
        if not rows:
            say("no other experiment has anything in common with it")
            return
        table("", ("alike", "experiment", "status", "title", "learned"), rows)


@app.command()
def show(experiment: Id, ledger: Folder = EXPERIMENTS, debug: Debug = False) -> None:
    """One record as its file has it, and what the harness would conclude."""
    with exits(debug):
        if is_question(experiment):
            show_question(Ledger(ledger), experiment)
            return
        record = Ledger(ledger).find(experiment)
        print(render(record).decode())
        if record.status not in CONCLUDED:
            say(f"the harness would say: {proposed(record)}")


@app.command()
def sync(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Its name; all of them if left out.")] = None,
    runs: Runs = RUNS,
    ledger: Folder = EXPERIMENTS,
    debug: Debug = False,
) -> None:
    """Bring the records up to date with the studies' folders; a study without a record gets one."""
    with exits(debug):
        from hpo.ledger import harvest
        from hpo.storage.transient import failures_as_halted

        with failures_as_halted():
            for synced in harvest.sync(Ledger(ledger), runs, study):
                say(f"{synced.id}: {synced.study}: {synced.message}")


@app.command()
def page(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a page would change.")] = False,
    runs: Runs = RUNS,
    ledger: Folder = EXPERIMENTS,
    debug: Debug = False,
) -> None:
    """Write EXPERIMENTS.md and EXPERIMENTS.html beside the folder of records."""
    with exits(debug):
        from hpo.ledger.page import pages

        folder = ledger.resolve()
        known = Ledger(ledger)
        to_runs = os.path.relpath(runs, folder.parent)
        texts = pages(known.records(), folder.name, to_runs, known.questions(), known.notes())
        _check_ours(folder.parent / "EXPERIMENTS.md")
        contents = {folder.parent / name: text.encode() for name, text in texts.items()}
        stale = [path for path, content in contents.items() if not path.exists() or path.read_bytes() != content]
        for path in stale:
            if not check:
                write_whole(path, contents[path])
            say(f"{path}: not up to date" if check else str(path))
        raise typer.Exit(ExitCode.NO if check and stale else ExitCode.DONE)


def _check_ours(path: Path) -> None:
    """Raise Refused where a page would overwrite a file that a person has written."""
    if path.exists() and path.stat().st_size and not path.read_text(errors="replace").startswith(WRITTEN_BY_HPO):
        raise Refused(
            f"{path} was not written by hpo ledger page; import it (hpo ledger import {path.name}), and then move it "
            f"away: git mv {path.name} docs/"
        )


@app.command()
def lint(runs: Runs = RUNS, ledger: Folder = EXPERIMENTS, debug: Debug = False) -> None:
    """What the records promise and do not keep. Exit 1 where there is anything."""
    with exits(debug):
        records = Ledger(ledger).records()
        findings = [*promises(records, Ledger(ledger).questions()), *surroundings(ledger, records, runs)]
        for finding in findings:
            say(str(finding))
        raise typer.Exit(ExitCode.NO if findings else ExitCode.DONE)
