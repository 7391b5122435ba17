"""The commands that the report suggests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from hpo.page.findings import LoggedCommand
from hpo.study import StudySpec

_FLAGS = ("--smoke", "--force", "--json", "--debug")  # options that take no value
_COMMON_OPTIONS = ("--smoke", "--runs", "--data")  # they mean the same to every verb that opens a study
_OF_NEXT = ("--runs",)  # those that `hpo next` takes


def suggest_command(verb: str, study: StudySpec, commands: Sequence[LoggedCommand]) -> str:
    """The command for a verb: with the study, the folders and the fidelity that the last logged one was given."""
    name, options = study.name, []
    allowed = _OF_NEXT if verb == "next" else _COMMON_OPTIONS
    words = list(commands[-1].argv[2:]) if commands else []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            name = word
            continue
        option, equals_sign, _ = word.partition("=")
        takes_next = not equals_sign and option not in _FLAGS and bool(words)
        value = [words.pop(0)] if takes_next else []
        if option in allowed:
            options += [word, *value]
    return shlex.join(["hpo", verb, name, *options])
