"""Failed trials by the kind of their error: how many failed in one way, and how the first of them failed."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from hpo.errors import is_users_file
from hpo.storage.folder import RunFolder
from hpo.trial.lifecycle import state_of
from hpo.trial.record import Outcome, read_outcome

FEWEST = 4  # ended trials, below which no share of them says anything
LARGEST_SHARE = 0.25  # of the ended trials that may be faulty in a sweep that is a success

# How the reasons begin that are an answer about the configuration: the search keeps away from the like, and the code
# has no fault. A worker that died is among them, since most of them were killed for want of memory.
ANSWERS = (
    "diverged: ",
    "infeasible: ",
    "out of memory: ",
    "over its time limit",
    "over its memory limit",
    "its worker died ",
    "superseded by ",
)

# What differs between two errors of one kind, and what stands in its place. The order counts.
VARYING = (
    (re.compile(r"(?<!\w)'[^'\n]*'(?!\w)|\"[^\"\n]*\""), "'…'"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "ADDRESS"),
    (re.compile(r"(?<![\w.])(?:[A-Za-z]:)?(?:[/\\][\w.@+-]+){2,}[/\\]?"), "PATH"),
    (re.compile(r"[-+]?\d[\d_]*(?:\.\d+)?(?:[eE][-+]?\d+)?"), "N"),
    (re.compile(r"N(?:(?:, ?| ?x ?)N)+,?"), "N"),  # shapes of more or fewer dimensions
)
FRAME = re.compile(
    r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?:,)? in (?P<function>[^\n]+)(?:\n    +(?P<code>[^\n]*))?'
)
NEWEST_FIRST = "most recent call first"  # as the stacks of a process are shown that hung


@dataclass(frozen=True)
class FailureGroup:
    """Trials that failed in one way."""

    kind: str  # of their error: its type and its message without what varies, such as "ValueError: N heads"
    numbers: tuple[int, ...]
    reason: str  # of the first of them
    traceback: str = ""  # of the first one that has a traceback

    @property
    def is_fault(self) -> bool:
        """Whether something is broken; else the failure is an answer about the configuration."""
        return is_fault(self.reason)

    @property
    def where(self) -> str:
        """The user's own line that failed, such as "net.py:12, in forward: x = self.head(x)"."""
        return users_line(self.traceback)


@dataclass(frozen=True)
class Failure:
    """A failed trial: its number, and why it failed."""

    number: int
    reason: str


def kind_of(reason: str) -> str:
    """The reason without what varies: numbers, paths, addresses, and what stands in quotation marks."""
    for pattern, replacement in VARYING:
        reason = pattern.sub(replacement, reason)
    return reason


def is_fault(reason: str) -> bool:
    """Whether a trial that failed for this reason shows that something is broken.

    What diverged, is infeasible, ran out of memory or over a limit is an answer about its configuration. A trial whose
    reason was not kept shows nothing.
    """
    return bool(reason) and not reason.startswith(ANSWERS)


def failures_among(trials: Iterable[FrozenTrial]) -> list[Failure]:
    """The failed trials of a sweep."""
    failed = [trial for trial in trials if state_of(trial) == "failed"]
    return [Failure(trial.number, trial.user_attrs.get("reason", "")) for trial in failed]


def grouped(failures: Sequence[Failure], folder: RunFolder) -> tuple[FailureGroup, ...]:
    """Failed trials of a sweep by the kind of their error, the largest group first."""
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(kind_of(failure.reason), []).append(failure)
    by_size = sorted(groups.items(), key=lambda group: (-len(group[1]), group[1][0].number))
    return tuple(
        FailureGroup(
            kind=kind,
            numbers=tuple(failure.number for failure in members),
            reason=members[0].reason,
            traceback=_first_traceback(members, folder),
        )
        for kind, members in by_size
    )


def _first_traceback(members: Sequence[Failure], folder: RunFolder) -> str:
    outcomes = (read_outcome(folder.trial("sweep", failure.number)) for failure in members)
    return next((outcome.traceback for outcome in outcomes if outcome is not None and outcome.traceback), "")


def too_many(groups: Sequence[FailureGroup], ended: int) -> bool:
    """Whether more of the ended trials are faulty than a successful sweep may have."""
    return ended >= FEWEST and faulty(groups) > LARGEST_SHARE * ended


def faulty(groups: Sequence[FailureGroup]) -> int:
    """How many trials failed because something is broken."""
    return sum(len(group.numbers) for group in groups if group.is_fault)


def largest_kind(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """The faulty ones among the outcomes that are of the most frequent kind."""
    kinds: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.state == "failed" and is_fault(outcome.reason):
            kinds.setdefault(kind_of(outcome.reason), []).append(outcome)
    return max(kinds.values(), key=len, default=[])


def users_line(traceback: str) -> str:
    """The innermost line of the user's own code in a traceback; "" where there is none."""
    if NEWEST_FIRST not in traceback:
        return next(map(_shown, reversed(_users_frames(traceback))), "")
    threads = traceback.split("\n\n")
    innermost = [frames[0] for frames in map(_users_frames, threads) if frames]
    return _shown(innermost[-1]) if innermost else ""  # the main thread is shown last


def _users_frames(traceback: str) -> list[Mapping[str, str | None]]:
    """The frames of the user's own code, in the order of the text."""
    frames = [match.groupdict() for match in FRAME.finditer(traceback)]
    return [frame for frame in frames if is_users_file(str(frame["file"]))]


def _shown(frame: Mapping[str, str | None]) -> str:
    file, line = str(frame["file"]), int(str(frame["line"]))
    code = frame["code"] or linecache.getline(file, line).strip()  # stacks come without it
    return f"{file}:{line}, in {frame['function']}{f': {code}' if code else ''}"
