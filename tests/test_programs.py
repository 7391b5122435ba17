"""What other programs rely on: one document a command, the codes that it ends with, and the version."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import typer.main
from optuna.trial import TrialState

import hpo as package
from hpo.cli.document import SCHEMA
from hpo.cli.main import app
from hpo.errors import ExitCode
from hpo.storage.database import open_storage
from hpo.trial.lifecycle import state_of
from hpo.trial.record import read_asked, write_asked
from tests.finished import STUDY, finished
from tests.test_cli import ENVIRONMENT, INLINE, Output, home, hpo, refused, write

__all__ = ["home"]  # a fixture


def document(output: Output) -> dict[str, Any]:
    """The whole of standard output, as JSON. Without NaN, which is no JSON."""
    printed: dict[str, Any] = json.loads(output.out, parse_constant=pytest.fail)
    assert list(printed) == ["schema", "hpo", "verb", "exit_code", "error", "result"]
    assert (printed["schema"], printed["hpo"]) == (SCHEMA, package.__version__)
    assert printed["exit_code"] == output.code
    return printed


def verbs(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


VERBS = dict(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_prints_a_document_for_programs(verb: str) -> None:
    assert "--json" in {option for parameter in VERBS[verb].params for option in parameter.opts}


def test_a_command_that_fails_prints_its_code_and_its_reason_in_the_document_too(home: Path) -> None:
    study = write("study = replace(toy, task=Hopeless())")
    failed = hpo("sweep", study, "--force", *INLINE, "--json")
    printed = document(failed)
    assert (printed["verb"], printed["exit_code"], printed["result"]) == ("sweep", ExitCode.TRIALS_FAILED, None)
    assert f"hpo: {printed['error']}\n" in failed.err
    assert "nothing can be learned here" in printed["error"]
    printed = document(hpo("status", "nowhere", "--json"))
    assert (printed["exit_code"], printed["result"]) == (ExitCode.BAD_INPUT, None)


def test_a_run_that_ends_at_a_no_go_says_why_in_the_document(home: Path) -> None:
    printed = document(hpo("run", write("study = replace(toy, task=Ignorant())"), "--workers", "1", "--json"))
    assert (printed["exit_code"], printed["result"]) == (ExitCode.NO, None)
    assert "said no-go" in printed["error"]


def test_what_is_not_asked_of_a_study_prints_its_document_too(home: Path) -> None:
    started = document(hpo("init", "ovals", "--json"))
    assert started["result"] == {"study": "ovals.py", "test": "test_ovals.py"}
    assert Path("ovals.py").exists()


def test_every_verb_of_the_ledger_prints_what_it_has_done(home: Path) -> None:
    def result(*words: str, code: int = 0) -> Any:
        printed = document(hpo("ledger", *words, "--json"))
        assert (printed["verb"], printed["exit_code"]) == (f"ledger {words[0]}", code)
        return printed["result"]

    created = {"id": "v1.0_one", "status": "planned"}
    assert result("new", "v1.0_one", "--title", "One") == created | {"file": "experiments/v1.0_one.md"}
    assert result("set", "v1.0_one", "priority", "2") == created
    assert result("note", "v1.0_one", "lesson", "None") == created | {"heading": "Lesson"}
    question = {"id": "q1", "status": "open", "question": "Why?"}
    assert result("ask", "Why?").items() >= question.items()
    assert result("suppose", "q1", "because")["hypotheses"] == [{"state": "open", "text": "because", "evidence": []}]
    assert result("show", "q1")["hypotheses"][0]["text"] == "because"
    shown = result("show", "v1.0_one")
    assert (shown["priority"], "*\n\nNone\n" in shown["text"]) == (2, True)
    assert [record["id"] for record in result("list")] == ["v1.0_one"]
    assert result("similar", "v1.0_one") == []
    assert result("page", "--check", code=1) == {
        "changed": [str(home / "EXPERIMENTS.md"), str(home / "EXPERIMENTS.html")],
        "written": False,
    }
    assert result("lint") == []
    assert document(hpo("ledger", "list", "--json", "--csv"))["error"] == "--json or --csv, not both"
    result("new", "v1.1_two", "--title", "Two")
    Path("experiments/v1.1_two.md").write_text(Path("experiments/v1.1_two.md").read_text() + "\n## Lesson\n")
    assert [finding["id"] for finding in result("lint", code=1)] == ["v1.1_two"]
    Path("kept.md").write_text("# Experiments\n\n### d2 - Masks ✓ SUCCESS\n\n**Approach:** masks\n")
    assert len(result("import", "kept.md")["records"]) == 1


# -- export ----------------------------------------------------------------------------------------------------------
def table(*words: str) -> list[dict[str, str]]:
    output = hpo("export", "run", "--csv", *words)
    assert (output.code, output.err) == (0, "")
    return list(csv.DictReader(io.StringIO(output.out)))


def test_the_table_of_trials_is_what_the_storage_says(home: Path) -> None:
    folder = finished(home / "runs")
    sweep = optuna.load_study(study_name=STUDY.name, storage=open_storage(folder.storage))
    trials = [trial for trial in sweep.trials if trial.number < STUDY.trials]  # the last one has no folder
    rows = table()
    assert list(rows[0]) == [
        *("number", "state", "value", "seconds", "epochs"),
        *(f"score.{name}" for name in trials[0].user_attrs["scores"]),
        *(f"param.{name}" for name in STUDY.space),
        "reason",
    ]
    assert [int(row["number"]) for row in rows] == [trial.number for trial in trials]
    assert [row["state"] for row in rows] == [state_of(trial) for trial in trials]
    for row, trial in zip(rows, trials, strict=True):
        assert {name: float(row[f"param.{name}"]) for name in trial.params} == trial.params
        assert float(row["score.mse"]) == trial.user_attrs["scores"]["mse"]
        assert (float(row["seconds"]), int(row["epochs"])) == (trial.user_attrs["seconds"], trial.user_attrs["epochs"])
        if trial.state is TrialState.COMPLETE:
            assert float(row["value"]) == trial.value


@pytest.mark.parametrize("is_old", [False, True], ids=["of today", "of an older version"])
def test_the_runs_of_a_promotion_are_a_table_of_their_own(is_old: bool, home: Path) -> None:
    folder = finished(home / "runs")
    if is_old:
        for number in folder.numbers("promotion"):
            path = folder.trial("promotion", number)
            asked = read_asked(path)
            attributes = {name: asked.attributes[name] for name in ("key", "seed")}
            write_asked(path, replace(asked, attributes=attributes))
    rows, verdict = table("--promotion"), json.loads(folder.verdict.read_text())
    runs = [run | {"candidate": result["candidate"]["name"]} for result in verdict["results"] for run in result["runs"]]
    assert len(rows) == len(runs)
    for run in runs:
        row = rows[run["number"]]
        assert (row["candidate"], int(row["seed"])) == (run["candidate"], run["seed_index"])
        assert (float(row["value"]), float(row["score.mse"])) == (run["value"], run["test"]["mse"])


def test_a_trial_that_failed_and_one_that_has_not_ended_are_rows_too(home: Path) -> None:
    study = write("study = replace(toy, task=Hopeless())")
    hpo("sweep", study, "--force", *INLINE)
    Path("runs/toy/sweep/0001/result.json").unlink()
    rows = document(hpo("export", "toy", "--json"))["result"]["trials"]
    assert [row["state"] for row in rows] == ["failed", "unfinished", "failed"]
    assert [row["value"] for row in rows] == [None] * 3
    assert "nothing can be learned here" in rows[0]["reason"]
    assert rows[1]["params"].keys() == rows[0]["params"].keys() != set()


def test_an_export_needs_a_form_and_trials(home: Path) -> None:
    Path("runs/empty").mkdir(parents=True)
    for words, said in (
        (("empty", "--csv"), "no trial has been run in"),
        (("empty",), "say in which form: --csv, --json or --parquet FILE"),
        (("empty", "--csv", "--parquet", "t.parquet"), "without --json and --parquet"),
        (("nowhere", "--csv"), "no study 'nowhere'"),
    ):
        assert said in refused(home, "export", *words)


def test_parquet_has_the_same_table_and_without_pyarrow_it_says_what_to_install(home: Path) -> None:
    finished(home / "runs")
    if importlib.util.find_spec("pyarrow") is None:
        assert "pip install 'hpo[parquet]'" in refused(home, "export", "run", "--parquet", "trials.parquet")
        return
    from pyarrow import parquet

    assert hpo("export", "run", "--parquet", "trials.parquet").out == "trials.parquet\n"
    written, rows = parquet.read_table("trials.parquet").to_pylist(), table()
    assert [list(row) for row in written] == [list(row) for row in rows]
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in written] == rows


def test_the_trials_are_exported_without_torch_and_optuna(home: Path) -> None:
    finished(home / "runs")
    code = (
        "import sys; from typer.testing import CliRunner; from hpo.cli.main import app\n"
        "output = CliRunner().invoke(app, ['export', 'run', '--csv']); assert output.exit_code == 0, output\n"
        "print(sorted({'torch', 'optuna', 'scipy', 'numpy', 'sqlalchemy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_version_waits_for_nothing() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from hpo.cli.main import app\n"
        "output = CliRunner().invoke(app, ['--version']); assert output.exit_code == 0, output\n"
        "print(output.stdout, sorted({'torch', 'optuna', 'scipy', 'numpy', 'rich.console'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == f"hpo {package.__version__}\n []\n"
