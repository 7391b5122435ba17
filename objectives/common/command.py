"""The command line that applies a winner to a user's own files, and what every such command prints."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpo import CARD
from objectives.common.content import content_hash
from objectives.common.folder import Failed, Made, Result
from objectives.common.walk import Skipped, summary_of_skipped

DONE, INCOMPLETE, INTERRUPTED = 0, 1, 130  # exit codes


@dataclass(frozen=True)
class Ending:
    """What became of a folder."""

    made: tuple[Made, ...]
    exit_code: int  # 0: every file was read; 1: some failed, or were skipped and would be missed; 130: Ctrl-C


def work(
    module: str,
    summary: str,
    files: tuple[str, str],
    out: str,
    apply: Callable[[Path, Path, Path], Iterator[Result]],
    arguments: Sequence[str] | None,
    line: Callable[[Made], str] = lambda made: str(made.output),
) -> int:
    """Run `python -m MODULE WINNER FILES OUT`: print a line for each output of `apply(winner, files, out)`, its path by
    default, and return the exit code.

    `files` holds the name and the help of the second argument, `out` the help of the third. A ValueError or OSError
    of the whole command ends it with its message on one line and exit code 1.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=summary)
    parser.add_argument("winner", type=Path, help="the folder that hpo promote exported, with weights and card")
    parser.add_argument(files[0], type=Path, help=files[1])
    parser.add_argument("out", type=Path, help=out)
    options = parser.parse_args(arguments)
    try:
        results = apply(options.winner, getattr(options, files[0]), options.out)
        return follow(results, line).exit_code
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {printable(str(error))}") from None


def settings_of(command: str, winner: Path) -> dict[str, str]:
    """What outputs depend on beside their inputs: the winner, whose card has the hash of its weights."""
    return {"command": command, "winner": content_hash([winner / CARD])}


def follow(results: Iterable[Result], line: Callable[[Made], str]) -> Ending:
    """Print `line` for each output as it is made, and what failed or was skipped at the end, on standard error.

    Ctrl-C ends it without a traceback.
    """
    made: list[Made] = []
    failed: list[Failed] = []
    skipped: list[Skipped] = []
    stopped = False
    try:
        with _plain_warnings():
            for result in results:
                if isinstance(result, Skipped):
                    skipped.append(result)
                elif isinstance(result, Failed):
                    failed.append(result)
                else:
                    made.append(result)
                    print(printable(line(result)), flush=True)
    except KeyboardInterrupt:
        stopped = True
    _print_ending(made, failed, skipped, stopped=stopped)
    missed = failed or any(not file.expected for file in skipped)
    return Ending(tuple(made), INTERRUPTED if stopped else INCOMPLETE if missed else DONE)


def _print_ending(made: list[Made], failed: list[Failed], skipped: list[Skipped], *, stopped: bool) -> None:
    kept = sum(result.kept for result in made)
    counts = [f"{len(made) - kept} made"]
    if kept:
        counts.append(f"{kept} kept from an earlier run")
    if failed:
        counts.append(f"{len(failed)} failed")
    if skipped:
        counts.append(f"{len(skipped)} skipped")
    lines = [*summary_of_skipped(skipped), *(f"failed, {result.job.name}: {result.reason}" for result in failed)]
    lines.append(", ".join(counts))
    if stopped:
        lines.append("Stopped. What is made stays, and the same command goes on.")
    for line in lines:
        print(printable(line), file=sys.stderr)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """A warning, such as one about a picture's further frames, is a line without a place in the code."""
    before = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = before


def printable(text: str) -> str:
    """The text with what no terminal can show, such as a file name that is not UTF-8, written as escapes."""
    return text.encode(errors="backslashreplace").decode()
