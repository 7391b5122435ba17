"""What `hpo status` shows: a line a study and, of a study that was named, a line a trial. Needs no Optuna."""

from __future__ import annotations

import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

from hpo.cli.terminal import Cell, laid_out, say, show
from hpo.direction import Direction
from hpo.errors import Stopped
from hpo.formatting import count, duration, first_words, number, out_of

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from hpo.page.status import Status
    from hpo.storage.summary import Row

Read: TypeAlias = "Callable[[], Sequence[Status]]"

STDOUT = 1
REFRESH_S = 2.0
WHOLE = 20  # trials that are shown whole; of more, those that have begun, and SOME of the best, of the last, of failed
SOME = 5
MOST_OF_FRONT = 6  # trials of a front that are named
STUDY_COLUMNS = ("study", "preflight", "sweep", "running", "best", "left", "promotion")
COLOUR = {
    "running": "cyan",
    "interrupted": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "pruned": "dim",
    "paused": "dim",
}


def show_statuses(statuses: Sequence[Status], *, trials: bool = False, every: bool = False) -> None:
    """Print a line a study; with `trials`, a line for those of their trials that matter now, or for `every` one."""
    for part in _parts(statuses, trials=trials, every=every):
        show(part)


def watch_statuses(read: Read, *, trials: bool, every: bool) -> None:
    """Show the same, read anew every two seconds, until Ctrl-C. Where there is no terminal, block after block."""
    is_terminal = sys.stdout.isatty()
    try:
        if is_terminal:
            _refresh(read, trials=trials, every=every)
        else:
            _repeat(read, trials=trials, every=every)
    except Stopped as stopped:
        if stopped.number != signal.SIGINT:
            raise
    if is_terminal:  # the screen of before is back
        show_statuses(read(), trials=trials, every=every)


def _refresh(read: Read, *, trials: bool, every: bool) -> None:
    from rich.console import Console, Group
    from rich.live import Live

    def screen() -> Group:
        return Group(*_parts(read(), trials=trials, every=every), _clock())

    with Live(screen(), console=Console(highlight=False), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_S)
            live.update(screen(), refresh=True)


def _repeat(read: Read, *, trials: bool, every: bool) -> None:
    while _is_read():
        show_statuses(read(), trials=trials, every=every)
        say(_clock())
        sys.stdout.flush()
        time.sleep(REFRESH_S)


def _is_read() -> bool:
    """Whether there is still somebody who reads standard output."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    return not any(event & select.POLLERR for _, event in poll.poll(0))


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _parts(statuses: Sequence[Status], *, trials: bool, every: bool) -> Iterator[RenderableType]:
    yield laid_out("", STUDY_COLUMNS, [_study_cells(status) for status in statuses])
    for status in statuses:
        yield from (f"{status.study}: {note}" for note in _notes(status, with_sentence=trials))
        if trials:
            yield from _tables(status, every=every)


def _notes(status: Status, *, with_sentence: bool) -> Iterator[str]:
    """What a table has no place for."""
    if status.unknown:
        written = f"; what is shown was written {_ago(status.written)}" if status.written else ""
        yield f"cannot see the lock from here, so {status.coordinator or 'another process'} may be at work{written}"
    if status.note:
        yield status.note
    if status.sentence and with_sentence:
        yield status.sentence


def _ago(then: float | None) -> str:
    return "" if then is None else f"{duration(max(0.0, time.time() - then))} ago"


def _study_cells(status: Status) -> tuple[Cell, ...]:
    others = {"paused": status.paused, "interrupted": status.interrupted, "unknown": status.unknown}
    stopped = [f"{trials} {state}" for state, trials in others.items() if trials]
    return (
        status.study,
        status.preflight,
        _sweep_progress(status),
        ", ".join([str(status.running), *stopped]),
        _best(status),
        status.time_left,
        status.promotion,
    )


def _best(status: Status) -> str:
    """The best score, or which trials no other one dominates."""
    if status.front:
        return f"front: {first_words([str(number) for number in status.front], MOST_OF_FRONT)}"
    return "" if status.best is None else f"{number(status.best)} (trial {status.best_trial})"


def _sweep_progress(status: Status) -> str:
    if status.trials is None:
        return "not run"
    return out_of(status.done, status.trials, "/") + (", ended" if status.ended else "")


def _tables(status: Status, *, every: bool) -> Iterator[RenderableType]:
    """The trials of the sweep, and the runs of the promotion."""
    for kind, noun in (("sweep", "trial"), ("promotion", "run")):
        rows = [row for row in status.rows if row.kind == kind]
        shown = rows if every or len(rows) <= WHOLE else _that_matter(rows, status.direction)
        if not shown:
            continue
        columns = (noun, "state", "epoch", status.goal or "best", "time", "worker", "reason")
        yield laid_out("", columns, [_row_cells(row) for row in _at_work_first(shown)])
        if len(shown) < len(rows):
            yield f"{len(shown)} of {count(len(rows), noun)}: at work, best, last, failed last; --all shows every one"


def _that_matter(rows: Sequence[Row], direction: str) -> list[Row]:
    """Those that have begun and not ended, and some of the best, of the last that have ended, and of the failed."""
    ended = sorted((row for row in rows if row.has_ended), key=lambda row: (row.ended or 0.0, row.number))
    complete = [row for row in ended if row.value is not None]
    best = Direction(direction).ranked(complete, key=lambda row: row.value)
    failed = [row for row in ended if row.state == "failed"]
    chosen = {row.number for row in (*best[:SOME], *ended[-SOME:], *failed[-SOME:])}
    return [row for row in rows if row.number in chosen or not row.has_ended]


def _at_work_first(rows: Sequence[Row]) -> list[Row]:
    """A screen may be too low for all of them."""
    return sorted(rows, key=lambda row: (row.has_ended, row.number))


def _row_cells(row: Row) -> tuple[Cell, ...]:
    from rich.text import Text

    name = f"{row.number}: {row.name}, seed {row.seed}" if row.name else str(row.number)
    epochs = "" if row.epochs is None else f"/{row.epochs}"
    return (
        name,
        Text(row.state, style=COLOUR.get(row.state, "")),
        f"{row.epoch}{epochs}",
        "" if row.best is None else number(row.best),
        _time(row),
        row.worker,
        row.reason,
    )


def _time(row: Row) -> str:
    """How long it has trained; of one that runs or was interrupted, how long ago it began."""
    if row.has_ended or row.state == "paused":
        return "" if row.seconds is None else duration(row.seconds)
    return "" if row.began is None else duration(max(0.0, time.time() - row.began))
