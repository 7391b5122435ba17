"""The summary of a study from its storage, where its coordinator has left none that can be used."""

from __future__ import annotations

import shlex
import time

import sqlalchemy
from optuna.exceptions import StorageInternalError

from hpo.direction import Direction
from hpo.errors import HpoError
from hpo.promotion.glance import NOT_RUN, PromotionGlance, outcome_of
from hpo.promotion.looks import verdict_record
from hpo.promotion.selection import is_judged, read_selection
from hpo.promotion.standing import standing_of
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder, promotion_name
from hpo.storage.held import inode_of_lock, last_holder
from hpo.storage.reading import all_trials
from hpo.storage.summary import Summary
from hpo.trial.lifecycle import direction_of, goals_of, standing
from hpo.trial.pausing import LADDER
from hpo.trial.rows import row_source, stored_rows


class UnreadableStorage(HpoError):
    """The storage of a study cannot be read."""


def stored_summary(folder: RunFolder) -> Summary | None:
    """The summary; None where the storage has no sweep yet. Raises UnreadableStorage."""
    name = folder.path.name
    try:
        stored = stored_study(folder, name)
        if stored is None:
            return None
        sweep, promotion = (stored_rows(folder, row_source(folder, kind)) for kind in ("sweep", "promotion"))
        direction, asked = direction_of(stored), stored.user_attrs.get("trials", len(sweep))
        full_length = stored.user_attrs.get(LADDER)
        now = standing(stored, asked, stored.user_attrs.get("stop_after"))
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        raise UnreadableStorage(f"storage unreadable: {shlex.join(['hpo', 'rebuild', name])}") from error
    holder = last_holder(folder)
    running = sum(row.state == "running" for row in (*sweep, *promotion))
    return Summary(
        study=name,
        goal="",
        goals=goals_of(stored),
        direction=direction.value,
        stage="promotion" if promotion else "sweep",
        trials=asked,
        runs=None,
        done=sum(row.has_ended for row in promotion) if promotion else now.done,
        ladder=full_length,
        workers=max(1, running),
        host=holder.host,
        pid=holder.pid,
        lock=0 if holder.is_alive else inode_of_lock(folder),  # who lives and does not hold this lock holds another
        ended=now.end,
        seconds_left=0.0 if now.is_over and not promotion else None,
        generation=folder.generation,
        written=time.time(),
        rows=(*sweep, *promotion),
    )


def stored_glance(folder: RunFolder) -> PromotionGlance:
    """How far the promotion has come, by the storage. Raises Damaged where one of its files is."""
    selection = read_selection(folder)
    if selection is None:
        return NOT_RUN
    if is_judged(selection, folder):
        record = verdict_record(folder) or {}
        return PromotionGlance("judged", outcome_of(record), str(record.get("sentence", "")))
    stored = stored_study(folder, promotion_name(folder.path.name))
    runs = all_trials(stored) if stored else []
    now = standing_of(selection.race(Direction.MINIMIZE if stored is None else direction_of(stored)), runs)
    return PromotionGlance("unfinished", f"{now.done}/{now.runs} runs")
