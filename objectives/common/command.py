"""The command line that applies a winner to a user's own files."""

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
    """Run `python -m MODULE WINNER FILES OUT`: print each path that `apply(winner, files, out)` writes.

    `files` holds the name and the help of the second argument, `out` the help of the third. A ValueError or OSError
    ends the command with its message on one line and exit code 1.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=summary)
    parser.add_argument("winner", type=Path, help="the folder that hpo promote exported, with weights and card")
    parser.add_argument(files[0], type=Path, help=files[1])
    parser.add_argument("out", type=Path, help=out)
    options = parser.parse_args(arguments)
    try:
        for path in apply(options.winner, getattr(options, files[0]), options.out):
            print(path)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
