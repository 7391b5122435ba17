"""What other programs rely on: one document a command, the codes that it ends with, and the version."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import hpo as package
from hpo.cli.document import SCHEMA
from hpo.cli.main import app
from hpo.errors import ExitCode
from tests.test_cli import ENVIRONMENT, INLINE, Output, home, hpo, write

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
    assert (printed["verb"], printed["exit_code"], printed["result"]) == ("sweep", ExitCode.ALL_FAILED, None)
    assert failed.err == f"hpo: {printed['error']}\n"
    assert printed["error"].startswith("3 trials in a row failed alike: ValueError: nothing can be learned here")
    printed = document(hpo("status", "nowhere", "--json"))
    assert (printed["exit_code"], printed["result"]) == (ExitCode.BAD_INPUT, None)


def test_a_run_that_ends_at_a_no_go_says_why_in_the_document(home: Path) -> None:
    printed = document(hpo("run", write("study = replace(toy, task=Ignorant())"), "--workers", "1", "--json"))
    assert (printed["exit_code"], printed["result"]) == (ExitCode.NO, None)
    assert "said no-go" in printed["error"]


def test_what_is_not_asked_of_a_study_prints_its_document_too(home: Path) -> None:
    started = document(hpo("init", "rings", "--json"))
    assert started["result"] == {"study": "rings.py", "test": "test_rings.py"}
    assert Path("rings.py").exists()


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
    assert (shown["priority"], "## Lesson\n\nNone" in shown["text"]) == (2, True)
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


def test_the_version_waits_for_nothing() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from hpo.cli.main import app\n"
        "output = CliRunner().invoke(app, ['--version']); assert output.exit_code == 0, output\n"
        "print(output.stdout, sorted({'torch', 'optuna', 'scipy', 'numpy', 'rich.console'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == f"hpo {package.__version__}\n []\n"
