"""hpo ledger import: no word of a file that people have kept by hand is lost, and what they meant is understood.

The files are the sample in tests/imports and three in other styles, written for this test. Expected values are read off
them by eye; no word lost is a property that random files are tested for too.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hpo.errors import Refused
from hpo.ledger.fields import HEADINGS as LEDGER_HEADINGS
from hpo.ledger.folder import Ledger
from hpo.ledger.importing.marks import heading_of
from hpo.ledger.importing.text import Source, repaired
from hpo.ledger.importing.transfer import transfer, write
from hpo.ledger.lint import promises, surroundings
from hpo.ledger.markdown import markdown
from hpo.ledger.page import html
from hpo.ledger.prose import headings
from hpo.ledger.question import Hypothesis, new_question
from hpo.ledger.reading import planned
from tests.finished import HOSTILE
from tests.test_cli import hpo, refused
from tests.test_ledger import AT, Tags, home, ledger

__all__ = ["home", "ledger"]  # fixtures

FILES = Path(__file__).parent / "imports"
STYLES = sorted(path.stem for path in FILES.glob("*.md"))


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"[^\W_]+", text))


def written(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.iterdir()))


def brought(ledger: Ledger, text: str, name: str = "EXPERIMENTS.md") -> Ledger:
    write(ledger, transfer(ledger, Source(Path(name), text, ()), AT))
    return ledger


def statuses(ledger: Ledger) -> Mapping[str, str]:
    return {record.id: record.status for record in ledger.records()}


# -- nothing is lost -------------------------------------------------------------------------------------------------
FORMS = {
    "as it is": lambda text: text.encode(),
    "with a BOM and CRLF": lambda text: b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
    "mangled": lambda text: text.encode().decode("mac_roman").encode(),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("style", STYLES)
def test_every_word_of_the_file_is_in_a_record(home: Path, style: str, form: str) -> None:
    text = (FILES / f"{style}.md").read_text()
    Path("old.md").write_bytes(FORMS[form](text))
    done = hpo("ledger", "import", "old.md")
    assert done.code == 0
    assert ("mangled characters were repaired" in done.out) == (form == "mangled")
    assert words(text) - words(written(Path("experiments"))) == Counter()
    assert hpo("ledger", "list").code == hpo("ledger", "page").code == 0


PIECES = st.sampled_from(
    [
        "# Experiments",
        "## {} ✓ SUCCESS",
        "### {}",
        "#### Results",
        "## Open questions",
        "## Next experiments",
        "**Approach:** {}",
        "**Root cause**",
        "**{}:** {}",
        "Results: {} **Lesson:** {}",
        "- **Problem:** {}",
        "- [x] {}",
        "  - {}",
        "1. {}",
        "```",
        "~~~ {}",
        "<!-- {}",
        "-->",
        "| {} | {} |",
        "|---|---|",
        "| Approach | {} |",
        "---",
        "===",
        "> {}",
        "    {}",
        "[{}]: {}",
        "[{}](#{})",
        "{}",
        "",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=24))
def test_every_word_of_any_file_is_in_a_record(tmp_path_factory: pytest.TempPathFactory, pieces: list[str]) -> None:
    count = iter(range(1000))
    lines = [re.sub(r"\{\}", lambda _: f"word{next(count)}", piece) for piece in pieces]
    text = "\n".join(["## ✓ first0", *lines])
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    brought(ledger, text)
    assert words(text) - words(written(ledger.path)) == Counter(), text
    ledger.records(), ledger.questions()
    shutil.rmtree(ledger.path)


# -- what was meant is understood ------------------------------------------------------------------------------------
UNDERSTOOD = {
    "sample": {
        "v0.0_d2": "success",
        "v0.1_d2_ft": "failed",
        "v0.2_mirror-test": "wip",
        "v0.3_full-size-ssim-training": "analysis",
        "v0.4_d1": "analysis",
        "v0.5_d0": "analysis",
        "v0.6_90-10-mix-on-glass": "planned",
        "v0.7_three-seeds-of-d2-and-of-full-size": "planned",
    },
    "emoji": {
        "v0.0_nachtaufnahmen": "wip",
        "v0.1_nachtaufnahmen": "wip",
        "v0.2_tunnelmix": "planned",
        "v0.3_second-seeds": "planned",
        "v0.4_distillation-into-a-smaller-network": "planned",
        "v4.0_ssim": "success",
        "v4.1_ft": "failed",
    },
    "tables": {"v0.0_alpha": "success", "v0.1_beta": "failed", "v0.2_gamma": "analysis"},
    "underlined": {
        "v0.0_r1_wide": "success",
        "v0.1_r2_deep": "failed",
        "v0.2_longer-cable": "planned",
        "v0.3_colder-chamber": "planned",
        "v2.1_phase": "analysis",
    },
}
SECTIONS = {
    "sample": {
        ("d2", "Lesson"): "**Key insight:** Masks from the sensor matter more than the loss.",
        ("d2", "Details"): "- **Date:** 2025-11-03 to 2025-11-05\n- **Script:** [train/d2.py](../train/d2.py)\n"
        "- **Checkpoint:** [ckpt/d2/best.pt](../ckpt/d2/best.pt)\n- **Status:** ✓ **in use since 2025-11-06**",
        ("d2_ft", "Details"): "- **Date:** 2025-11-09\n- **Scripts:**\n  - [old/ft_glass.py](../old/ft_glass.py)\n"
        "  - [old/ft_glass_fast.py](../old/ft_glass_fast.py)\n- **Status:** ✗ **do not use**",
        ("d2_ft", "Root cause"): "1. Rate ten times too high for a fine-tune\n2. No ordinary rooms in the mix",
        ("full-size SSIM training", "Concern"): "within the noise between seeds (0.004 m)?",
        ("d0", "Dashboard"): "| Model | RMSE val | RMSE test | s/frame | Status |\n|---|---|---|---|---|\n"
        "| d0 | 0.140 | 0.151 | 0.02 | older |",
        ("90/10 mix on glass", "Hypothesis"): "**Why:** windows are what users complain about\n"
        "```\npython train/d2.py --mix 0.9 --lr 1e-4\n```",
    },
    "emoji": {
        ("v4_ssim", "Approach"): "- tiles of 512 pixels\n  - overlapping by sixty-four\n  - mirrored borders\n"
        "- same optimiser",
        ("v4_ssim", "Results"): "**Result:** IoU 0.71 (validation).",
        ("v4_ft", "Problem"): "Übersegmentierung bei künstlichem Licht.",
    },
    "tables": {
        ("alpha", "Approach"): "twelve layers, see [configuration](../configs/alpha.toml)",
        ("alpha", "Results"): "PSNR 31.4 | SSIM 0.93",
        ("beta", "Lesson"): "**Lessons learned:** clip gradients",
        ("gamma", "Results"): "**Outcome:**\n\nNothing beyond noise.",
    },
    "underlined": {
        ("r2_deep", "Root cause"): 'gradients vanish – see [notes][deep]\n\n[deep]: ../logs/deep.txt "curves of r2"',
        ("r1_wide", "Next steps"): "* twice the aperture\n* ~~half the aperture~~",
    },
}


@pytest.mark.parametrize("style", STYLES)
def test_each_style_is_understood(ledger: Ledger, style: str) -> None:
    brought(ledger, (FILES / f"{style}.md").read_text())
    assert statuses(ledger) == UNDERSTOOD[style]
    for (name, heading), text in SECTIONS[style].items():
        assert ledger.find(name).section(heading) == text


def test_no_text_of_an_experiment_reaches_beyond_its_heading(ledger: Ledger) -> None:
    text = "# ✗ a\n\n**Approach:**\n\n- tiles\n  ```\n  open\n\n**Problem:**\n<!--\n## Lesson\n-->\n\n**Lesson:** y\n"
    record = brought(ledger, text).find("a")
    assert tuple(headings(record.prose)) == LEDGER_HEADINGS
    assert (record.section("Approach"), record.section("Lesson")) == ("- tiles\n  ```\n  open\n```", "y")


def test_a_table_alone_holds_an_experiment_a_row(ledger: Ledger) -> None:
    rows = "| e1 | deeper | 0.81 | ✓ |\n| e2: wide | [wider](a.md) | 0.79 | dropped, failed |\n| e3 | same | | ? |"
    text = f"# Experiments\n\n| Run | Approach | Result | Status |\n|---|---|---|---|\n{rows}\n"
    brought(ledger, text)
    assert statuses(ledger) == {"v0.0_e1": "success", "v0.1_e2": "failed"}
    assert ledger.find("e2").section("Approach") == "[wider](../a.md)"
    assert ledger.find("e1").section("Results") == "**Result:** 0.81"
    assert words(text) - words(written(ledger.path)) == Counter()


def test_dates_priorities_and_relations_are_read(ledger: Ledger) -> None:
    brought(ledger, (FILES / "sample.md").read_text())
    assert [ledger.find(name).date for name in ("d2", "d2_ft", "d1")] == ["2025-11-05", "2025-11-09", ""]
    assert ledger.find("d1").field_text("superseded_by") == "v0.0_d2"
    assert [record.person.get("priority") for record in planned(ledger.records())] == [1, 2]
    assert ledger.find("90/10 MIX on glass").date == AT
    underlined = Ledger(ledger.path / "underlined")
    underlined.make()
    brought(underlined, (FILES / "underlined.md").read_text())
    assert underlined.find("r2_deep").field_text("parent") == "v0.0_r1_wide"


def test_questions_have_hypotheses_with_their_states(ledger: Ledger) -> None:
    brought(ledger, (FILES / "underlined.md").read_text())
    first, second = ledger.questions()
    assert (first.id, first.text, first.status) == ("q1", "Where does the offset come from?", "answered")
    assert [str(hypothesis) for hypothesis in first.hypotheses] == [
        "open: oscillator drift",
        "refuted: temperature (ruled out: logged at constant 20 °C)",
        "supported: ✓ cable length",
    ]
    assert first.section("Answer") == "the cable, mostly."
    assert (second.text, second.status) == ("Are side lobes real?", "open")


HEADINGS = {
    "d2 - Edge-aware ✓ SUCCESS": ("d2", "Edge-aware", "success"),
    "✅ Running average of weights": ("Running average of weights", "Running average of weights", "success"),
    "2025-11-03: lr sweep (failed)": ("lr sweep", "lr sweep", "failed"),
    "❌ Experiment 3 – Größere Netze": ("Experiment 3", "Größere Netze", "failed"),
    "v4_ft — tune — do not use": ("v4_ft", "tune", "failed"),
    "🚧 WIP: warmup": ("warmup", "warmup", "wip"),
    "✅ DONE distillation": ("distillation", "distillation", "success"),
    "Why the failed run diverged": ("Why the failed run diverged", "Why the failed run diverged", ""),
    "Training on glass": ("Training on glass", "Training on glass", ""),
}


@pytest.mark.parametrize("text", HEADINGS)
def test_a_heading_says_name_title_and_status(text: str) -> None:
    heading = heading_of(text)
    assert (heading.name, heading.title, heading.status) == HEADINGS[text]


@pytest.mark.parametrize("encoding", ["mac_roman", "cp1252", "cp850", "cp437", "latin-1"])
def test_mangled_characters_are_repaired(encoding: str) -> None:
    text = "✓ SUCCESS ⚠️ 📊 – 0.2 × ü\nfine"
    mangled = "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode())
    assert mangled != text
    assert repaired(mangled)[0] == text
    assert repaired(f"ä ö ü ß {mangled[:3]}")[0] == "ä ö ü ß ✓"  # pasted into a sound text


@pytest.mark.parametrize("text", ["5 √± 2 and ü ö ä", "Ümläute", "é è ✓ – “”", "日本語"])
def test_sound_characters_are_left_alone(text: str) -> None:
    assert repaired(text) == (text, [])


def test_what_is_not_understood_is_listed_with_its_lines(home: Path) -> None:
    done = hpo("ledger", "import", str(FILES / "tables.md"))
    for remark in (
        "line 17: 'omega' of the table is the name of no experiment",
        "lines 1 to 3: not understood, kept as a note: <!-- maintained by hand",
        "lines 52 to 54: not understood, kept as a note: ## looks like a heading",
    ):
        assert remark in done.out
    done = hpo("ledger", "import", str(FILES / "sample.md"))
    assert "lines 88 to 92: 'd1' has no status; its record says analysis" in done.out


# -- nothing is written twice or over --------------------------------------------------------------------------------
@pytest.mark.parametrize("style", STYLES)
def test_a_second_import_changes_nothing(ledger: Ledger, style: str) -> None:
    text = (FILES / f"{style}.md").read_text()
    brought(ledger, text)
    before = {path.name: path.read_bytes() for path in ledger.path.iterdir()}
    again = transfer(ledger, Source(Path("EXPERIMENTS.md"), text, ()), AT)
    assert (again.records, again.questions, again.notes, again.differences) == ((), (), {}, ())
    assert len(again.known) == len(before)
    brought(ledger, f"\n\n{text}")  # moved down
    assert {path.name: path.read_bytes() for path in ledger.path.iterdir()} == before


def test_two_experiments_that_say_the_same_are_two_records(ledger: Ledger) -> None:
    text = "## ✗ twin\n\nsame\n\n" * 2
    assert set(statuses(brought(ledger, text))) == {"v0.0_twin", "v0.1_twin"}
    assert set(statuses(brought(ledger, text))) == {"v0.0_twin", "v0.1_twin"}
    with pytest.raises(Refused, match=r"v0\.0_twin and v0\.1_twin were both called 'twin'; give the id"):
        ledger.find("twin")


def test_what_differs_is_named_before_anything_is_written(home: Path, ledger: Ledger) -> None:
    file = home / "EXPERIMENTS.md"
    file.write_text("# ✓ a\n\nfirst\n\n# Open questions\n- Why?\n\n# Hardware\nold")
    assert hpo("ledger", "import", file.name).code == 0
    before = written(ledger.path)
    file.write_text("# ✓ a\n\nsecond\n\n# ✗ b\n\nnew\n\n# Open questions\n- Why?\n  - because\n\n# Hardware\nnewer")
    said = refused(home, "ledger", "import", file.name)
    assert "v0.0_a (a) says something else than lines 1 to 3" in said
    assert "q1 (Why?) says something else than lines 10 to 11" in said
    assert "notes-experiments.md (notes) says something else than" in said
    assert written(ledger.path) == before
    assert "v0.1_b.md: failed: b" in hpo("ledger", "import", file.name, "--dry-run").out
    assert written(ledger.path) == before
    assert hpo("ledger", "import", file.name, "--leave").code == 0
    assert "first" in written(ledger.path)
    assert "second" not in written(ledger.path)
    assert ledger.find("b").section("Details") == "new"


def test_what_a_person_has_written_into_an_imported_record_stays(ledger: Ledger) -> None:
    brought(ledger, "# ✓ a\n\nfirst")
    ledger.change("a", lambda record: record.with_note("Lesson", "mine"))
    brought(ledger, "# ✓ a\n\nfirst")
    assert ledger.find("a").section("Lesson") == "mine"


def test_an_id_that_is_taken_is_never_overwritten(ledger: Ledger) -> None:
    ledger.create("v1.0_wide", {"title": "Mine"})
    result = transfer(ledger, Source(Path("x.md"), "# v1.0_wide ✓ SUCCESS", ()), AT)
    assert (result.records, [difference.id for difference in result.differences]) == ((), ["v1.0_wide"])
    assert set(statuses(brought(ledger, "# v1_wide ✓ SUCCESS"))) == {"v1.0_wide", "v1.1_wide"}
    assert ledger.next_id("later") == "v1.2_later"


REFUSED = {
    b"": "is empty",
    b"# Title\n\nprose": "no experiment was recognized in x.md",
    b"# \xe4 \xe2\x9c\x93": "must be UTF-8, and is not in line 1; convert it first: iconv",
    b"<!-- Written by `hpo ledger page` from the records. -->\n# \xe2\x9c\x93 a": "was written by hpo ledger page",
}


@pytest.mark.parametrize("content", REFUSED)
def test_a_file_that_holds_no_experiments_is_refused_and_no_ledger_begun(home: Path, content: bytes) -> None:
    Path("x.md").write_bytes(content)
    assert REFUSED[content] in refused(home, "ledger", "import", "x.md")
    assert not Path("experiments").exists()
    assert "cannot read gone.md: No such file" in refused(home, "ledger", "import", "gone.md")


# -- the ledger works on what was imported ---------------------------------------------------------------------------
def test_the_page_shows_what_was_imported_and_replaces_no_file_of_a_person(home: Path) -> None:
    shutil.copy(FILES / "underlined.md", "EXPERIMENTS.md")
    assert hpo("ledger", "import", "EXPERIMENTS.md").code == 0
    assert "EXPERIMENTS.md was not written by hpo ledger page; import it" in refused(home, "ledger", "page")
    assert Path("EXPERIMENTS.md").read_bytes() == (FILES / "underlined.md").read_bytes()
    Path("EXPERIMENTS.md").rename("old.md")
    assert hpo("ledger", "page").code == hpo("ledger", "page", "--check").code == 0
    for page in ("EXPERIMENTS.md", "EXPERIMENTS.html"):
        text = Path(page).read_text()
        for shown in ("Where does the offset come from?", "oscillator drift", "the cable, mostly", "Breitere Öffnung"):
            assert shown in text
        assert "experiments/notes-experiments.md" in text
        assert "experiments/q1.md" in text
        assert "experiments/../logs/deep.txt" in text or page.endswith(".md")


def test_lint_says_what_old_records_lack_in_a_line_each(ledger: Ledger) -> None:
    runs = [f"# ✗ run{number}\n\n**Root cause:** [log](logs/{number}.txt)\n**Odd:** x\n" for number in range(50)]
    brought(ledger, "\n".join(runs))
    records = ledger.records()
    assert [str(warning) for warning in (*promises(records), *surroundings(ledger.path, records, Path("runs")))] == [
        "imported records: a root cause without its confidence in v0.0_run0, v0.1_run1, v0.2_run2 and 47 more: "
        "hpo ledger set ID confidence hypothesis|tested|confirmed",
        "imported records: failed, with neither a problem nor a lesson: v0.0_run0, v0.1_run1, v0.2_run2 and 47 more: "
        "hpo ledger note ID problem TEXT",
        "imported records: links to files that are not there: v0.0_run0 (../logs/0.txt), v0.1_run1 (../logs/1.txt), "
        "v0.2_run2 (../logs/2.txt) and 47 more",
    ]


def test_a_person_may_judge_what_was_imported_with_a_reason(home: Path, ledger: Ledger) -> None:
    brought(ledger, (FILES / "sample.md").read_text())
    assert "a success without a promotion needs a reason" in refused(home, "ledger", "set", "d0", "status", "success")
    assert hpo("ledger", "set", "d0", "status", "success", "--why", "it was enough").out == "v0.5_d0_success\n"
    rows = list(csv.DictReader(hpo("ledger", "list", "--csv").out.splitlines()))
    assert [(row["Experiment"], row["Status"], row["Result"], row["Old name"]) for row in rows][5] == (
        "v0.5_d0",
        "success",
        "0.140 m",
        "d0",
    )
    assert hpo("ledger", "set", "Mirror test", "parent", "D2").out == "v0.2_mirror-test_wip\n"
    assert ledger.find("mirror test").field_text("parent") == "v0.0_d2"
    alike = hpo("ledger", "similar", "90/10 mix on glass").out
    assert "v0.1_d2_ft" in alike
    assert "Mix at least 90" in alike


def test_an_old_name_that_is_misspelt_is_refused_with_the_nearest(home: Path, ledger: Ledger) -> None:
    brought(ledger, (FILES / "sample.md").read_text())
    assert "did you mean 'Mirror test'?" in refused(home, "ledger", "show", "Miror test")


def test_nothing_in_a_question_becomes_markup_of_the_pages(ledger: Ledger) -> None:
    text = f"{HOSTILE} | [x](javascript:window.owned=true) ![i](http://x/y.png) -->"
    question = new_question("q1", text).with_hypothesis(Hypothesis("open", text, (text,))).with_text("ideas", text)
    shown = Tags(html([], "experiments", "runs", [question], [text])).found
    plain = Tags(html([], "experiments", "runs", [new_question("q1", "a")], ["a"])).found
    for name in ("script", "style", "img", "iframe", "b"):
        assert [tag for tag, _ in shown].count(name) == [tag for tag, _ in plain].count(name)
    assert not [attrs for tag, attrs in shown if tag == "a" and "javascript" in (attrs["href"] or "")[:11]]
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown([], "experiments", "runs", [question], [text]))
    flat = [token for each in tokens for token in (each, *(each.children or ()))]
    assert [token.content.strip()[:15] for token in flat if "html" in token.type] == ["<!-- Written by"]
    links = [str(token.attrs["href"]) for token in flat if token.type == "link_open"]
    assert not [link for link in links if link.startswith("javascript")]


def test_a_question_is_asked_supposed_about_and_answered(home: Path, ledger: Ledger) -> None:
    ledger.create("v1.0_toy", {"title": "Toy"})
    assert hpo("ledger", "ask", "Why so slow?").out == "experiments/q1.md\n"
    assert hpo("ledger", "suppose", "q1", "the disk").code == 0
    assert hpo("ledger", "suppose", "q1", "the GPU").code == 0
    Path("experiments/q1.md").write_text(Path("experiments/q1.md").read_text() + "\nmine\n")
    given = ("--state", "refuted", "--evidence", "v1.0_toy", "--evidence", "toy#3")
    assert hpo("ledger", "suppose", "q1", "The Disk", *given).code == 0
    assert hpo("ledger", "note", "q1", "ideas", "- measure").code == 0
    question = ledger.question("q1")
    assert [str(hypothesis) for hypothesis in question.hypotheses] == [
        "refuted: the disk (evidence: v1.0_toy, toy#3)",
        "open: the GPU",
    ]
    assert question.section("Ideas").endswith("*\n\n- measure")
    assert question.section("Answer") == "mine"
    assert hpo("ledger", "set", "q1", "status", "answered").out == "q1: answered: Why so slow?\n"
    assert promises(ledger.records(), ledger.questions()) == []
    assert hpo("ledger", "suppose", "q1", "the net", "--state", "supported").code == 0
    assert hpo("ledger", "suppose", "q1", "the bus", "--evidence", "v9.0_gone").code == 0
    assert [str(warning) for warning in promises(ledger.records(), ledger.questions())] == [
        "q1: supported, and no evidence is given: the net",
        "q1: its evidence 'v9.0_gone' is not in the ledger",
    ]
    wrong = {
        "suppose q1 x --state maybe": "the state of a hypothesis must be open, supported, refuted; got 'maybe'",
        "set q1 status done": "the status of a question must be open or answered; got 'done'",
        "set q1 title x": "a question has a status and a question; got 'title'",
        "note q1 lesson x": "the heading must be one of Hypotheses, Ideas, Answer; got 'lesson'",
        "show q2": "there is no question q2 in experiments",
    }
    for command, said in wrong.items():
        assert said in refused(home, "ledger", *command.split())
