"""What is running, done and best, from the summary of each study, or from its storage. Writes nothing.

Neither torch nor Optuna is imported where the summaries will do.
"""

from __future__ import annotations

import difflib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpo.direction import Direction
from hpo.errors import Refused
from hpo.promotion.glance import PromotionGlance, PromotionState, glance
from hpo.storage.folder import RunFolder
from hpo.storage.held import Sight, sight_of_lock
from hpo.storage.summary import Row, Summary, best_of, front_of, read_summary
from hpo.storage.time_left import ladder_seconds_left, left_in_words, seconds_left
from hpo.trial.ended_rows import with_folders

BEGUN: dict[Sight, str] = {"held": "running", "free": "interrupted", "hidden": "unknown"}  # the state of what has begun


@dataclass(frozen=True)
class Status:
    """One study at this moment."""

    study: str
    done: int = 0
    trials: int | None = None  # None before the first sweep
    ended: str = ""  # why the sweep has ended before its trials were done; "" where it has not
    running: int = 0
    interrupted: int = 0  # begun, and nobody's at the moment: the next sweep goes on with them
    unknown: int = 0  # begun, and the lock cannot be seen from here: running, or interrupted
    paused: int = 0  # begun, and waiting to be sent on: the sweep decides
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    best: float | None = None
    best_trial: int | None = None
    front: tuple[int, ...] = ()  # with several goals: the trials that no other one dominates
    seconds_left: float | None = None  # of what is at work, or stands still; None before the first trial has ended
    time_left: str = ""  # the same in words, from the least to the most: "14 to 29 min"
    preflight: str = "not run"  # or "go", "caution", "no-go"
    promotion: str = "not run"  # or "2/9 runs", or "winner: trial 7": for people
    promotion_state: PromotionState = "not run"
    sentence: str = ""  # the verdict's
    unreadable: bool = False  # the storage cannot be read: of the sweep and the promotion nothing is known
    coordinator: str = ""  # HOST:PID of what works at it, or has worked at it last
    written: float | None = None  # the Unix time of what is shown, where a coordinator has written it
    note: str = ""  # what it does after the last run of a promotion
    goal: str = ""
    direction: str = "minimize"
    rows: tuple[Row, ...] = ()  # the trials of the sweep, then the runs of the promotion


def statuses(runs: Path, name: str | None) -> list[Status]:
    """The studies in a folder, or the one of that name or of that study file. Raises Refused where there is none."""
    patterns = ("*/study.db", "*/storage", "*/preflight.json")
    folders = {path.parent.name: RunFolder(path.parent) for pattern in patterns for path in runs.glob(pattern)}
    wanted = sorted(folders)
    if name is not None:
        wanted = [study for study in (name, Path(name).stem) if study in folders][:1]
    if not wanted:
        raise Refused(_nothing(runs, name, sorted(folders)))
    return [status_of(folders[study]) for study in wanted]


def _nothing(runs: Path, name: str | None, known: list[str]) -> str:
    if name is None or not known:
        return f"nothing has been run in {runs.resolve()}"
    close = difflib.get_close_matches(Path(name).stem, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"studies there are: {', '.join(known)}"
    return f"no study {name!r} has been run in {runs.resolve()}; {hint}"


def status_of(folder: RunFolder) -> Status:
    """The status of one study."""
    name, preflight = folder.path.name, _preflight(folder)
    summary = read_summary(folder)
    if summary is not None:
        return _summarized(folder, summary, preflight, is_kept=True)
    if not folder.database.exists() and not folder.elsewhere.exists():
        return Status(name, preflight=preflight)
    from hpo.page.stored_summary import UnreadableStorage, stored_summary  # takes seconds: it needs Optuna

    try:
        summary = stored_summary(folder)
    except UnreadableStorage as error:
        return Status(name, preflight=preflight, promotion=str(error), unreadable=True)
    if summary is None:
        return Status(name, preflight=preflight)
    return _summarized(folder, summary, preflight, is_kept=False)


def _summarized(folder: RunFolder, summary: Summary, preflight: str, *, is_kept: bool) -> Status:
    """The status by a summary, which is the coordinator's own, or was made from the storage just now."""
    sight = sight_of_lock(folder, summary.host, summary.lock)
    sweep = [_seen(row, sight) for row in with_folders(summary.of_kind("sweep"), folder, "sweep")]
    promotion = [_seen(row, sight) for row in with_folders(summary.of_kind("promotion"), folder, "promotion")]
    states = Counter(row.state for row in sweep)
    begun = Counter(row.state for row in (*sweep, *promotion))
    best = best_of(sweep, Direction(summary.direction))
    race = _promotion(folder, promotion, Direction(summary.direction))
    left = _seconds_left(summary, sweep, sight)
    return Status(
        study=folder.path.name,
        done=summary.ended_of_sweep(sweep),
        trials=len(sweep) if summary.trials is None else summary.trials,
        ended=summary.ended,
        running=begun["running"],
        interrupted=begun["interrupted"],
        unknown=begun["unknown"],
        paused=states["paused"],
        complete=states["complete"],
        pruned=states["pruned"],
        failed=states["failed"],
        best=best.value if best else None,
        best_trial=best.number if best else None,
        front=tuple(row.number for row in front_of(sweep, Direction(summary.direction), summary.goals)),
        seconds_left=left,
        time_left=left_in_words(summary, left),
        preflight=preflight,
        promotion=race.text,
        promotion_state=race.state,
        sentence=race.sentence,
        coordinator=f"{summary.host}:{summary.pid}" if summary.host else "",
        written=summary.written if is_kept else None,
        note=summary.note if sight == "held" else "",
        goal=summary.goal,
        direction=summary.direction,
        rows=(*sweep, *promotion),
    )


def _seen(row: Row, sight: Sight) -> Row:
    """The row as it is seen from here: whoever was training it may be gone."""
    return replace(row, state=BEGUN[sight]) if row.state == "running" else row


def _seconds_left(summary: Summary, sweep: Sequence[Row], sight: Sight) -> float | None:
    """As the coordinator at work has said, less what has passed since; or as if what stands still went on now."""
    if sight == "held" and summary.seconds_left is not None:
        return max(0.0, summary.seconds_left - (time.time() - summary.written))
    if summary.seconds_left is not None or summary.stage != "sweep" or summary.trials is None:
        return summary.seconds_left
    if summary.ladder is not None:
        return ladder_seconds_left(sweep, summary.trials * summary.ladder, workers=summary.workers, is_over=False)
    epochs = max((row.epoch for row in sweep), default=0)
    return seconds_left(sweep, (max(summary.trials, len(sweep)),), workers=summary.workers, epochs=epochs)


def _preflight(folder: RunFolder) -> str:
    """What the preflight said, or that there was none."""
    if not folder.preflight.exists():
        return "not run"
    return str(json.loads(folder.preflight.read_text())["status"])


def _promotion(folder: RunFolder, runs: Sequence[Row], direction: Direction) -> PromotionGlance:
    try:
        return glance(folder, runs, direction)
    except ValueError:  # an older version has written it, or it is damaged, of which the reader below says more
        from hpo.page.stored_summary import stored_glance

        return stored_glance(folder)
