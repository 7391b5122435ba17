"""Every command and code block of docs/ runs as it stands there, and the pages are built from it. `make docs-test`.

The blocks of a page run one after the other in one folder, which holds what docs/examples holds. A `python` block with
a title is a file, one without is a program, and `sh` is given to bash. `text` is shown alone. What `elsewhere` marks
needs several machines or root, or is a part of a program: its language reads it, and hpo its own commands in it.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner
from typer.main import get_command

import hpo
from hpo.cli.main import app
from hpo.recipe import OPTIMIZERS, SCHEDULES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FENCE = re.compile(r'^```[ {.]*(\w+)(?: \.(elsewhere) ?)?}?(?: title="([^"]+)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
SNIPPET = re.compile(r'^--8<-- "([^"]+)"$', re.MULTILINE)
KINDS = {"python", "sh", "text"}

pytestmark = [pytest.mark.docs, pytest.mark.timeout(1200)]


class Block(NamedTuple):
    """A block of code on a page."""

    line: int
    kind: str
    is_elsewhere: bool
    title: str | None
    code: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(text.count("\n", 0, match.start()) + 1, match[1], bool(match[2]), match[3], with_snippets(match[4]))
        for match in FENCE.finditer(text)
    ]


def with_snippets(code: str) -> str:
    """The code with the files in it that the page takes from elsewhere in the repository."""
    return SNIPPET.sub(lambda match: (ROOT / match[1]).read_text().rstrip("\n"), code)


def run_block(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    program = folder / f"line_{block.line}.{'py' if block.kind == 'python' else 'sh'}"
    program.write_text(block.code)
    command = [sys.executable] if block.kind == "python" else ["bash", "-euo", "pipefail"]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "120",
    }
    environment.pop("HPO_STORAGE", None)
    return subprocess.run([*command, program.name], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run(page: Path, tmp_path: Path):
    folder = tmp_path / "examples"
    shutil.copytree(DOCS / "examples", folder)
    for block in blocks(page):
        if block.kind == "text" or block.is_elsewhere:
            continue
        if block.title is not None:
            (folder / block.title).write_text(block.code)
            continue
        done = run_block(block, folder)
        assert done.returncode == 0, f"{page.name}:{block.line}\n{block.code}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_are_all_read(page: Path):
    text = page.read_text()
    assert len(re.findall(r"^\s*```", text, re.MULTILINE)) == 2 * len(blocks(page))
    assert {block.kind for block in blocks(page)} <= KINDS


def hpo_commands(code: str) -> list[list[str]]:
    """The words of each command for hpo in a shell's code, without its name."""
    lines = code.replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and Path(line[0]).name == "hpo"]


ELSEWHERE = [block for page in PAGES for block in blocks(page) if block.is_elsewhere]


@pytest.mark.parametrize("block", ELSEWHERE, ids=lambda block: f"line {block.line}")
def test_what_runs_elsewhere_is_read_by_its_language_and_by_hpo(block: Block):
    if block.kind == "python":
        ast.parse(block.code)
        return
    parsed = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr
    for words in hpo_commands(block.code):
        read = CliRunner().invoke(get_command(app), [*words, "--help"])
        assert read.exit_code == 0, f"hpo {shlex.join(words)}\n{read.output}"


class Loaded(HTMLParser):
    """What a page makes the browser load: scripts, styles, fonts, images and frames."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = "href" if tag == "link" else "src"
        if given.get(name) and tag != "a":
            self.addresses.append(given[name] or "")


def test_the_site_is_whole_and_loads_nothing_from_another_host(tmp_path: Path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)  # one of them says that there is no such page
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert not [address for address in loaded.addresses if re.match(r"(https?:)?//", address)], page
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text()), style


def test_the_reference_has_every_public_name():
    text = (DOCS / "reference.md").read_text()
    names = [*hpo.__all__, *OPTIMIZERS, *SCHEDULES]
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []
