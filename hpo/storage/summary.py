"""What the coordinator says of its study while it works: runs/STUDY/summary.json. Read without torch and Optuna.

The folders and the storage stay the truth. The summary is what `hpo status` shows at once, so it may be missing, or
older than they are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

from hpo.direction import Direction, front
from hpo.files import replace_unsynced
from hpo.storage.folder import RunFolder

VERSION = 1  # of the file: a reader of another version reads the storage instead
ENDED = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Row:
    """One trial of the sweep, or one run of the promotion. Times are Unix times, in seconds."""

    kind: str  # "sweep" or "promotion"
    number: int
    state: str  # "running", "paused", "waiting", "complete", "pruned" or "failed"
    name: str = ""  # promotion: the candidate's, "default" or "trial 17"
    seed: int | None = None  # promotion: which of the candidate's runs, from 0
    epoch: int = 0  # how many epochs have ended
    epochs: int | None = None  # how many there are at most; None where that is not known
    value: float | None = None  # of the goal, where the trial is complete
    best: float | None = None  # the best score of its epochs so far
    seconds: float | None = None  # ended: spent in its epochs; running: since this coordinator handed it out
    pace: float | None = None  # running: seconds of an epoch, once two have ended since it was handed out
    began: float | None = None
    ended: float | None = None
    attempts: int = 1  # how often it was handed to a worker: more than once where it was interrupted
    worker: str = ""  # HOST:PID of the process that trains it, or has trained it last; "" where that is not known
    reason: str = ""  # why it was pruned or failed
    costs: dict[str, float] = field(default_factory=dict)  # of its configuration, as far as the study asks

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Summary:
    """A study at one moment, as the coordinator of its sweep or of its promotion knows it."""

    study: str
    goal: str
    direction: str  # "minimize" or "maximize"
    stage: str  # what is at work: "sweep" or "promotion"
    trials: int | None  # that were asked of the sweep, in all
    runs: int | None  # of the whole race; None while no promotion is at work
    done: int  # how many trials of the sweep, or runs of the race, have ended
    workers: int  # how many jobs are at work side by side
    host: str  # of the coordinator
    pid: int
    lock: int  # the inode of the study's lock file: a copied folder has another one
    generation: int  # of the study
    written: float  # Unix time
    ended: str = ""  # why the sweep has ended before its trials were done; "" where it has not
    note: str = ""  # what is done after the last run of a promotion
    seconds_left: float | None = None  # of the stage, when this was written; None where nothing is known
    goals: tuple[str, ...] = ()  # of a study with several
    ladder: int | None = None  # epochs of a full-length trial, where trials of the sweep pause
    rows: tuple[Row, ...] = ()  # of the sweep, then of the promotion, each in the order of the numbers

    def of_kind(self, kind: str) -> list[Row]:
        """The trials of the sweep, or the runs of the promotion."""
        return [row for row in self.rows if row.kind == kind]

    @property
    def now(self) -> list[Row]:
        """The rows of the stage that is at work."""
        return self.of_kind(self.stage)

    def ended_of_sweep(self, sweep: Sequence[Row]) -> int:
        """How many trials of the sweep have ended by these rows; of a ladder, how many full-length ones those are."""
        if self.ladder is None:
            return sum(row.has_ended for row in sweep)
        is_at_work = any(not row.has_ended for row in sweep)
        spent = sum(max(1, row.epoch) for row in sweep)
        return full_length_trials(spent, self.ladder, self.trials or 0, is_at_work=is_at_work)

    def count(self, state: str) -> int:
        """How many trials, or runs, of the stage are in a state."""
        return Counter(row.state for row in self.now)[state]

    @property
    def best(self) -> Row | None:
        """The best complete trial, or run, of the stage; the first of equal ones."""
        return best_of(self.now, Direction(self.direction))


def full_length_trials(spent: int, each: int, wanted: int, *, is_at_work: bool) -> int:
    """How many trials of `each` epochs the epochs that a ladder has spent stand for.

    All that were wanted, once nothing is at work and no further full-length trial fits.
    """
    is_over = not is_at_work and spent > (wanted - 1) * each
    return wanted if is_over else spent // each


def best_of(rows: list[Row], direction: Direction) -> Row | None:
    """The best of those that are complete; None where none is."""
    complete = [row for row in rows if row.state == "complete" and row.value is not None]
    return direction.best(complete, key=lambda row: row.value) if complete else None


def front_of(rows: list[Row], direction: Direction, goals: tuple[str, ...]) -> list[Row]:
    """The complete rows that no other one dominates; none where there are not several goals."""
    costs = goals[1:]
    complete = [
        row for row in rows if row.state == "complete" and row.value is not None and row.costs.keys() >= {*costs}
    ]
    if not costs:
        return []
    return front(complete, key=lambda row: (direction.sign * (row.value or 0.0), *(-row.costs[name] for name in costs)))


def write_summary(folder: RunFolder, summary: Summary) -> None:
    """Replace the file, in one step. A disk that takes nothing leaves the old one: the summary stops no work."""
    record = asdict(summary)
    rows = ",\n".join(json.dumps(row) for row in record.pop("rows"))
    head = json.dumps({"version": VERSION, **record})
    replace_unsynced(folder.summary, f'{head[:-1]}, "rows": [\n{rows}\n]}}\n'.encode())


def read_summary(folder: RunFolder) -> Summary | None:
    """The summary; None where there is none, or it is damaged, of another version, or of an older generation."""
    try:
        record = json.loads(folder.summary.read_bytes())
        if record.pop("version") != VERSION or record["generation"] != folder.generation:
            return None
        types = _types(Row)
        for row in record["rows"]:
            _check(row, types)
        record["goals"] = tuple(record["goals"])
        record["rows"] = tuple(Row(**row) for row in record["rows"])
        _check(record, _types(Summary))
        return Summary(**record)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


Types: TypeAlias = dict[str, tuple[type, ...]]  # which types each field of a record may have


def _check(record: Mapping[str, Any], types: Types) -> None:
    """Raise TypeError unless a record has exactly these fields, each of its type."""
    if record.keys() != types.keys():
        raise TypeError(f"must have the fields {', '.join(types)}; got {', '.join(record)}")
    for name, value in record.items():
        if not isinstance(value, types[name]):
            raise TypeError(f"{name} must be {types[name]}; got {value!r}")


def _types(kind: type) -> Types:
    hints = get_type_hints(kind)
    return {name: _allowed(hint) for name, hint in hints.items()}


def _allowed(hint: Any) -> tuple[type, ...]:
    """A whole number may stand for a float."""
    if isinstance(hint, UnionType):
        return tuple(allowed for part in get_args(hint) for allowed in _allowed(part))
    if hint is float:
        return (float, int)
    return (get_origin(hint) or hint,)
