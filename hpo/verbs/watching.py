"""What all stages do while they work: they say what is done next, show how far they are, and keep the ledger."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from hpo.ledger.keeping import entered
from hpo.storage.summary import Summary
from hpo.verbs.display import Display, Update, left_note, progress_note
from hpo.verbs.news.announcer import Announcer
from hpo.verbs.opening import Opened


def say_lines(display: Display, *lines: str) -> None:
    """Say each line that is not empty."""
    for line in lines:
        if line:
            display.say(line)


def watcher(
    total: int, update: Update, update_record: Callable[[], None], news: Announcer
) -> Callable[[Summary], None]:
    """A function to be called with each summary: it updates the bar, the record in the ledger and the announcements."""

    def watch(now: Summary) -> None:
        planned = (now.runs if now.stage == "promotion" else now.trials) or total  # a budget plans anew as it goes on
        update(min(now.done, planned), progress_note(now), left_note(now), planned)
        update_record()
        news.update(now)

    return watch


def in_ledger(opened: Opened, display: Display) -> AbstractContextManager[Callable[[], None]]:
    """Keep the study's record up to date, where there is a ledger beside the folder of runs (see `entered`)."""
    return entered(opened.folder, say=display.say, warn=display.warn)
