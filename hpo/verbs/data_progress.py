"""What is shown while a study's data is read: nothing, where there is none to read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from hpo.checking.made import Step
from hpo.formatting import count
from hpo.trial.contents import Watch
from hpo.verbs.display import Display

SHOW_AFTER_S = 0.5  # what is shorter than that is not shown
SAY_AFTER_S = 5.0  # a line, for whoever wonders


@contextmanager
def data_progress(study: str, display: Display) -> Iterator[Watch]:
    """Yields what is to be called with how much of the data has been read."""
    with ExitStack() as steps:
        yield _Progress(study, display, steps)


class _Progress:
    def __init__(self, study: str, display: Display, steps: ExitStack) -> None:
        self.title = f"checking the data of {study}"
        self.display, self.steps = display, steps
        self.show: Callable[[Step], None] | None = None
        self.started = time.monotonic()
        self.is_said = False

    def __call__(self, number: int, thing: str) -> None:
        seconds = time.monotonic() - self.started
        if seconds < SHOW_AFTER_S:
            return
        if self.show is None:
            self.show = self.steps.enter_context(self.display.steps(self.title))
        self.show(Step(count(number, thing), seconds=seconds))
        if not self.is_said and seconds > SAY_AFTER_S:
            self.display.say(f"{self.title}: it is read once, and not at a resume")
            self.is_said = True
