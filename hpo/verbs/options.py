"""The options of the verbs: the same names, defaults and meanings as on the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from hpo.errors import Refused
from hpo.formatting import seconds_of
from hpo.promotion.candidate import Tie
from hpo.storage.postgresql import check_url

Folder: TypeAlias = str | Path
ACCEPTABLE = ("code", "space")  # parts of a study that may change while it goes on


@dataclass(frozen=True)
class Options:
    """What is asked of a study beside its name.

    Raises Refused for a number that is out of its range, and for a storage that cannot be used.
    """

    smoke: bool = False
    workers: int | None = None  # None: one for each GPU, or else for each core
    trials: int | None = None  # this and the next two: None is what the study says
    timeout: float | None = None  # in seconds
    budget: str | None = None  # of time for the whole run: "2h"
    keep: int | None = None
    seeds: int | None = None
    more: int | None = None  # further seeds for the default and the leader of the last verdict
    again: bool = False  # a new promotion, on seeds that no verdict has used
    tie: Tie = "default"  # what is exported where the leader's lead is not sure
    data: Folder | None = None
    device: str = "auto"
    runs: Folder = "runs"
    storage: str | None = None
    backend: str = "local"
    scheduler: str | None = None
    devices: int = 1
    force: bool = False
    tries: tuple[Mapping[str, Any], ...] = ()  # configurations that the sweep tries first; --try on the command line
    failed: bool = False  # all trials that have failed
    promotion: bool = False  # runs of the promotion, and not trials of the sweep
    accept: tuple[str, ...] = ()  # changes of the study to go on with: "space", "code"
    log: Folder | None = None  # a file that a line is appended to for each trial that ends
    notify: str | None = None  # a command that is started for each event

    def __post_init__(self) -> None:
        for name in ("workers", "trials", "keep", "seeds", "more", "devices"):
            value = getattr(self, name)
            if value is not None and not _is_positive(value):
                raise Refused(f"--{name}: must be a whole number of at least 1; got {value!r}")
        if self.timeout is not None and not _is_duration(self.timeout):
            raise Refused(f"--timeout: must be a number of seconds, at least 0; got {self.timeout!r}")
        _check_budget(self)
        if self.more is not None and self.again:
            raise Refused("--more adds seeds to the last promotion, and --again begins a new one; give one of them")
        if self.tie not in ("default", "leader"):
            raise Refused(f"--tie: must be default or leader; got {self.tie!r}")
        _check_accept(self)
        for values in self.tries:
            if not isinstance(values, Mapping) or not values:
                raise Refused(f"--try: must be NAME=VALUE, once or more often; got {values!r}")
        if self.storage is not None:
            check_url(self.storage)

    def words(self) -> list[str]:
        """The options as the command line takes them. Those that have their default are left out, and so is `notify`,
        in which there may be a secret."""
        words = []
        for option in fields(self):
            value = getattr(self, option.name)
            if str(value) == str(option.default) or option.name == "notify":
                continue
            for item in value if isinstance(value, tuple) else [value]:
                words += [f"--{option.name}"] if item is True else [_flag(option.name), _word(item)]
        return words


def _flag(name: str) -> str:
    return "--try" if name == "tries" else f"--{name}"  # Python has a word `try` of its own


def _word(item: object) -> str:
    if isinstance(item, Mapping):
        return shlex.join(f"{name}={value!r}" for name, value in item.items())
    return str(item)


def help_command(verb: str, study: str, options: Options) -> str:
    """The command for another verb on the same study, as a person would type it."""
    shared = replace(Options(), smoke=options.smoke, data=options.data, runs=options.runs)
    return shlex.join(["hpo", verb, study, *shared.words()])


def _check_accept(options: Options) -> None:
    unknown = [part for part in options.accept if part not in ACCEPTABLE]
    if unknown:
        raise Refused(f"--accept: must be {' or '.join(ACCEPTABLE)}; got {unknown[0]!r}")


def _check_budget(options: Options) -> None:
    if options.budget is None:
        return
    try:
        seconds_of(options.budget)
    except ValueError as error:
        raise Refused(f"--budget: {error}") from error
    if options.smoke:
        raise Refused("--budget: --smoke takes seconds and has no budget; give one of them")


PLANNED = ("trials", "timeout", "keep", "seeds")  # what a budget plans


def require_unplanned(options: Options) -> None:
    """Raise Refused where an option asks for what a budget plans."""
    given = [f"--{name}" for name in PLANNED if getattr(options, name) is not None]
    if given:
        raise Refused(f"a budget plans trials, keep and seeds itself; leave out {' and '.join(given)}, or the budget")


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
