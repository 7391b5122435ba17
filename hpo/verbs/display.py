"""What is shown while a verb works: nothing, progress bars, or what a subclass makes of it. Needs no torch."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from hpo.formatting import duration, number, out_of
from hpo.output.kept import STDERR
from hpo.output.streams import leads_to, steady
from hpo.storage.time_left import left_in_words

if TYPE_CHECKING:
    from hpo.checking.made import Step
    from hpo.checking.preflight import Preflight
    from hpo.promotion.gate import Gate
    from hpo.promotion.results import Verdict
    from hpo.storage.summary import Summary
    from hpo.trial.adoption import Adoption
    from hpo.trial.failures import FailureGroup
    from hpo.trial.lifecycle import Standing
    from hpo.verbs.opening import Opened


class Update(Protocol):
    """Is called with how many are done, with a note, with the time left in words, where that is known, and with how
    many there are in all, where that changes."""

    def __call__(self, done: int, note: str, left: str = "", total: int | None = None) -> None: ...


class Display:
    """Is told how a verb goes on, and shows nothing: a subclass overrides what it shows."""

    def say(self, text: str) -> None:
        """What is done next, or what became of the study's record in the ledger."""

    def warn(self, text: str) -> None:
        """Trouble that does not end the verb: a Python warning."""
        warnings.warn(text, stacklevel=2)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Update]:  # noqa: ARG002
        """Yields a function that is called with how many of `total` are done."""
        yield _show_nothing

    @contextmanager
    def steps(self, title: str) -> Iterator[Callable[[Step], None]]:  # noqa: ARG002
        """Yields a function that is called with each step of a preflight, and with each check that it has made."""
        yield _show_nothing

    def trial_ended(self, line: str) -> None:
        """What is said of a trial of a sweep, or of a run of a promotion, that has ended."""

    def preflight_ended(self, opened: Opened, result: Preflight) -> None:
        pass

    def gate_ended(self, opened: Opened, gate: Gate) -> None:
        pass

    def sweep_ended(self, opened: Opened, standing: Standing) -> None:
        pass

    def trials_failed(self, groups: Sequence[FailureGroup]) -> None:
        """The failed trials of the sweep, by the kind of their error; none at all in most sweeps."""

    def promotion_ended(self, opened: Opened, verdict: Verdict) -> None:
        pass

    def report_written(self, path: Path) -> None:
        pass

    def adopted(self, path: Path, adoption: Adoption, counts: Mapping[str, int]) -> None:
        """`counts`: how many trials are in each state."""


class Bars(Display):
    """Progress bars on standard error; where that is no terminal, a line for each trial and each check that ends."""

    def trial_ended(self, line: str) -> None:
        with _terminal() as console:
            if not console.is_terminal:
                print(line, file=sys.stderr)

    @contextmanager
    def bar(self, title: str, total: int) -> Iterator[Update]:
        columns = (
            TextColumn(title, markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        with (
            _terminal() as console,
            Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task(title, total=total, note="", left="")

            def update(done: int, note: str, left: str = "", total: int | None = None) -> None:
                progress.update(task, completed=done, note=note, left=left, total=total)

            yield update

    @contextmanager
    def steps(self, title: str) -> Iterator[Callable[[Step], None]]:
        with _terminal() as console:
            if not console.is_terminal:
                yield lambda step: _print_check(title, step)
                return
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                TextColumn("{task.fields[made]}", markup=False),
            )
            with Progress(*columns, console=console, transient=True) as progress:
                task = progress.add_task(title, made="")

                def show(step: Step) -> None:
                    if step.check is not None:
                        progress.update(task, made=f"({check_line(step)})")
                    elif step.seconds == 0:
                        progress.reset(task, description=f"{title}: {step.name}")
                    else:  # it goes on
                        progress.update(task, description=f"{title}: {step.name}")

                yield show


def check_line(step: Step) -> str:
    """What is said of a check that was made: "data: go, 1.2 s"."""
    status = step.check.status if step.check else "at work"
    name = step.check.name if step.check else step.name
    return f"{name}: {status}, {duration(step.seconds)}"


def _print_check(title: str, step: Step) -> None:
    if step.check is not None:
        print(f"{title}: {check_line(step)}", file=sys.stderr)


@contextmanager
def _terminal() -> Iterator[Console]:
    """A console on standard error, or on a copy of it: the descriptor of an inline trial leads into its log."""
    if not leads_to(STDERR, sys.stderr):
        yield Console(stderr=True)
        return
    copy = os.dup(STDERR)
    try:
        yield Console(file=steady(copy, sys.stderr))
    finally:
        os.close(copy)


def _show_nothing(*_: object, **__: object) -> None:
    pass


def left_note(summary: Summary) -> str:
    """The time left, in words; empty where it is not known, or nothing is left."""
    words = left_in_words(summary, summary.seconds_left)
    return f"{words} left" if words else ""


def standing_note(standing: Standing, goal: str) -> str:
    """What is said of a sweep that has ended beside how many trials have."""
    return _note(standing.pruned, standing.failed, goal, standing.best, standing.best_number)


def standing_sentence(standing: Standing, goal: str) -> str:
    """What is said of a sweep that has ended."""
    more = f" ({standing.done} in all)" if standing.done > standing.trials else ""
    progress = f"{out_of(standing.done, standing.trials)} trials{more}"
    return f"{progress}: {standing.complete} complete, {standing_note(standing, goal)}"


def progress_note(summary: Summary) -> str:
    """What is said of a sweep, or a promotion, at work beside how many have ended."""
    if summary.stage == "promotion":
        return summary.note
    best = summary.best
    number_of_best = None if best is None else best.number
    value = None if best is None else best.value
    return _note(summary.count("pruned"), summary.count("failed"), summary.goal, value, number_of_best)


def _note(pruned: int, failed: int, goal: str, best: float | None, best_number: int | None) -> str:
    counts = f"{pruned} pruned, {failed} failed"
    return counts if best is None else f"{counts}, best {goal} {number(best)} (trial {best_number})"
