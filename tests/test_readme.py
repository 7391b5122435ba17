"""What the README shows runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpo.errors import ExitCode

README = Path(__file__).parents[1] / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.slow
def test_the_task_of_the_readme_runs_from_preflight_to_report(tmp_path):
    (tmp_path / "disc.py").write_text(next(block for block in blocks() if "class Disc" in block))
    command = [
        sys.executable,
        "-m",
        "hpo",
        "run",
        "disc.py",
        "--trials",
        "3",
        "--keep",
        "1",
        "--seeds",
        "2",
        "--workers",
        "1",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "runs/disc/report.html").stat().st_size > 1e6
    assert (tmp_path / "runs/disc/winner/weights.safetensors").exists()


def test_links_lead_to_files_and_commands_to_targets():
    text = README.read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")]
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
    targets = re.findall(r"^([a-z-]+):", (README.parent / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z-]+)", text.split("```")[1])) <= set(targets)


def exit_codes(page: Path) -> dict[int, str]:
    """The rows of a page's table of exit codes."""
    section = page.read_text().split("## Exit codes\n")[1].split("\n## ")[0]
    return {int(code): meaning for code, meaning in re.findall(r"(?m)^\| (\d+) \| (.+) \|$", section)}


def test_the_table_of_exit_codes_is_that_of_the_program():
    codes = exit_codes(README)
    assert list(codes) == [code.value for code in ExitCode]
    assert codes == exit_codes(README.parent / "docs/commands.md")


def test_the_readme_is_two_screens():
    assert len(README.read_text().splitlines()) <= 145
