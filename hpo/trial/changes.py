"""The changes of a study that were accepted: which trials went on, and which were set aside."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError

from hpo.errors import Damaged
from hpo.files import write_json
from hpo.formatting import count
from hpo.storage.folder import RunFolder

SHOWN = 6  # trials that are named


@dataclass(frozen=True)
class Change:
    """A change of a study that was accepted, and what became of the trials that were there."""

    parts: tuple[str, ...]
    differences: tuple[str, ...]  # for people
    before: Mapping[str, str]  # the identity
    now: Mapping[str, str]
    carried: tuple[int, ...]  # numbers of the trials that go on
    set_aside: tuple[int, ...]  # of those that do not fit: their numbers are asked again
    reasons: tuple[str, ...]  # why, for each of them
    moved: tuple[str, ...]  # what of the study's folder goes to set-aside/: those trials, and the promotion

    @property
    def outcome(self) -> str:
        """What becomes of the trials, in words."""
        carried = f"{count(len(self.carried), 'trial')} carried over, with their numbers, curves and folders"
        if not self.set_aside:
            return f"{carried}; none is set aside"
        aside = [f"trial {number} ({reason})" for number, reason in zip(self.set_aside, self.reasons, strict=True)]
        more = f"; and {len(aside) - SHOWN} more" if len(aside) > SHOWN else ""
        return f"{carried}; set aside: {'; '.join(aside[:SHOWN])}{more}"


def read_changes(folder: RunFolder) -> tuple[Change, ...]:
    """The changes that were accepted, in order. Raises Damaged where they cannot be read."""
    if not folder.changes.exists():
        return ()
    try:
        return TypeAdapter(tuple[Change, ...]).validate_json(folder.changes.read_bytes())
    except ValidationError as error:
        raise Damaged(f"{folder.changes} is damaged: {error.errors()[0]['msg']}") from error


def accept(folder: RunFolder, change: Change) -> None:
    """Write a change down. From then on the study is in its next generation."""
    write_json(folder.changes, [asdict(earlier) for earlier in (*read_changes(folder), change)])


def move_aside(folder: RunFolder) -> None:
    """Move what the changes set aside to where it is kept. To do it twice does nothing more.

    What was moved is never moved again, even where set-aside/ was emptied: by now its name may be that of a new trial.
    """
    changes = read_changes(folder)
    for number, change in enumerate(changes, start=1):
        if number <= _moved(folder):
            continue
        aside = folder.path / "set-aside" / str(number)
        for place in change.moved:
            if (folder.path / place).exists() and not (aside / place).exists():
                (aside / place).parent.mkdir(parents=True, exist_ok=True)
                (folder.path / place).rename(aside / place)
    if len(changes) != _moved(folder):
        write_json(folder.moved, len(changes))


def _moved(folder: RunFolder) -> int:
    """How many changes have been done with: none where nothing was written about it, as until 0.1."""
    return int(json.loads(folder.moved.read_bytes())) if folder.moved.exists() else 0


def lineage(folder: RunFolder) -> tuple[str, ...]:
    """What a reader must know of the trials' past, a line for each change that was accepted."""
    return tuple(_line(change) for change in read_changes(folder))


def _line(change: Change) -> str:
    trials = f"{count(len(change.carried), 'trial')} ran before this was accepted"
    return f"{trials}: {'; '.join(change.differences)}"


def code_note(folder: RunFolder) -> str:
    """A line that says which trials ran with other code; empty where all ran with the same."""
    lines = [_line(change) for change in read_changes(folder) if "code" in change.parts and change.carried]
    return f"results of different code are ranked together. {'. '.join(lines)}" if lines else ""
