"""What `--json` prints: one document about what a command has come to. docs/programs.md describes it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

import typer

import hpo
from hpo.cli.exits import Ended
from hpo.cli.terminal import document_alone
from hpo.errors import ExitCode
from hpo.plain import nulled, plain

SCHEMA = 1  # goes up where a field of the documents goes away, or means something else


class Answer:
    """What a command has come to, as it says itself."""

    def __init__(self) -> None:
        self.result: Any = None

    def __call__(self, result: Any) -> None:
        """Keep a record, or a list or mapping of records, as the document's result."""
        self.result = result


@contextmanager
def document(verb: str, wanted: bool) -> Iterator[Answer]:
    """Keep standard output for one JSON document, and print it when the command ends, however it ends.

    What else is printed goes to standard error. Where the document is not wanted this does nothing. Enter `exits`
    within it: that says how the command ends.
    """
    answer = Answer()
    if not wanted:
        yield answer
        return
    try:
        with document_alone():
            yield answer
    except typer.Exit as ended:
        _print(verb, answer, ended.exit_code, ended.reason if isinstance(ended, Ended) else None)
        raise
    _print(verb, answer, ExitCode.DONE, None)


def _print(verb: str, answer: Answer, code: int, error: str | None) -> None:
    contents = {
        "schema": SCHEMA,
        "hpo": hpo.__version__,
        "verb": verb,
        "exit_code": int(code),
        "error": error,
        "result": in_json(answer.result),
    }
    print(json.dumps(contents, indent=1), flush=True)


def in_json(result: Any) -> Any:
    """Records as JSON has them: with null for what is no finite number."""
    if is_dataclass(result) and not isinstance(result, type):
        return in_json(asdict(result))
    if isinstance(result, Mapping):
        return {str(key): in_json(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [in_json(item) for item in result]
    return nulled(plain(result))
