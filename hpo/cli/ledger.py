"""hpo ledger VERB: what a person says to the ledger, and asks of it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo.cli.exits import exits
from hpo.cli.terminal import plain, say, table
from hpo.errors import ExitCode

if TYPE_CHECKING:
    from hpo.ledger.folder import Ledger

app = typer.Typer(no_args_is_help=True, help="The experiment ledger: one record per experiment, in experiments/.")

Id = Annotated[str, typer.Argument(metavar="ID", help="v1.2_wide, or with its status behind it.")]
Folder = Annotated[Path, typer.Option("--ledger", metavar="DIR", help="Where the records are.")]
Runs = Annotated[Path, typer.Option(metavar="DIR", help="Where studies are kept.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="Kept in the history.")]
Study = Annotated[str, typer.Option(metavar="NAME", help="The study it is about: a folder in runs/.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
LIST = {"ignore_unknown_options": True}  # a text may begin with "- "
HERE, RUNS = Path("experiments"), Path("runs")


@app.command()
def new(
    id: Id,
    title: str = "",
    study: Study = "",
    parent: str = "",
    priority: str = "",
    cost: Annotated[str, typer.Option(help="Expected, in words: 20 min on two cores.")] = "",
    ledger: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Plan an experiment, or begin the record of a run made by hand; with --study, give its record this id."""
    with exits(debug):
        from hpo.ledger.record import field_of, name_of

        given = {"title": title, "study": study, "parent": parent, "priority": priority, "cost": cost}
        fields = {key: field_of(key, value) for key, value in given.items() if value or key == "title"}
        opened, wanted = _ledger(ledger), name_of(id).id
        opened.make()
        with opened.locked():
            before = opened.of_study(study) if study else None
            record = opened.rename(before, wanted) if before else opened.create(wanted, fields)
            if before:
                for key, value in fields.items():
                    record = opened.write(record.with_field(key, value)) if value else record
        say(str(opened.file(record.id)))


@app.command(context_settings=LIST)
def note(
    id: Id,
    heading: Annotated[str, typer.Argument(help="hypothesis, approach, results, problem, root, lesson, next, open.")],
    text: Annotated[str, typer.Argument(help="Markdown; - reads it from standard input.")],
    ledger: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Add a paragraph under a heading of the record. Nothing that was written is lost."""
    with exits(debug):
        from hpo.ledger.record import heading_of

        wanted, said = heading_of(heading), sys.stdin.read() if text == "-" else text
        record = _ledger(ledger).change(id, lambda one: one.with_note(wanted, said))
        say(f"{record.id}: {wanted}")


@app.command("set", context_settings=LIST)
def set_field(
    id: Id,
    key: Annotated[str, typer.Argument(help="status, title, priority, cost, parent, study, confidence, ...")],
    value: str,
    why: Why = "",
    ledger: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Set a field. `status success` needs a promotion, `status failed` a problem or a lesson; `status wip` reopens."""
    with exits(debug):
        from hpo.ledger.folder import now, person
        from hpo.ledger.record import field_of
        from hpo.ledger.verdicts import moved

        if key == "status":
            at, who = now(), person()
            record = _ledger(ledger).change(id, lambda one: moved(one, value, at=at, who=who, why=why))
        else:
            given = field_of(key, value)
            record = _ledger(ledger).change(id, lambda one: one.with_field(key, given))
        say(record.name)


@app.command("list")
def list_records(
    status: Annotated[str, typer.Option(help="Only those of this status.")] = "",
    find: Annotated[str, typer.Option(metavar="TEXT", help="Only those that say this, in any case.")] = "",
    ledger: Folder = HERE,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """The experiments, with what came of them."""
    with exits(debug):
        from hpo.errors import Refused
        from hpo.ledger.reading import result
        from hpo.ledger.record import STATUSES

        if status and status not in STATUSES:
            raise Refused(f"--status: must be one of {', '.join(STATUSES)}; got {status!r}")
        found = [
            one
            for one in _ledger(ledger).records()
            if status in ("", one.status) and find.lower() in f"{one.id}\n{one.title}\n{one.prose}".lower()
        ]
        if as_json:
            print(json.dumps([{"id": one.id, **one.person, **one.kept} for one in found], indent=1, default=str))
            return
        table(
            "",
            ("experiment", "status", "state", "result", "title"),
            [
                (
                    one.id,
                    one.status,
                    plain(str(one.part("study").get("state", ""))),
                    plain(result(one).shown),
                    plain(one.title),
                )
                for one in found
            ],
        )


@app.command()
def show(id: Id, ledger: Folder = HERE, debug: Debug = False) -> None:
    """One record as its file has it, and what the harness would conclude."""
    with exits(debug):
        from hpo.ledger.record import CONCLUDED, render
        from hpo.ledger.verdicts import proposed

        record = _ledger(ledger).find(id)
        print(render(record).decode())
        if record.status not in CONCLUDED:
            say(f"the harness would say: {proposed(record)}")


@app.command()
def sync(
    study: Annotated[str | None, typer.Argument(metavar="[STUDY]", help="Its name; all of them if left out.")] = None,
    runs: Runs = RUNS,
    ledger: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Bring the records up to date with the studies' folders; a study without a record gets one."""
    with exits(debug):
        from hpo.ledger.harvest import sync as from_runs

        for one in from_runs(_ledger(ledger), runs, study):
            say(f"{one.id}: {one.study}: {one.message}")


@app.command()
def page(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 where a page would change.")] = False,
    runs: Runs = RUNS,
    ledger: Folder = HERE,
    debug: Debug = False,
) -> None:
    """Write EXPERIMENTS.md and EXPERIMENTS.html beside the folder of records."""
    with exits(debug):
        from hpo.files import write_whole
        from hpo.ledger.page import pages

        folder = ledger.resolve()
        made = pages(_ledger(ledger).records(), folder.name, os.path.relpath(runs, folder.parent))
        files = {folder.parent / name: text.encode() for name, text in made.items()}
        stale = [path for path, content in files.items() if not path.exists() or path.read_bytes() != content]
        for path in stale:
            if not check:
                write_whole(path, files[path])
            say(f"{path}: not up to date" if check else str(path))
        raise typer.Exit(ExitCode.NO if check and stale else 0)


@app.command()
def lint(runs: Runs = RUNS, ledger: Folder = HERE, debug: Debug = False) -> None:
    """What the records promise and do not keep. Exit 1 where there is anything."""
    with exits(debug):
        from hpo.ledger.lint import promises, surroundings

        records = _ledger(ledger).records()
        found = [*promises(records), *surroundings(ledger, records, runs)]
        for one in found:
            say(str(one))
        raise typer.Exit(ExitCode.NO if found else 0)


def _ledger(path: Path) -> Ledger:
    from hpo.ledger.folder import Ledger

    return Ledger(path)
