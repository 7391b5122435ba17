"""hpo ledger import: a file of experiments that was kept by hand becomes records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.document import document
from hpo.cli.exits import exits
from hpo.cli.ledger_options import EXPERIMENTS, Debug, Folder, Json
from hpo.cli.terminal import say
from hpo.errors import Refused
from hpo.ledger.folder import Ledger, now

if TYPE_CHECKING:
    from hpo.ledger.importing.transfer import Transfer

File = Annotated[Path, typer.Argument(metavar="FILE", help="Markdown, as EXPERIMENTS.md.")]
Leave = Annotated[bool, typer.Option("--leave", help="Leave records that say something else, and import the rest.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")]


def import_file(
    file: File,
    leave: Leave = False,
    dry_run: DryRun = False,
    ledger: Folder = EXPERIMENTS,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make records of a file of experiments that was kept by hand. Nothing of it is lost, nothing overwritten."""
    with document("ledger import", as_json) as answer, exits(debug):
        from hpo.ledger.importing.text import read_source
        from hpo.ledger.importing.transfer import transfer, write

        source, folder = read_source(file), Ledger(ledger)
        result = transfer(folder, source, now())
        if not dry_run:
            _check(result, leave)
            folder.make()
            with folder.locked():
                result = transfer(folder, source, now())  # somebody may have written in between
                _check(result, leave)
                write(folder, result)
        answer(_in_json(result))
        _report(result, folder)


def _check(result: Transfer, leave: bool) -> None:
    """Raise Refused where something is there already with another text."""
    if result.differences and not leave:
        lines = "\n".join(f"  {difference}" for difference in result.differences)
        raise Refused(f"nothing was imported, since the ledger differs (--leave imports the rest):\n{lines}")


def _in_json(result: Transfer) -> dict[str, Any]:
    return {
        "records": [record.id for record in result.records],
        "questions": [question.id for question in result.questions],
        "notes": list(result.notes),
        "known": result.known,
        "differences": [str(difference) for difference in result.differences],
        "remarks": [str(remark) for remark in result.remarks],
    }


def _report(result: Transfer, ledger: Ledger) -> None:
    for record in result.records:
        say(f"{ledger.file(record.id)}: {record.status}: {record.label}")
    for question in result.questions:
        say(f"{ledger.file(question.id)}: question, {question.status}: {question.text}")
    for name in result.notes:
        say(f"{ledger.path / name}: notes that belong to no experiment")
    if result.known:
        say(f"imported before: {', '.join(result.known)}")
    for difference in result.differences:
        say(f"left as it is: {difference}")
    if result.remarks:
        say("To look at:")
    for remark in result.remarks:
        say(f"  {remark}")
