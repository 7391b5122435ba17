"""The ledger while things happen: a study that runs, one that is killed, and what people write meanwhile."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

import hpo as package
from hpo.errors import InUse
from hpo.ledger import keeping
from hpo.ledger.dashboard import result
from hpo.ledger.folder import Ledger, person
from hpo.ledger.lint import promises
from hpo.ledger.reading import planned, questions
from hpo.ledger.verdicts import proposed
from hpo.storage.folder import RunFolder
from hpo.storage.held import is_held
from hpo.storage.locks import study_lock
from tests.faults.processes import code_of, end_group, start, until
from tests.test_cli import home, hpo, refused
from tests.test_ledger import ledger, record
from tests.toy import Toy, toy_study

__all__ = ["home", "ledger"]  # fixtures


class Slow(Toy):
    """Takes long enough to be looked at, and killed."""

    def model(self):
        time.sleep(0.2)
        return super().model()


# -- while a study runs ----------------------------------------------------------------------------------------------
def test_a_sweep_has_a_record_from_its_first_trial_which_is_right_after_a_kill(
    home: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "INTERVAL_S", 0.0)
    monkeypatch.setattr(keeping, "LARGEST_SHARE", 1.0)
    study = toy_study(task=Slow(), trials=500)
    pid = start(lambda: package.sweep(study, backend="inline", force=True))
    until(lambda: bool(ledger.ids()))
    assert ledger.ids() == ["v1.0_toy"]
    until(lambda: ledger.read("v1.0_toy").part("sweep").get("complete", 0) >= 2)
    running = ledger.read("v1.0_toy")
    assert (running.status, running.part("study")["state"], running.owner) == ("wip", "running", person())
    with pytest.raises(InUse):  # what looked at the study has not freed its lock
        package.sweep(study, backend="inline", force=True)
    end_group(pid)
    code_of(pid)
    ended = len(list((home / "runs/toy/sweep").glob("*/result.json")))
    assert re.search(r"v1.0_toy +│ [\d-]+ +│ wip +│ interrupted", hpo("ledger", "list").out)
    sweep = ledger.read("v1.0_toy").part("sweep")
    assert ended - 1 <= sum(sweep[state] for state in ("complete", "pruned", "failed")) <= ended


def test_a_record_is_brought_up_to_date_once_in_an_interval(
    home: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(keeping, "sync", lambda ledger, runs, study: synced.append(study) or [])
    with keeping.entered(RunFolder(home / "runs/toy")) as update:
        for _ in range(3):
            update()
        assert synced == ["toy"]
    assert synced == ["toy"] * 2


def test_whether_a_study_is_held_may_be_asked_by_its_holder(home: Path) -> None:
    folder = RunFolder(home / "runs/toy")
    with study_lock(folder):
        assert is_held(folder)

        def take() -> None:
            with pytest.raises(InUse), study_lock(folder):
                pass

        assert code_of(start(take)) == 0
    assert not is_held(folder)


# -- what people write -----------------------------------------------------------------------------------------------
def test_a_run_made_by_hand_has_results_and_can_succeed(home: Path, ledger: Ledger) -> None:
    assert hpo("ledger", "new", "v1.0_hand", "--title", "By hand").code == 0
    for status in ("wip", "analysis"):
        assert hpo("ledger", "set", "v1.0_hand", "status", status).code == 0
    success = ("ledger", "set", "v1.0_hand", "status", "success")
    assert "a success needs its results, where no study stands behind it" in refused(home, *success, "--why", "x")
    assert hpo("ledger", "note", "v1.0_hand", "results", "31.4 dB on ten photographs").code == 0
    assert "needs a reason: --why TEXT" in refused(home, *success)
    assert hpo(*success, "--why", "better than the camera").code == 0
    assert "31.4 dB on ten photographs" in hpo("ledger", "list").out
    assert promises(ledger.records()) == []


def test_a_note_says_when_it_was_written_and_by_whom(home: Path, ledger: Ledger) -> None:
    ledger.create("v1.0_toy", {"title": "Toy"})
    hpo("ledger", "note", "v1.0_toy", "results", "- it **works**")
    hpo("ledger", "note", "v1.0_toy", "open", "- why?")
    read = ledger.read("v1.0_toy")
    day = read.date[:10]
    assert read.section("Results") == f"*{day}, {person()}*\n\n- it **works**"
    by_hand = replace(read, kept={**read.kept, "status": "analysis"})
    assert result(by_hand).shown == "it works"
    assert [text for text, _ in questions([read])] == ["why?"]


def test_the_list_is_sorted_and_chosen_by_date_tag_and_owner(home: Path, ledger: Ledger) -> None:
    days = {"v1.0_old": "2026-01-02", "v1.1_new": "2026-03-04", "v1.2_mid": "2026-02-03"}
    for record_id, day in days.items():
        ledger.create(record_id, {"title": record_id}, at=f"{day}T00:00:00+00:00", who="ann")
    hpo("ledger", "set", "v1.0_old", "tags", "light, night")
    hpo("ledger", "set", "v1.1_new", "owner", "bea")
    hpo("ledger", "set", "v1.2_mid", "priority", "1")

    def ids(*words: str) -> list[str]:
        return [row["id"] for row in json.loads(hpo("ledger", "list", "--json", *words).out)["result"]]

    assert ids() == ["v1.0_old", "v1.1_new", "v1.2_mid"]
    assert ids("--sort", "date") == ["v1.1_new", "v1.2_mid", "v1.0_old"]
    assert ids("--sort", "priority") == ["v1.2_mid", "v1.0_old", "v1.1_new"]
    assert ids("--tag", "night") == ["v1.0_old"]
    assert ids("--owner", "ann", "--sort", "owner") == ["v1.0_old", "v1.2_mid"]
    rows = list(csv.DictReader(io.StringIO(hpo("ledger", "list", "--csv").out)))
    assert [(row["Date"], row["Owner"], row["Tags"]) for row in rows] == [
        ("2026-01-02", "ann", "light, night"),
        ("2026-03-04", "bea", ""),
        ("2026-02-03", "ann", ""),
    ]
    assert "--sort: must be one of id, date, status, priority, owner; got 'age'" in refused(
        home, "ledger", "list", "--sort", "age"
    )
    assert promises(ledger.records()) == []


def test_a_parent_must_be_there_and_lead_to_no_circle(home: Path, ledger: Ledger) -> None:
    hpo("ledger", "new", "v1.0_first")
    assert "there is no v1.0_frist in experiments; did you mean v1.0_first?" in refused(
        home, "ledger", "new", "v1.1_second", "--parent", "v1.0_frist"
    )
    assert hpo("ledger", "new", "v1.1_second", "--parent", "v1.0_first").code == 0
    for key, record_id in (("parent", "v9.9_none"), ("superseded_by", "v9.9_none")):
        assert f"{key}: must be an experiment of the ledger" in refused(
            home, "ledger", "set", "v1.0_first", key, record_id
        )
    assert "v1.0_first -> v1.1_second -> v1.0_first leads back to v1.0_first" in refused(
        home, "ledger", "set", "v1.0_first", "parent", "v1.1_second"
    )


def test_what_is_superseded_is_not_proposed() -> None:
    old = record("v1.0_old", person={"superseded_by": "v1.1_new"})
    assert [waiting.id for waiting in planned([old, record("v1.1_new")])] == ["v1.1_new"]
    assert proposed(record(status="analysis", person={"superseded_by": "v1.1_new"})) == (
        "nothing: v1.1_new has taken its place"
    )


def test_questions_are_listed_open_ones_first(home: Path, ledger: Ledger) -> None:
    for text in ("Why so slow?", "Why so fast?"):
        hpo("ledger", "ask", text)
    hpo("ledger", "suppose", "q2", "the cache")
    hpo("ledger", "set", "q1", "status", "answered")
    lines = [line for line in hpo("ledger", "questions").out.splitlines() if "Why" in line]
    assert ["q2" in lines[0], "open: the cache" in lines[0], "q1" in lines[1]] == [True] * 3
    hpo("ledger", "note", "q2", "ideas", "measure")
    assert re.fullmatch(r"\*[\d-]{10}, .*\*\n\nmeasure", ledger.question("q2").section("Ideas"))
