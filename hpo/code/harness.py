"""The code of hpo that a value depends on. The command line and the report may change between two runs of a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpo.code.closure import code_of, file_digest
from hpo.plain import fingerprint

PACKAGE = Path(__file__).parents[1]

HARNESS = (
    "data/*.py",
    "engine/*.py",
    "trial/objective.py",
    "recipe.py",
    "seeds.py",
    "space.py",
    "schedule.py",
    "study.py",
    "task.py",
)
PROMOTION = ("promotion/runs.py", "promotion/retune.py", "promotion/test_split.py")  # what a test score adds to that


def harness_digests(patterns: tuple[str, ...] = HARNESS) -> dict[str, str]:
    """A digest of each file of hpo that matches a pattern, by its path there."""
    files = sorted(path for pattern in patterns for path in PACKAGE.glob(pattern))
    return {path.relative_to(PACKAGE).as_posix(): file_digest(path) for path in files}


def code_hash(value: type | Callable[..., Any], harness: tuple[str, ...] = HARNESS) -> str:
    """12 hex digits over the code that a class or a function depends on, and the files of hpo that a value depends on.

    Comments, docstrings and formatting do not change it. Raises Refused where there is no source.
    """
    return fingerprint({"code": code_of(value), "harness": harness_digests(harness)})
