"""Which trials have ended since the summary before, and the line that says so."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.formatting import amount, duration
from hpo.storage.summary import Row, Summary
from hpo.storage.time_left import left_in_words


@dataclass(frozen=True)
class Ended:
    """A trial of a sweep, or a run of a promotion, that has ended while the command works."""

    row: Row
    done: int  # how many have ended by then, with those of earlier commands
    of: int | None  # how many there are to be in all; None where that is not known
    best: Row | None  # of those that are complete
    improves: bool  # whether it is the best, and there was another best before
    now: Summary


class EndedTrials:
    """Tells those that end while sweep and promotion are at work from those that had ended before."""

    def __init__(self) -> None:
        self._before: Summary | None = None

    def update(self, now: Summary) -> list[Ended]:
        """The trials that have ended since the last call, in the order of their ends; none at a stage's first call."""
        before, self._before = self._before, now
        if before is None or before.stage != now.stage:
            return []
        known = {row.number for row in before.now if row.has_ended}
        rows = sorted(
            (row for row in now.now if row.has_ended and row.number not in known), key=lambda row: row.ended or 0.0
        )
        improved = now.best if before.best is not None and now.best != before.best else None
        first = now.done - len(rows) + 1
        if now.ladder is not None and now.stage == "sweep":
            rows = [row for row in rows if row.state != "pruned"]  # hundreds end together when the sweep is over
            first = now.done  # which counts full-length trials
        asked = now.trials if now.stage == "sweep" else now.runs
        of = None if asked is None else max(asked, now.done)
        return [
            Ended(row, done, of, now.best, improves=row == improved, now=now) for done, row in enumerate(rows, first)
        ]


def title(row: Row) -> str:
    """ "trial 17"; of a promotion "run 2 (trial 17, seed 0)"."""
    if row.kind == "sweep":
        return f"trial {row.number}"
    parts = [row.name, "" if row.seed is None else f"seed {row.seed}"]
    return f"run {row.number} ({', '.join(filter(None, parts))})"


def ended_line(ended: Ended) -> str:
    """ "trial 17 complete, mse 0.1234, 12 s; 18 of 40 done, best mse 0.1187 (trial 9), 3 to 5 min left"."""
    row, goal = ended.row, ended.now.goal
    parts = [f"{title(row)} {row.state}"]
    if row.best is not None:
        parts.append(f"{goal} {amount(row.best, goal)}")
    if row.seconds is not None:
        parts.append(duration(row.seconds))
    reason = f": {row.reason}" if row.reason else ""
    return f"{', '.join(parts)}{reason}; {_progress(ended)}"


def _progress(ended: Ended) -> str:
    goal, left = ended.now.goal, left_in_words(ended.now, ended.now.seconds_left)
    parts = [f"{ended.done} done" if ended.of is None else f"{ended.done} of {ended.of} done"]
    if ended.best is not None:
        parts.append(f"best {goal} {amount(ended.best.value, goal)} ({ended.best.name or title(ended.best)})")
    if left and ended.done != ended.of:
        parts.append(f"{left} left")
    return ", ".join(parts)
