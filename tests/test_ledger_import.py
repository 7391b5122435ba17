"""hpo ledger import: no word of a file that people have kept by hand is lost, and what they meant is understood.

The files are the sample in tests/imports and three in other styles, written for this test. Expected values are read off
them by eye; no word lost is a property that random files are tested for too.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.errors import Refused
from hpo.ledger.folder import Ledger
from hpo.ledger.importing.marks import day_of, heading_of
from hpo.ledger.importing.text import Source, repaired
from hpo.ledger.importing.transfer import transfer, write
from hpo.ledger.lint import promises, surroundings
from hpo.ledger.page import pages
from tests.test_cli import hpo, refused
from tests.test_ledger import AT, home, ledger

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
