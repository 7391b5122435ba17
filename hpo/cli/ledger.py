"""hpo ledger VERB: what a person writes into the experiment ledger, and what it answers."""

from __future__ import annotations

import typer

from hpo.cli import ledger_reading, ledger_writing
from hpo.cli.ledger_import import import_file
from hpo.cli.questions import ask, suppose

app = typer.Typer(no_args_is_help=True, help="The experiment ledger: one record per experiment, in experiments/.")
TEXT_MAY_BEGIN_WITH_A_DASH = {"ignore_unknown_options": True}  # as a list does

app.command("import")(import_file)
app.command()(ask)
app.command()(suppose)
app.command()(ledger_writing.new)
app.command(context_settings=TEXT_MAY_BEGIN_WITH_A_DASH)(ledger_writing.note)
app.command("set", context_settings=TEXT_MAY_BEGIN_WITH_A_DASH)(ledger_writing.set_field)
app.command("list")(ledger_reading.list_records)
app.command()(ledger_reading.questions)
app.command()(ledger_reading.similar)
app.command()(ledger_reading.show)
app.command()(ledger_writing.sync)
app.command()(ledger_reading.page)
app.command()(ledger_reading.lint)
