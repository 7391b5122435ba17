"""What `hpo init` writes works as it stands, is clean, and never takes the place of anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hpo.errors import Refused
from hpo.verbs.init import init_study
from tests import test_cli
from tests.test_cli import ENVIRONMENT, files, home, refused

__all__ = ["home"]


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.slow
def test_what_it_writes_passes_its_tests_and_the_whole_path(home: Path) -> None:
    written = test_cli.hpo("init", "rings")
    assert written.code == 0
    assert "hpo run rings.py" in written.out
    assert sorted(path.name for path in home.iterdir()) == ["rings.py", "test_rings.py"]
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "test_rings.py")
    assert "3 passed" in tested.stdout, tested.stdout
    ran = python("-m", "hpo", "run", "rings.py", "--smoke", "--workers", "1")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "a circle between the two" in ran.stdout
    assert Path("runs/rings-smoke/report.html").exists()


def test_it_is_clean_for_a_linter_and_names_nothing_but_itself(home: Path) -> None:
    init_study("night_sky", home)
    text = Path("night_sky.py").read_text() + Path("test_night_sky.py").read_text()
    assert "class NightSky(Task[Batch]):" in text
    assert "starter" not in text.lower()
    for command in (["check", "--select", "E,F,B,UP"], ["format", "--check"]):
        checked = python("-m", "ruff", *command, "--isolated", "--line-length", "120", ".")
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Rings", "lower-case letters, digits and _"),
        ("rings.py", "lower-case letters, digits and _"),
        ("../rings", "lower-case letters, digits and _"),
        ("2rings", "start with a letter"),
        ("", "start with a letter"),
        ("class", "it names a Python module"),
        ("r" * 51, "at most 50"),
        ("random", "Python has a module called 'random'"),
        ("torch", "there is a module called 'torch'"),
        ("hpo", "there is a module called 'hpo'"),
        ("task", "a class Task"),
        ("batch", "a class Batch"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(name: str, reason: str, home: Path) -> None:
    assert reason in refused(home, "init", name)


@pytest.mark.parametrize("taken", ["rings.py", "test_rings.py"])
def test_no_file_is_overwritten(taken: str, home: Path) -> None:
    Path(taken).write_text("mine")
    assert f"{taken} exists, and is not overwritten" in refused(home, "init", "rings")
    Path(taken).unlink()
    Path(taken).symlink_to("nowhere")
    with pytest.raises(Refused, match=f"{taken} exists, and is not overwritten"):
        init_study("rings", home)
    assert [path.name for path in home.iterdir()] == [taken]


def test_a_package_of_that_name_is_refused_and_a_folder_of_data_is_not(home: Path) -> None:
    Path("rings").mkdir()
    Path("rings/points.csv").touch()
    init_study("rings", home)
    Path("sky").mkdir()
    Path("sky/__init__.py").touch()
    before = files(home)
    with pytest.raises(Refused, match="there is a module called 'sky'"):
        init_study("sky", home)
    assert files(home) == before
