"""hpo export: the trials of a study as a table for other programs."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo.cli.document import document
from hpo.cli.exits import exits
from hpo.cli.options import Debug, Json, Runs
from hpo.cli.terminal import say
from hpo.errors import Refused

if TYPE_CHECKING:
    from hpo.verbs.export import TrialRow

Study = Annotated[str, typer.Argument(metavar="STUDY", help="Its name in the folder of runs, or its file.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]
Parquet = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table as Parquet; needs pyarrow.")]
Promotion = Annotated[bool, typer.Option("--promotion", help="The runs of the promotion, not the sweep's trials.")]


def export(
    study: Study,
    as_csv: Csv = False,
    parquet: Parquet = None,
    promotion: Promotion = False,
    runs: Runs = Path("runs"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Print every trial of a study with its scores and parameters, or write them to a file."""
    with document("export", as_json) as answer, exits(debug):
        from hpo.verbs.export import export_trials

        if as_csv and (as_json or parquet):
            raise Refused("--csv prints the table; give it without --json and --parquet")
        if not (as_csv or as_json or parquet):
            raise Refused("say in which form: --csv, --json or --parquet FILE")
        rows = export_trials(study, promotion=promotion, runs=runs)
        if parquet is not None:
            _write_parquet(parquet, _table(rows, promotion))
            say(str(parquet))
        if as_csv:
            _print_csv(_table(rows, promotion))
        answer({"trials": rows, "file": parquet})


def _table(rows: Sequence[TrialRow], promotion: bool) -> list[dict[str, Any]]:
    """The rows with the same columns each: number, state, value, seconds, epochs, then scores and parameters."""
    scores = dict.fromkeys(name for row in rows for name in row.scores)
    params = dict.fromkeys(name for row in rows for name in row.params)
    return [
        {
            "number": row.number,
            **({"candidate": row.candidate, "seed": row.seed} if promotion else {}),
            "state": row.state,
            "value": row.value,
            "seconds": row.seconds,
            "epochs": row.epochs,
            **{f"score.{name}": row.scores.get(name) for name in scores},
            **{f"param.{name}": row.params.get(name) for name in params},
            "reason": row.reason,
        }
        for row in rows
    ]


def _print_csv(table: Sequence[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)


def _write_parquet(path: Path, table: Sequence[dict[str, Any]]) -> None:
    """Write the file whole. Raises Refused where pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise Refused("--parquet needs pyarrow, which is not installed; pip install 'hpo[parquet]'") from error
    from hpo.files import write_whole

    columns = {name: _of_one_type([row[name] for row in table]) for name in table[0]}
    content = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), content)
    write_whole(path, content.getvalue())


def _of_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """The values as a column can hold them: as text where they are neither all numbers nor all of one type."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 or kinds == {int, float}:
        return values
    return [None if value is None else str(value) for value in values]
