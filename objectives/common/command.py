"""The command line of what puts a winner to work on a user's own files."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path


def work(
    module: str,
    summary: str,
    files: tuple[str, str],
    out: str,
    apply: Callable[[Path, Path, Path], Iterator[Path]],
    arguments: Sequence[str] | None,
) -> None:
    """`python -m MODULE WINNER FILES OUT`: print what `apply(winner, files, out)` writes. What is wrong is said in a
    line, with exit code 1. `files` are the argument's name and its help."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=summary)
    parser.add_argument("winner", type=Path, help="the export folder of a study, with weights and card")
    parser.add_argument(files[0], type=Path, help=files[1])
    parser.add_argument("out", type=Path, help=out)
    given = parser.parse_args(arguments)
    try:
        for path in apply(given.winner, getattr(given, files[0]), given.out):
            print(path)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
