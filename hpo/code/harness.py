"""The code of hpo that a value depends on. The command line and the report may change between two runs of a study."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.code.closure import Code, code_of
from hpo.code.fingerprint import SHORT, code_digest
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
# Digests of these files after changes that have no effect on any value -> those that they count as: a study that began
# before goes on. tests/test_code.py says which line is needed.
NO_EFFECT: Mapping[str, str] = {
    "a67efcf8cbdf": "6278a6dbd4ec",  # hpo/space.py
    "cd92dd1bda6c": "06ecb12b0d71",  # hpo/engine/checkpoint.py
    "f5a9953db08f": "9727fb9732c7",  # hpo/engine/run.py
    "ce040c2f24a1": "35aefe1fb289",  # hpo/study.py
    "d60c0f678eb1": "2404b9d1f9c9",  # hpo/trial/objective.py
    "985cc12f80ed": "bf557084ff80",  # hpo/promotion/runs.py
    "3fa3f0fe47f3": "472f1439a2c0",  # hpo/task.py
}


@dataclass(frozen=True)
class CodeIdentity:
    """The user's code that something depends on, and a digest of each file of hpo that it depends on."""

    code: Code
    harness: dict[str, str]

    @property
    def hash(self) -> str:
        """12 hex digits. The name of the file that the task is defined in does not change them."""
        code = {"" if file == self.code.root else file: names for file, names in self.code.files.items()}
        return fingerprint({"code": code, "harness": self.harness})


def code_identity(value: type | Callable[..., Any], harness: tuple[str, ...] = HARNESS) -> CodeIdentity:
    """The code that a class or a function depends on. Raises Refused where there is no source."""
    return CodeIdentity(code_of(value), harness_digests(harness))


def code_hash(value: type | Callable[..., Any], harness: tuple[str, ...] = HARNESS) -> str:
    """12 hex digits over the code that a class or a function depends on, and the files of hpo that a value depends on.

    Comments, docstrings and formatting do not change it. Raises Refused where there is no source.
    """
    return code_identity(value, harness).hash


def harness_digests(patterns: tuple[str, ...] = HARNESS) -> dict[str, str]:
    """A digest of each file of hpo that matches a pattern, by its path there; a change without effect does not show."""
    files = sorted(path for pattern in patterns for path in PACKAGE.glob(pattern))
    digests = {f"hpo/{path.relative_to(PACKAGE).as_posix()}": _file_digest(path)[:SHORT] for path in files}
    return {file: NO_EFFECT.get(digest, digest) for file, digest in digests.items()}


def _file_digest(path: Path) -> str:
    """The digest of a file's code, computed once for as long as the file does not change."""
    status = path.stat()
    return _digest_once(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _digest_once(path: Path, changed_ns: int, size: int) -> str:  # noqa: ARG001  # they say which content it was
    return code_digest(path.read_bytes())
