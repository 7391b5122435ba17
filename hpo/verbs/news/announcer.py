"""Tells how a command goes on: a line a trial where no terminal shows it, the file of --log, and --notify."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpo import events
from hpo.promotion.results import Verdict
from hpo.storage.summary import Summary
from hpo.trial.lifecycle import Standing
from hpo.verbs.display import Display, standing_sentence
from hpo.verbs.news import document
from hpo.verbs.news.ended import Ended, EndedTrials, ended_line
from hpo.verbs.news.log import LogFile
from hpo.verbs.news.notify import END_S, STOPPED_S, TRIAL_ENDED, Notifier
from hpo.verbs.opening import Opened


class Announcer:
    """Tells the display, the file of --log and the command of --notify what happens. Raises Refused where these two
    cannot be used. Later, neither of them ever stops the work."""

    def __init__(self, opened: Opened, display: Display) -> None:
        options = opened.options
        self._folder, self._goal, self._display = opened.folder, opened.study.task.goal, display
        self._notifier = None if options.notify is None else Notifier(options.notify)
        self._log = None if options.log is None else LogFile(Path(options.log))
        self._trials = EndedTrials()
        events.keep(opened.folder.events.absolute())

    def update(self, now: Summary) -> None:
        """Tell of the trials that have ended since the summary before."""
        for ended in self._trials.update(now):
            self._trial_ended(ended)
        if self._notifier is not None:
            self._warn(self._notifier.trouble())

    def sweep_ended(self, standing: Standing) -> None:
        text = standing_sentence(standing, self._goal)
        self._write(text)
        self._notify(lambda: document.of_sweep(standing, text, self._folder))

    def promotion_ended(self, verdict: Verdict) -> None:
        self._write(verdict.sentence)
        self._notify(lambda: document.of_promotion(verdict, self._folder))

    def failed(self, error: BaseException) -> None:
        """The command ends early."""
        self._write(document.sentence(error))
        self._notify(lambda: document.of_error(error, self._folder))

    def close(self, seconds: float) -> None:
        """Deliver what waits, within so many seconds."""
        if self._notifier is not None:
            self._warn(self._notifier.close(seconds))
        if self._log is not None:
            self._log.close()

    def _trial_ended(self, ended: Ended) -> None:
        line = ended_line(ended)
        self._display.trial_ended(line)
        self._write(line)
        self._notify(lambda: document.of_trial(TRIAL_ENDED, ended, self._folder))
        if ended.improves:
            self._notify(lambda: document.of_trial("best_improved", ended, self._folder))

    def _write(self, line: str) -> None:
        if self._log is not None:
            self._log.write(f"{self._folder.path.name}: {line}")

    def _notify(self, make: Callable[[], dict[str, Any]]) -> None:
        if self._notifier is not None:
            self._notifier.put(make())

    def _warn(self, text: str) -> None:
        with contextlib.suppress(Warning):  # which may be an error: no reason to stop the work
            if text:
                self._display.warn(text)


@contextmanager
def announced(opened: Opened, display: Display) -> Iterator[Announcer]:
    """What happens until this ends is announced, an error that ends it, too."""
    announcer = Announcer(opened, display)
    seconds = END_S
    try:
        yield announcer
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            seconds = STOPPED_S
        announcer.failed(error)
        raise
    finally:
        announcer.close(seconds)
