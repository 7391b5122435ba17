"""The ledger: what a person writes is never lost, what the harness knows is true, and no status is had for nothing.

Expected figures come from the storage and the verdict of a toy study; forms from tomllib, markdown-it and the standard
library's HTML parser.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hpo.errors import Refused
from hpo.ledger import dashboard, harvest, keeping, reading
from hpo.ledger.dashboard import Column
from hpo.ledger.fields import HEADINGS
from hpo.ledger.folder import Ledger
from hpo.ledger.front_matter import toml
from hpo.ledger.lint import promises, surroundings
from hpo.ledger.markdown import markdown
from hpo.ledger.name import STATUSES, name_of, variant_of
from hpo.ledger.page import html, pages
from hpo.ledger.record import MARK, Record, blank, parse, render
from hpo.ledger.verdicts import NEXT, doubts, moved
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from tests.faults.processes import code_of, start
from tests.finished import HOSTILE, finished
from tests.test_cli import INLINE, ROOT, hpo, refused, write
from tests.test_status import imported_by

AT = "2026-01-02T03:04:05+00:00"


@pytest.fixture
def home(memory_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in memory that commands are given in."""
    folder = Path(tempfile.mkdtemp(dir=memory_disk))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def ledger(home: Path) -> Ledger:
    Path("experiments").mkdir()
    return Ledger(Path("experiments"))


def toy_run(home: Path) -> RunFolder:
    """A copy of a finished toy study, in ./runs."""
    Path("runs").mkdir(exist_ok=True)
    return RunFolder(finished(home).path.rename(home / "runs" / "toy"))


def record(
    record_id: str = "v1.0_toy",
    status: str = "planned",
    prose: Mapping[str, str] | None = None,
    person: Mapping[str, Any] | None = None,
    **kept: Any,
) -> Record:
    """A record that came to its status by the shortest way."""
    way = {
        "planned": [],
        "wip": ["wip"],
        "analysis": ["wip", "analysis"],
        "failed": ["wip", "failed"],
        "success": ["wip", "analysis", "success"],
    }[status]
    made = blank(record_id, AT, "me", {"title": "A title", **(person or {})})
    history = [*made.history, *({"at": AT, "to": to, "who": "me"} for to in way)]
    made = replace(made, kept={"status": status, "history": history, **kept})
    for heading, text in (prose or {}).items():
        made = made.with_note(heading, text)
    return made


STUDY = {"name": "toy", "state": "complete", "goal": "mse", "direction": "minimize", "preflight": "go"}
PROMOTION = {
    "winner": "trial 3",
    "seeds": 3,
    "test": [0.5, 0.4, 0.6],
    "lead_over_default": [0.2, 0.1, 0.3],
    "best_baseline": "zero",
    "lead_over_baseline": [0.9, 0.8, 1.0],
    "eval": "e1",
    "data": "d1",
    "fidelity": "f1",
}
PROMOTED = {"study": STUDY, "promotion": PROMOTION, "winner": {"sha256": "00", "weights": "winner/w"}}


# -- names -----------------------------------------------------------------------------------------------------------
GOOD = {
    "v0.0_a": "v0.0_a",
    "v1.0_toy": "v1.0_toy",
    "v12.345_x9": "v12.345_x9",
    "v1.0_wide-net": "v1.0_wide-net",
    "v1.0_hdr_scale": "v1.0_hdr_scale",
    "v5.0_ssim_wip": "v5.0_ssim",
    "v5.0_ssim_planned": "v5.0_ssim",
    "v5.0_a-b_c_success": "v5.0_a-b_c",
    "v5.0_x_analysis": "v5.0_x",
    "v5.0_x_failed": "v5.0_x",
    "v1.0_9": "v1.0_9",
    "v1.0_success-rate": "v1.0_success-rate",
    "v1.0_failed_runs": "v1.0_failed_runs",
    "v1.0_wipe": "v1.0_wipe",
    "v1.0_" + "a" * 80: "v1.0_" + "a" * 80,
}
BAD = [
    "",
    "v4_ft",
    "torture_ft",
    "v5.0_wip",
    "v5.0_a_failed_wip",
    "v5.0_a-wip",
    "v5.0_success_failed",
    "1.0_a",
    "V1.0_a",
    "v1.0",
    "v1.0_",
    "v1.0_A",
    "v01.0_a",
    "v1.00_a",
    "v1.0_a__b",
    "v1.0_a_-b",
    "v1.0__a",
    "v1.0_a_",
    "v1.0_a-",
    "v1.0_a b",
    "v1.0_a.b",
    "v1.0_a\n",
    "v1.0_ä",
    "v١.0_a",  # noqa: RUF001
    "v1.0.0_a",
    "v-1.0_a",
    "v1.0_a/b",
    "../v1.0_a",
    "v1.0_" + "a" * 81,
    "v1234567.0_a",
    "v1.0_a_FAILED",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_name_is_an_id_with_its_status_behind_it(text: str) -> None:
    assert name_of(text).id == GOOD[text]
    assert name_of(text).status == (text.rpartition("_")[2] if text != GOOD[text] else None)


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=re.escape(repr(text)) + "|in a status"):
        name_of(text)


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True))
def test_every_study_has_a_variant(study: str) -> None:
    assert name_of(f"v1.0_{variant_of(study)}").variant == variant_of(study)


def test_a_variant_reads_like_its_study() -> None:
    studies = {"hdr_scale": "hdr_scale", "Low-Light.v2": "low-light-v2", "a__b-": "a_b", "wip": "wip-study"}
    assert {study: variant_of(study) for study in studies} == studies


# -- the file --------------------------------------------------------------------------------------------------------
SCALARS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TABLES = st.recursive(
    st.dictionaries(KEYS, SCALARS | st.lists(SCALARS, max_size=3), max_size=4),
    lambda inner: st.dictionaries(KEYS, inner | SCALARS | st.lists(inner, min_size=1, max_size=2), max_size=3),
    max_leaves=6,
)
PROSE = st.text(st.sampled_from("ab \t\n\r#`~+|<é\u2028") | st.characters(exclude_categories=["Cs"]))


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_any_table_comes_back_from_its_toml(table: dict[str, Any]) -> None:
    assert tomllib.loads(toml(table)) == table


@settings(max_examples=60, deadline=None)
@given(PROSE, st.text(st.characters(exclude_categories=["Cs"])), TABLES)
def test_a_record_comes_back_from_its_file_with_the_prose_byte_for_byte(prose: str, title: str, table: dict) -> None:
    one = replace(record(person={"title": title}), prose=prose)
    one = replace(one, kept={**one.kept, "space": table})
    content = render(one)
    assert parse(one.id, content) == one
    assert content.endswith(prose.encode())
    assert render(parse(one.id, content)) == content


@settings(max_examples=150, deadline=None)
@given(
    st.binary()
    | st.builds(lambda a, b, c: f"+++\n{a}\n{MARK}\n{b}+++\n{c}".encode(errors="replace"), PROSE, PROSE, PROSE)
)
def test_whatever_lies_there_is_read_or_refused(content: bytes) -> None:
    with suppress(Refused):
        assert parse("v1.0_toy", content).status in STATUSES


BROKEN = {
    b"no front matter": "must begin with a line +++",
    b"+++\ntitle = \n+++\n": "cannot be read: Invalid value",
    b"+++\n<<<<<<< ours\ntitle = 1\n=======\n>>>>>>> theirs\n+++\n": "an unresolved merge (<<<<<<< ours)",
    b"+++\nstatus = 'wip'\n+++\n": "has lost its line",
    f"+++\n{MARK}\nstatus = 'done'\n+++\n".encode(): "has the status 'done'; allowed: planned, wip",
    f"+++\n{MARK}\nsweep = 3\n+++\n".encode(): "sweep must be a table",
    f"+++\n{MARK}\nhistory = [1]\n+++\n".encode(): "a damaged history",
    b"+++\ntitle = '\xff'\n+++\n": "cannot be read: 'utf-8'",
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_record_is_refused_with_what_is_wrong(content: bytes) -> None:
    with pytest.raises(Refused, match=re.escape(BROKEN[content])):
        parse("v1.0_toy", content)


def test_a_note_goes_under_its_heading_and_moves_nothing_else() -> None:
    one = record(prose={"Lesson": "first"})
    two = one.with_note("Lesson", "second\n\n## Problem\n# no heading of the record's")
    assert two.section("Lesson") == "first\n\nsecond\n\n\\## Problem\n\\# no heading of the record's"
    assert [two.section(heading) for heading in HEADINGS if heading != "Lesson"] == [""] * 7
    prose = "Free text\r\n\r\n```\n## Lesson\n```\n\n## Lesson \nkept  \n\n\n## Mine\nto the end"
    hand_written = replace(one, prose=prose)
    noted = hand_written.with_note("Lesson", "- more")
    assert noted.prose == hand_written.prose.replace("kept  \n\n\n", "kept\n\n- more\n\n")
    assert hand_written.with_note("Problem", "new").prose == f"{hand_written.prose}\n\n## Problem\n\nnew\n"
    with pytest.raises(Refused, match="opens a ``` or ~~~ that it does not close"):
        one.with_note("Problem", "```\nnever closed")


def test_a_field_is_changed_in_its_line_alone() -> None:
    fields = "# mine\ntitle = 'old'  # why\n\npriority = 3\n"
    one = replace(record(), fields=fields)
    assert one.with_field("title", 'a "b"\n\\').fields == fields.replace("'old'  # why", '"a \\"b\\"\\n\\\\"')
    assert one.with_field("cost", "1 h").fields == f'{fields}cost = "1 h"\n'
    with pytest.raises(Refused, match=r"edit experiments/v1\.0_toy\.md"):
        replace(one, fields="title = '''\nlong'''\n").with_field("title", "short")


# -- status ----------------------------------------------------------------------------------------------------------
LEGAL = {
    ("planned", "wip"),
    ("wip", "analysis"),
    ("wip", "failed"),
    ("analysis", "success"),
    ("analysis", "failed"),
    ("success", "wip"),
    ("failed", "wip"),
}


@pytest.mark.parametrize(("before", "after"), [*itertools.product(STATUSES, STATUSES)])
def test_only_the_legal_transitions_are_made(before: str, after: str) -> None:
    one = record(status=before, prose={"Lesson": "one"}, **PROMOTED)
    if (before, after) not in LEGAL:
        with pytest.raises(Refused, match=f"v1.0_toy cannot go from {before} to {after}; allowed: "):
            moved(one, after, at=AT, who="me", why="because")
        return
    then = moved(one, after, at=AT, who="me", why="because")
    assert (then.status, then.name) == (after, f"v1.0_toy_{after}")
    assert then.history == [*one.history, {"at": AT, "to": after, "who": "me", "why": "because"}]
    assert {key: then.kept[key] for key in PROMOTED} == PROMOTED
    assert {before: set(after) for before, after in NEXT.items()} == {
        before: {to for one, to in LEGAL if one == before} for before in STATUSES
    }


def test_a_failure_needs_a_problem_or_a_lesson() -> None:
    for status, prose in itertools.product(("wip", "analysis"), ({}, {"Results": "none"}, {"Root cause": "x"})):
        with pytest.raises(Refused, match="needs a problem or a lesson"):
            moved(record(status=status, prose=prose), "failed", at=AT, who="me")
    for heading in ("Problem", "Lesson"):
        assert moved(record(status="wip", prose={heading: "x"}), "failed", at=AT, who="me").status == "failed"


def test_a_success_needs_a_promotion_with_its_weights() -> None:
    for kept in ({}, {"study": STUDY}, {**PROMOTED, "promotion": {"progress": "2/9 runs"}}, {**PROMOTED, "winner": {}}):
        with pytest.raises(Refused, match="a success needs"):
            moved(record(status="analysis", **kept), "success", at=AT, who="me", why="I say so")
    assert moved(record(status="analysis", **PROMOTED), "success", at=AT, who="me").status == "success"


DOUBTS = {
    "2 seeds, fewer than 3": {"promotion": {**PROMOTION, "seeds": 2}},
    "lead over the default is not surely above zero": {
        "promotion": {**PROMOTION, "lead_over_default": [0.2, -0.1, 0.5]}
    },
    "the default stands": {"promotion": {**PROMOTION, "winner": "default", "lead_over_default": "n/a"}},
    "lead over zero is not surely above": {"promotion": {**PROMOTION, "lead_over_baseline": "not measured"}},
    "check says no-go: ssim": {"promotion": {**PROMOTION, "no_go": ["ssim"]}},
    "preflight: forced past no-go": {"study": {**STUDY, "preflight": "no-go", "forced": True}},
    "preflight: not run": {"study": {**STUDY, "preflight": "not run"}},
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_what_speaks_against_a_success_needs_a_reason_which_is_kept(doubt: str) -> None:
    one = record(status="analysis", **{**PROMOTED, **DOUBTS[doubt]})
    assert [doubt in said for said in doubts(one)] == [True]
    with pytest.raises(Refused, match=f"{re.escape(doubt)}.*--why"):
        moved(one, "success", at=AT, who="me", why=" ")
    assert moved(one, "success", at=AT, who="me", why="small").history[-1]["why"] == "small"


def test_what_is_concluded_is_taken_up_again_with_a_reason_only() -> None:
    with pytest.raises(Refused, match="say why it is taken up again"):
        moved(record(status="failed", prose={"Lesson": "x"}), "wip", at=AT, who="me")


# -- the folder ------------------------------------------------------------------------------------------------------
def test_two_processes_that_write_at_once_lose_nothing(ledger: Ledger) -> None:
    """Each adds 25 notes to one record, and 10 records by the next free number."""

    def work(who: str) -> None:
        for number in range(25):
            ledger.change("v1.0_toy", lambda one, n=number: one.with_note("Results", f"{who}{n}."))
        for number in range(10):
            with ledger.locked():
                ledger.create(ledger.next_id("x"), {"title": f"{who}{number}"})

    ledger.create("v1.0_toy", {"title": ""})
    pids = [start(lambda who=who: work(who)) for who in "ab"]
    assert [code_of(pid) for pid in pids] == [0, 0]
    assert sorted(ledger.read("v1.0_toy").section("Results").split()) == sorted(
        f"{who}{number}." for who in "ab" for number in range(25)
    )
    made = [one.title for one in ledger.records()[1:]]
    assert sorted(made) == sorted(f"{who}{number}" for who in "ab" for number in range(10))
    assert ledger.ids()[-1] == "v1.20_x"


def test_a_process_that_is_killed_while_it_writes_leaves_the_old_record_or_the_new(ledger: Ledger) -> None:
    ledger.create("v1.0_toy", {"title": ""})
    old = ledger.file("v1.0_toy").read_bytes()
    add = lambda: ledger.change("v1.0_toy", lambda one: one.with_note("Lesson", "x" * 10_000))  # noqa: E731
    for moment in (1, 2):  # before what an earlier process has left is removed, and before the rename
        assert code_of(start(add, die_at=moment)) == -signal.SIGKILL
        assert ledger.file("v1.0_toy").read_bytes() == old
    assert list(Path("experiments").glob(".*.tmp"))
    add()
    assert ledger.read("v1.0_toy").section("Lesson") == "x" * 10_000
    assert os.listdir("experiments") == ["v1.0_toy.md"]


def test_two_branches_that_wrote_under_two_headings_and_synced_are_merged_by_git(home: Path) -> None:
    base = record(study=STUDY, status="wip")
    ours = base.with_note("Lesson", "a lesson")
    theirs = replace(base, kept={**base.kept, **PROMOTED}).with_note("Next steps", "a step").with_field("priority", 1)
    for name, one in (("base", base), ("ours", ours), ("theirs", theirs)):
        Path(name).write_bytes(render(one))
    merged = subprocess.run(["git", "merge-file", "-p", "ours", "base", "theirs"], capture_output=True, check=False)
    assert merged.returncode == 0
    assert parse("v1.0_toy", merged.stdout) == theirs.with_note("Lesson", "a lesson")


def test_another_id_takes_the_prose_along_and_children_follow(home: Path, ledger: Ledger) -> None:
    ledger.create("v1.0_toy", {"title": "", "study": "toy"})
    ledger.create("v1.1_child", {"title": "", "parent": "v1.0_toy"})
    ledger.change("v1.0_toy", lambda one: one.with_note("Lesson", "kept"))
    said = hpo("ledger", "new", "v2.0_renamed", "--study", "toy", "--title", "Better")
    assert said.out == "experiments/v2.0_renamed.md\n"
    assert ledger.ids() == ["v1.1_child", "v2.0_renamed"]
    assert (ledger.read("v2.0_renamed").section("Lesson"), ledger.read("v2.0_renamed").title) == ("kept", "Better")
    assert ledger.read("v1.1_child").person["parent"] == "v2.0_renamed"
    assert "there is an experiment v1.1_child already" in refused(home, "ledger", "new", "v1.1_child")


# -- what the harness knows ------------------------------------------------------------------------------------------
def test_a_study_that_is_swept_and_promoted_is_in_the_ledger_with_its_true_figures(home: Path) -> None:
    study = write()
    assert hpo("sweep", study, "--force", *INLINE).code == 0
    assert not Path("experiments").exists()  # nobody has asked for a ledger
    Path("experiments").mkdir()
    assert "ledger: v1.0_toy: wip -> analysis" in hpo("sweep", study, "--force", *INLINE).out
    shown = dashboard.cells(Ledger(Path("experiments")).read("v1.0_toy"))
    columns = (Column.LEAD_OVER_DEFAULT, Column.LEAD_OVER_BASELINE, Column.SEEDS)
    assert [shown[column] for column in columns] == ["not run"] * 3
    assert hpo("promote", study, *INLINE, "--runs", str(home / "runs")).code == 0
    one = Ledger(Path("experiments")).read("v1.0_toy")
    swept = optuna.load_study(study_name="toy", storage=open_storage(RunFolder(Path("runs/toy")).storage))
    verdict = json.loads(Path("runs/toy/verdict.json").read_text())
    winner, card = verdict["results"][0], json.loads(Path("runs/toy/winner/card.json").read_text())
    sweep, promotion = one.part("sweep"), one.part("promotion")
    assert (one.status, one.study, one.part("study")["state"]) == ("analysis", "toy", "complete")
    assert (sweep["trials"], sweep["complete"], sweep["best_trial"]) == (3, 3, swept.best_trial.number)
    assert sweep["best"] == pytest.approx(swept.best_value, rel=1e-5)
    assert sweep["settings"] == swept.best_params
    assert one.part("space") == {"recipe.lr": "log(0.001, 0.3)", "task.shift": "uniform(-1.0, 1.0)"}
    assert [promotion[key] for key in ("winner", "sentence", "seeds")] == [verdict["winner"], verdict["sentence"], 2]
    assert promotion["test"] == pytest.approx([winner["test"][key] for key in ("mean", "low", "high")], rel=1e-5)
    assert promotion["lead_over_baseline"][0] == pytest.approx(winner["ahead_of_baselines"]["zero"]["mean"], rel=1e-5)
    assert one.part("baselines")["zero"] == pytest.approx(verdict["baselines"][0]["scores"]["mse"], rel=1e-5)
    assert one.part("winner")["sha256"] == card["sha256"]
    assert one.part("identity") == swept.user_attrs["identity"]
    assert promotion["data"] != one.part("identity")["data"]  # the test split counts too
    assert [step["to"] for step in one.history] == ["planned", "wip", "analysis"]
    assert one.part("study")["commands"][-1] == f"hpo promote {study} --backend inline"
    assert str(home) not in render(one).decode()  # a record is for every machine
    assert surroundings(Path("experiments"), [one], Path("runs")) == []


def test_a_sync_keeps_what_a_person_wrote_byte_for_byte_and_again_nothing_changes(home: Path, ledger: Ledger) -> None:
    toy_run(home)
    keeping.sync(ledger, Path("runs"))
    path = ledger.file("v1.0_toy")
    fields = b"+++\n# a comment\r\ntitle = 'T'   # of mine\nstudy = \"toy\"\n"
    prose = "Free \u2028 text\r\n\r\n## Lesson  \r\n \t kept\r\n+++\n```\n## Problem".encode()
    path.write_bytes(fields + MARK.encode() + b"\nstatus = 'wip'\n+++\n" + prose)
    assert [one.message for one in keeping.sync(ledger, Path("runs"))] == ["wip -> analysis"]
    after = path.read_bytes()
    assert after.startswith(fields + MARK.encode())
    assert after.endswith(b"\n+++\n" + prose)
    before = path.stat().st_mtime_ns
    assert [one.message for one in keeping.sync(ledger, Path("runs"))] == ["analysis"]
    assert path.stat().st_mtime_ns == before


def test_commands_are_recorded_without_the_places_of_one_machine(home: Path, ledger: Ledger) -> None:
    logged = [
        {
            "argv": ["hpo", "sweep", "my study", "--runs", "my runs", "--data=/d", "--trials", "9"],
            "versions": {"a": "1"},
        },
        {"argv": ["hpo", "sweep", "/home/me/studies/toy.py", "--storage"], "versions": {"a": "1"}},
        {"command": "hpo promote toy --scheduler tcp://h:1 --seeds 3", "versions": {"a": "2"}},
    ]
    folder = toy_run(home)
    folder.commands.write_text("".join(f"{json.dumps(line)}\n" for line in logged))
    keeping.sync(ledger, Path("runs"))
    one = ledger.read("v1.0_toy")
    assert one.part("study")["commands"] == [
        "hpo sweep 'my study' --trials 9",
        "hpo sweep toy.py",
        "hpo promote toy --seeds 3",
    ]
    assert one.part("versions") == {"a": "2"}


def test_a_concluded_record_is_frozen_until_it_is_taken_up_again(home: Path, ledger: Ledger) -> None:
    folder = toy_run(home)
    keeping.sync(ledger, Path("runs"))
    assert hpo("ledger", "note", "v1.0_toy", "lesson", "- too small").code == 0
    assert hpo("ledger", "set", "v1.0_toy_analysis", "status", "failed").out == "v1.0_toy_failed\n"
    frozen = ledger.file("v1.0_toy").read_bytes()
    folder.report.write_text("new")
    assert "its study has changed since" in hpo("ledger", "sync").out
    assert ledger.file("v1.0_toy").read_bytes() == frozen
    assert "v1.0_toy: its study says something else now" in hpo("ledger", "lint").out
    assert hpo("ledger", "set", "v1.0_toy", "status", "wip", "--why", "a report").code == 0
    keeping.sync(ledger, Path("runs"))
    assert ledger.read("v1.0_toy").part("files")["report"] == "report.html"
    assert ledger.read("v1.0_toy").section("Lesson").endswith("*\n\n- too small")


def test_without_its_storage_a_study_keeps_its_record_and_the_pages_their_figures(home: Path, ledger: Ledger) -> None:
    folder = toy_run(home)
    keeping.sync(ledger, Path("runs"))
    before, content = pages(ledger.records(), "experiments", "runs"), ledger.file("v1.0_toy").read_bytes()
    folder.database.unlink()
    assert ["its record stays as it was" in one.message for one in keeping.sync(ledger, Path("runs"))] == [True]
    folder.database.write_bytes(b"no database " * 1000)
    assert ["its record stays as it was" in one.message for one in keeping.sync(ledger, Path("runs"))] == [True]
    shutil.rmtree(folder.path / "sweep")
    assert ["its record stays as it was" in one.message for one in keeping.sync(ledger, Path("runs"))] == [True]
    shutil.rmtree("runs")
    assert ledger.file("v1.0_toy").read_bytes() == content
    assert pages(ledger.records(), "experiments", "runs") == before
    assert ledger.read("v1.0_toy").part("promotion")["sentence"] in before["EXPERIMENTS.html"]


def test_a_study_enters_the_ledger_beside_its_folder_and_no_other(home: Path, ledger: Ledger) -> None:
    Path("elsewhere/runs").mkdir(parents=True)
    folder = RunFolder(toy_run(home).path.rename("elsewhere/runs/toy"))
    with keeping.entered(folder):
        pass
    Path("elsewhere/experiments").mkdir()
    with pytest.raises(ZeroDivisionError), keeping.entered(folder):
        raise ZeroDivisionError  # however it ends
    assert (ledger.ids(), Ledger(Path("elsewhere/experiments")).ids()) == ([], ["v1.0_toy"])


def test_trouble_with_the_ledger_is_said_and_is_no_failure_of_the_sweep(home: Path) -> None:
    Path("experiments").mkdir()
    Path("experiments/v1.0_old.md").write_text("no record")
    said = hpo("sweep", write(), "--force", *INLINE)
    assert said.code == 0
    assert "the ledger was not brought up to date (the record v1.0_old.md must begin" in said.err


def test_a_record_may_be_about_several_studies(home: Path, ledger: Ledger) -> None:
    folder = toy_run(home)
    ledger.create("v1.0_both", {"title": "Both"})
    assert hpo("ledger", "set", "v1.0_both", "study", "first, toy").code == 0
    assert [one.id for one in keeping.sync(ledger, Path("runs"))] == ["v1.0_both"]
    both = ledger.read("v1.0_both")
    assert (both.studies, both.study, both.status) == (("first", "toy"), "first", "wip")  # the first has not been run
    block = harvest.harvest(folder)
    assert block
    assert both.part("further") == {"toy": harvest.further(block)}
    links = reading.files(both, "runs")
    best = block["sweep"]["best_trial"]
    assert links["toy: verdict"] == "runs/toy/verdict.json"
    assert links[f"toy: trial {best}"] == f"runs/toy/sweep/{best:04d}/"
    assert all(Path(link).exists() for link in links.values())
    assert block["promotion"]["sentence"] in dict(reading.facts(both))["study toy"]
    assert hpo("ledger", "set", "v1.0_both", "study", "toy").code == 0
    keeping.sync(ledger, Path("runs"))
    alone = ledger.read("v1.0_both")
    assert (alone.status, alone.part("further")) == ("analysis", {})
    assert {key: alone.kept[key] for key in block} == block
    assert not list(surroundings(ledger.path, [alone], Path("runs")))
    stale = replace(both, kept={**both.kept, "further": {"toy": {}}})
    Path("runs/first").mkdir()
    assert [one.message for one in surroundings(ledger.path, [stale], Path("runs"))] == [
        "its study toy says something else now: hpo ledger sync"
    ]


def test_two_records_of_one_study_a_rehearsal_and_a_preflight(home: Path, ledger: Ledger) -> None:
    left_out = {"study.db", "summary.json", "sweep", "promotion"}
    shutil.copytree(toy_run(home).path, "runs/tried", ignore=lambda *_: left_out)
    assert [one.id for one in keeping.sync(ledger, Path("runs"))] == ["v1.0_toy"]
    ledger.file("v1.0_toy").unlink()
    shutil.rmtree("runs")
    toy_run(home).path.rename("runs/toy-smoke")
    assert keeping.sync(ledger, Path("runs")) == []  # a rehearsal is no experiment
    for record_id in ("v1.0_a", "v1.1_b"):
        ledger.create(record_id, {"title": "", "study": "toy-smoke"})
    assert "v1.0_a and v1.1_b both name the study toy-smoke" in refused(home, "ledger", "sync")


# -- what is shown ---------------------------------------------------------------------------------------------------
def test_results_of_other_data_or_fidelity_are_never_ranked_together() -> None:
    def one(record_id: str, mean: float, **promotion: str) -> Record:
        return record(
            record_id,
            "analysis",
            person={"study": record_id},
            study=STUDY,
            promotion={**PROMOTION, "test": [mean, 0, 1], **promotion},
        )

    swept = record("v1.4_swept", "wip", person={"study": "x"}, study=STUDY, sweep={"best": 0.01, "eval": "e1"})
    found = dashboard.rankings(
        [
            one("v1.0_a", 0.5),
            one("v1.1_b", 0.1, eval="e2", data="d2"),
            one("v1.2_c", 0.3),
            swept,
            record("v1.5_hand", "wip"),
            one("v1.3_d", 0.4, eval="e3", fidelity="f2"),
        ]
    )
    assert [[row.id for row in ranking.rows] for ranking in found] == [
        ["v1.2_c", "v1.0_a"],
        ["v1.1_b"],
        ["v1.3_d"],
        ["v1.4_swept"],
        ["v1.5_hand"],
    ]
    assert [("data d2" in one.title, "fidelity f2" in one.title) for one in found[:3]] == [
        (False, False),
        (True, False),
        (False, True),
    ]
    down = one("v1.0_a", 0.5)
    upward = replace(down, kept={**down.kept, "study": {**STUDY, "direction": "maximize"}})
    assert len(dashboard.rankings([upward, one("v1.2_c", 0.3)])) == 2


def test_what_is_missing_is_told_apart() -> None:
    by_hand, planned = record("v1.0_a", "wip"), record("v1.1_b", person={"study": "b"})
    default_won = record(
        "v1.2_c", "analysis", person={"study": "c"}, study=STUDY, promotion={**PROMOTION, "lead_over_default": "n/a"}
    )
    default_failed = record(
        "v1.3_d",
        "analysis",
        person={"study": "d"},
        study=STUDY,
        promotion={**PROMOTION, "lead_over_default": "not measured"},
    )
    all_failed = record(
        "v1.4_e", "wip", person={"study": "e"}, study=STUDY, sweep={"best": "not measured", "failed": 3}
    )
    shown = {}
    for one in (by_hand, planned, default_won, default_failed, all_failed):
        row = dashboard.cells(one)
        shown[one.id] = (row[Column.RESULT], row[Column.LEAD_OVER_DEFAULT])
    assert shown == {
        "v1.0_a": ("n/a", "n/a"),
        "v1.1_b": ("not run", "not run"),
        "v1.2_c": ("0.50 [0.40, 0.60]", "n/a"),
        "v1.3_d": ("0.50 [0.40, 0.60]", "not measured"),
        "v1.4_e": ("not measured", "not run"),
    }


def hostile() -> list[Record]:
    """Records whose every text of a person's or a task's wants to break out."""
    text = f"{HOSTILE} | a\n\n| b\n# c\n```\n[x](javascript:window.owned=true) *d* ![i](http://x/y.png) -->"
    promotion = {**PROMOTION, "winner": text, "sentence": text, "best_baseline": text, "settings": {text: text}}
    kept = {
        "study": {**STUDY, "goal": text},
        "promotion": promotion,
        "baselines": {text: 1.0},
        "space": {text: text},
        "files": {"report": "a> b)<script>"},
        "winner": {"weights": text},
    }
    one = record("v1.0_a", "analysis", person={"title": text, "study": "a", "cost": text}, **kept)
    prose = "".join(f"## {heading}\n\n- {text}\n```\n![i](http://x/y.png)\n" for heading in HEADINGS)
    two = record("v1.1_b", person={"title": text, "cost": text, "priority": 1})
    return [replace(one, prose=prose), replace(two, prose=prose)]


class Tags(HTMLParser):
    """Which elements a page opens, with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_nothing_that_is_written_becomes_markup_of_the_html_page() -> None:
    plain = Tags(html([record("v1.0_a")], "experiments", "runs")).found
    tags = Tags(html(hostile(), "experiments", "runs")).found
    for name in ("script", "style", "meta", "noscript"):
        assert [tag for tag, _ in tags].count(name) == [tag for tag, _ in plain].count(name)
    assert not {"b", "img", "iframe"} & {tag for tag, _ in tags}
    targets = [attrs["href"] for tag, attrs in tags if tag == "a"]
    assert not [target for target in targets if "javascript" in target]
    assert not [attrs for _, attrs in tags if any(name.startswith("on") for name in attrs)]


def test_nothing_that_is_written_becomes_structure_of_the_markdown_page() -> None:
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(hostile(), "experiments", "runs"))
    flat = [token for one in tokens for token in (one, *(one.children or ()))]
    assert [one.content.strip() for one in flat if "html" in one.type] == [
        "<!-- Written by `hpo ledger page` from the records. Edit those, not this. -->"
    ]
    headings = [tokens[at + 1].content for at, one in enumerate(tokens) if one.type == "heading_open" and not one.level]
    assert headings == [
        "Experiments",
        "Dashboard",
        "Records",
        "v1.0\\_a\\_analysis",
        "v1.1\\_b\\_planned",
        "Open questions",
        "Next experiments",
        "What the records do not keep",
    ]
    rows = [one for one in tokens if one.type == "tr_open"]
    cells = [one for one in tokens if one.type in ("td_open", "th_open")]
    assert len(cells) == len(Column) * len(rows) == 10 * 4
    texts = [tokens[at + 1].content for at, one in enumerate(tokens) if one.type == "td_open"]
    assert texts[6::10] == ["3", "not run"]  # no pipe has made a cell more
    outside = [
        child.attrs["href"]
        for one in tokens
        if one.type == "inline"
        for child in one.children or ()
        if child.type == "link_open" and one.level < 4
    ]
    assert not [target for target in outside if "javascript" in target]


def test_links_lead_from_the_pages_to_where_they_led_from_the_record() -> None:
    links = {
        "../runs/a.html": "experiments/../runs/a.html",
        "b.md": "experiments/b.md",
        "#c": "#c",
        "/d": "/d",
        "https://e.org": "https://e.org",
    }
    one = record(status="wip", prose={"Results": " ".join(f"[x]({link})" for link in links)})
    assert [attrs["href"] for tag, attrs in Tags(html([one], "experiments", "runs")).found if tag == "a"][
        -6:-1
    ] == list(links.values())
    assert " ".join(f"[x]({link})" for link in links.values()) in markdown([one], "experiments", "runs")


def test_open_questions_and_next_experiments_are_collected_in_order() -> None:
    text = "- [ ] Why so slow?\n- [x] Solved\n- And\n  why here?\n\nWhy?"
    asked = record("v1.0_a", "wip", prose={"Open questions": text})
    assert [text for text, _ in reading.questions([asked])] == ["Why so slow?", "And\n  why here?", "Why?"]
    plans = [
        record("v1.1_b", person={"priority": 10}),
        record("v1.2_c"),
        record("v1.3_d", person={"priority": 9}),
        record("v1.10_e"),
        asked,
    ]
    assert [one.id for one in reading.planned(plans)] == ["v1.3_d", "v1.1_b", "v1.2_c", "v1.10_e"]
    assert [one.id for one in reading.newest_first(plans)][-2:] == ["v1.3_d", "v1.10_e"]


def test_the_pages_are_the_same_in_any_place_and_their_drift_is_exit_code_1(home: Path, ledger: Ledger) -> None:
    toy_run(home)
    assert hpo("ledger", "sync").code == 0
    ledger.create("v2.0_unlike", {"title": "Größer?", "priority": 2})
    assert hpo("ledger", "page", "--check").code == 1
    assert not Path("EXPERIMENTS.md").exists()
    assert hpo("ledger", "page").code == 0
    assert "[verdict](runs/toy/verdict.json)" in Path("EXPERIMENTS.md").read_text()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TZ": "Pacific/Kiritimati",
        "PYTHONHASHSEED": "7",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run([sys.executable, "-m", "hpo", "ledger", "page", "--check"], env=environment, check=False)
    assert done.returncode == 0
    assert hpo("ledger", "note", "v2.0_unlike", "open", "Why?").code == 0
    said = hpo("ledger", "page", "--check")
    assert (said.code, said.out.count("not up to date")) == (1, 2)


@pytest.mark.parametrize("verb", ["list", "page"])
def test_neither_torch_nor_optuna_is_needed_to_read_the_ledger(home: Path, ledger: Ledger, verb: str) -> None:
    ledger.create("v1.0_toy", {"title": "Toy"})
    modules = imported_by("ledger", verb)
    assert "hpo.ledger.dashboard" in modules
    assert modules.isdisjoint({"torch", "optuna", "sqlalchemy", "plotly"})


# -- lint ------------------------------------------------------------------------------------------------------------
SOUND = {"prose": {"Lesson": "x"}}
LINT = {
    "no title": record(person={"title": " "}),
    "there is no field 'priorty'": record(person={"priorty": 1}),
    "priority must be a int": record(person={"priority": "high"}),
    "confidence must be hypothesis": record(person={"confidence": "sure"}),
    "its parent 'v0.0_gone' is not": record(person={"parent": "v0.0_gone"}),
    "its superseded_by 'v0.0_gone' is not": record(person={"superseded_by": "v0.0_gone"}),
    "superseded, but still holds the alias 'best'": record(person={"superseded_by": "v1.0_toy", "alias": "best"}),
    "it is its own ancestor": record(person={"parent": "v1.0_toy"}),
    "wip, but nothing of its study toy": record(status="wip", person={"study": "toy"}),
    "its text says not started, but its status is wip": record(status="wip", prose={"Results": "Not Started"}),
    "a failure needs a problem or a lesson": record(status="failed"),
    "a success needs a verdict": record(status="success", prose={"Lesson": "x"}, person={"study": "toy"}),
    "a success needs its results": record(status="success"),
    "a root cause without its confidence": record(prose={"Root cause": "flips"}),
    "a confirmed root cause must name": record(prose={"Root cause": "flips"}, person={"confidence": "confirmed"}),
    "does not lead from planned to wip": replace(record(), kept={**record().kept, "status": "wip"}),
    "says planned -> success, which is not allowed": replace(
        record(**PROMOTED),
        kept={
            **record(**PROMOTED).kept,
            "status": "success",
            "history": [*record().history, {"at": AT, "to": "success", "who": "me"}],
        },
    ),
    "the heading 'Lesson' stands twice": replace(record(), prose=record().prose + "\n## Lesson\n"),
    "its text has an unresolved merge": record(prose={"Lesson": "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs"}),
    "no heading 'Lesson' (is a ``` left open?)": replace(record(), prose=record().prose.replace("## Lesson", "```")),
    "the heading 'Lessons' is none": replace(record(), prose=record().prose + "\n## Lessons\n"),
}


@pytest.mark.parametrize("said", LINT)
def test_lint_says_what_a_record_promises_and_does_not_keep(said: str) -> None:
    assert [said in one.message for one in promises([LINT[said]])].count(True) == 1


def test_lint_is_silent_about_sound_records_and_knows_what_lies_between_two() -> None:
    sound = [
        record(
            "v1.0_a", "failed", prose={"Lesson": "x", "Root cause": "as in v1.1_b"}, person={"confidence": "confirmed"}
        ),
        record("v1.1_b", "success", person={"study": "b", "parent": "v1.0_a"}, **PROMOTED),
    ]
    assert promises(sound) == []
    history = [{**one, "at": "2026-06-01"} for one in sound[0].history]
    later = replace(sound[0], kept={**sound[0].kept, "history": history})
    assert [str(one) for one in promises([later, sound[1], record("v1.2_c")])] == [
        "v1.2_c: planned since 2026-01-02: begin it, or say why not"
    ]
    twins = [record(record_id, person={"alias": "production"}) for record_id in ("v1.0_a", "v1.1_b")]
    assert [one.message for one in promises(twins)] == ["its alias 'production' is another record's too"] * 2


def test_lint_compares_the_records_with_the_files_beside_them(home: Path, ledger: Ledger) -> None:
    folder = toy_run(home)
    keeping.sync(ledger, Path("runs"))
    Path("experiments/notes.md").touch()
    links = "[gone](gone.md) [here](notes.md#a) [web](https://x.y)"
    ledger.change("v1.0_toy", lambda one: one.with_note("Results", links))
    assert hpo("ledger", "set", "v1.0_toy", "title", "Toy").code == 0
    found = lambda: [str(one) for one in surroundings(ledger.path, ledger.records(), Path("runs"))]  # noqa: E731
    assert found() == [
        "notes.md: is not named as an experiment, and is not read",
        "v1.0_toy: links to gone.md, which is not there",
    ]
    weights = folder.export / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert "are not the weights that were recorded" in found()[2]
    weights.unlink()
    assert "its winner's weights are not there" in found()[2]
    assert hpo("ledger", "lint").code == 1


# -- the commands ----------------------------------------------------------------------------------------------------
def test_a_run_made_by_hand_from_plan_to_failure(home: Path, ledger: Ledger) -> None:
    given = ("--title", "Twice as wide", "--priority", "2", "--cost", "1 h")
    assert hpo("ledger", "new", "v1.2_by-hand", *given).code == 0
    assert hpo("ledger", "set", "v1.2_by-hand", "status", "wip").out == "v1.2_by-hand_wip\n"
    said = refused(home, "ledger", "set", "v1.2_by-hand", "status", "failed")
    assert "failed:\n  a failure needs a problem or a lesson: hpo ledger note v1.2_by-hand problem" in said
    assert hpo("ledger", "note", "v1.2_by-hand", "problem", "- it diverged").out == "v1.2_by-hand: Problem\n"
    assert hpo("ledger", "set", "v1.2_by-hand", "status", "failed", "--why", "no time").code == 0
    shown = hpo("ledger", "show", "v1.2_by-hand_failed").out
    assert shown.startswith('+++\ntitle = "Twice as wide"\npriority = 2\ncost = "1 h"\n')
    assert re.search(r"## Problem\n\n\*[\d-]{10}, .*\*\n\n- it diverged\n", shown)
    listed = json.loads(hpo("ledger", "list", "--json", "--find", "DIVERGED", "--status", "failed").out)["result"]
    assert [(one["id"], one["title"], one["history"][-1]["why"]) for one in listed] == [
        ("v1.2_by-hand", "Twice as wide", "no time")
    ]
    assert json.loads(hpo("ledger", "list", "--json", "--status", "success").out)["result"] == []


WRONG = {
    "new v5.0_wip": "must not end in a status",
    "new v1.0_a --priority high": "priority: must be a whole number of at least 1; got 'high'",
    "new v1.0_a --study ../../etc": "study: must be the name of a folder in runs/; got '../../etc'",
    "new v1.0_a --parent v0.9_none": "there is no v0.9_none in experiments",
    "new v1.0_a --parent x": "an experiment is named vMAJOR.MINOR_VARIANT",
    "note v1.0_tow lesson x": "there is no experiment v1.0_tow in experiments; did you mean v1.0_toy?",
    "note v1.0_toy lessons x": "the heading must be one of Hypothesis,",
    "set v1.0_toy status done": "the status must be planned, wip",
    "set v1.0_toy status success": "v1.0_toy cannot go from planned to success; allowed: wip",
    "set v1.0_toy prioriti 1": "there is no field 'prioriti'",
    "set v1.0_toy confidence sure": "confidence: must be hypothesis or tested or confirmed; got 'sure'",
    "list --status done": "--status: must be one of planned,",
    "sync --runs nowhere": "nothing has been run in",
    "sync no_such_study": "nothing has been run in",
}


def test_mistakes_are_refused_with_what_is_allowed_and_nothing_is_written(home: Path, ledger: Ledger) -> None:
    ledger.create("v1.0_toy", {"title": ""})
    said = {words: refused(home, "ledger", *words.split()) for words in WRONG}
    assert {words: text for words, text in said.items() if WRONG[words] not in text} == {}
    for words in ("page", "lint", "list", "show v1.0_toy", "note v1.0_toy lesson x", "set v1.0_toy title x"):
        assert "there is no ledger in nowhere" in refused(home, "ledger", *words.split(), "--ledger", "nowhere")
    assert "what is written into v1.0_toy must be UTF-8" in refused(home, "ledger", "note", "v1.0_toy", "les", "\udcff")
