"""Costly data is made once: by processes that ask at once, die in the middle, or bring other source or arguments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hpo.cache import cache_folder, made_once

# A module with a costly function, and a program that asks for its result: `ask.py SIZE`.
MAKER = """
import os, time
import numpy as np

def squares(size):
    with open(os.environ["LOG"], "a") as log:
        log.write(f"{size}\\n")
    time.sleep(float(os.environ.get("SLOW", 0)))
    return {"squares": np.arange(size) ** 2, "names": ["a", "b"], "half": np.full(3, 0.5)}
"""
ASK = """
import sys
import numpy as np
from hpo.cache import made_once
from maker import squares

made = made_once(squares, int(sys.argv[1]))
array = made["squares"]
try:
    array[0] = 7
    print("writable")
except ValueError:
    print("read-only", isinstance(array, np.memmap), array.sum(), made["names"], made["half"].tolist())
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "maker.py").write_text(MAKER)
    (tmp_path / "ask.py").write_text(ASK)
    (tmp_path / "log").touch()
    return tmp_path


def ask(place: Path, size: int, slow: float = 0.0) -> subprocess.Popen:
    environment = {
        **os.environ,
        "HPO_CACHE": str(place / "cache"),
        "LOG": str(place / "log"),
        "SLOW": str(slow),
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.Popen(
        [sys.executable, str(place / "ask.py"), str(size)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def answer(process: subprocess.Popen) -> str:
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    return said.strip()


def made(place: Path) -> list[int]:
    """The sizes that were really made, in order."""
    return [int(line) for line in (place / "log").read_text().split()]


RIGHT = "read-only True 285 ['a', 'b'] [0.5, 0.5, 0.5]"  # 0 + 1 + 4 + ... + 81


def test_of_several_that_ask_at_once_one_makes_and_all_are_given_the_same(place: Path) -> None:
    processes = [ask(place, 10, slow=1.0) for _ in range(3)]
    assert [answer(process) for process in processes] == [RIGHT] * 3
    assert made(place) == [10]


def test_other_arguments_and_other_source_are_made_anew(place: Path) -> None:
    assert answer(ask(place, 10)) == RIGHT
    assert answer(ask(place, 11)) == RIGHT.replace("285", "385")
    assert answer(ask(place, 10)) == RIGHT
    assert made(place) == [10, 11]
    (place / "maker.py").write_text(MAKER.replace("** 2", "** 2 + 1"))
    assert answer(ask(place, 10)) == RIGHT.replace("285", "295")
    assert made(place) == [10, 11, 10]


def test_a_comment_changes_nothing_and_a_constant_elsewhere_makes_it_anew(place: Path) -> None:
    (place / "maker.py").write_text(
        MAKER.replace("** 2", "** constants.POWER").replace("import os", "import constants, os")
    )
    (place / "constants.py").write_text("POWER = 2\n")
    assert answer(ask(place, 10)) == RIGHT
    (place / "maker.py").write_text((place / "maker.py").read_text().replace("size):", "size):  # as they are"))
    (place / "constants.py").write_text("POWER = 2  # of the squares\n")
    assert answer(ask(place, 10)) == RIGHT
    assert made(place) == [10]
    (place / "constants.py").write_text("POWER = 3\n")
    assert answer(ask(place, 10)) == RIGHT.replace("285", "2025")  # 0 + 1 + 8 + ... + 729
    assert made(place) == [10, 10]


def test_one_that_is_killed_while_it_makes_blocks_nobody_and_leaves_nothing_half_made(place: Path) -> None:
    first = ask(place, 10, slow=60)
    while not made(place):
        time.sleep(0.01)
    second = ask(place, 10)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert answer(second) == RIGHT
    assert made(place) == [10, 10]


def test_what_is_damaged_is_made_anew(place: Path) -> None:
    assert answer(ask(place, 10)) == RIGHT
    [stored] = (place / "cache").rglob("output.pkl")
    stored.write_bytes(stored.read_bytes()[:-20])
    assert answer(ask(place, 10)) == RIGHT
    assert made(place) == [10, 10]


def test_where_it_lies(monkeypatch) -> None:
    monkeypatch.setenv("HPO_CACHE", "/a/b")
    assert cache_folder() == Path("/a/b")
    monkeypatch.setenv("HPO_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_folder() == Path("/c/hpo")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "hpo"


def test_arrays_alone_come_back_memory_mapped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    for _ in range(2):  # made, and from the cache
        array = made_once(ramp, 5)
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable
        assert array.tolist() == [0, 1, 2, 3, 4]


def ramp(size: int) -> np.ndarray:
    return np.arange(size)
