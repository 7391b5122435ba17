"""The results of the verbs, as tables and sentences for a terminal. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpo.cli.failures import show_failures
from hpo.cli.terminal import Cell, complain, say, table
from hpo.formatting import better, count, duration, interval, label, number
from hpo.verbs.display import Bars, standing_sentence

if TYPE_CHECKING:
    from hpo.checking.preflight import Preflight
    from hpo.promotion.gate import Gate, GatePair
    from hpo.promotion.intervals import Interval
    from hpo.promotion.outlook import Advice
    from hpo.promotion.results import Result, Verdict
    from hpo.promotion.test_split import Baseline
    from hpo.promotion.tuning import Tuning
    from hpo.task import Check
    from hpo.trial.adoption import Adoption
    from hpo.trial.failures import FailureGroup
    from hpo.trial.lifecycle import Standing
    from hpo.verbs.opening import Opened

SHOWN = 10  # trials that are named
NOT_PASSED = ("no-go", "caution")
COLOUR = {"go": "green", "caution": "yellow", "no-go": "red", "skip": "dim"}


class Terminal(Bars):
    """Shows a person all that a verb does."""

    def say(self, text: str) -> None:
        say(text)

    def warn(self, text: str) -> None:
        complain(text)

    def preflight_ended(self, opened: Opened, result: Preflight) -> None:
        show_checks(f"preflight of {opened.study.name}: {result.status}", result.checks)
        say(f"{result.status} after {duration(result.seconds)}; kept in {opened.folder.preflight}")

    def gate_ended(self, opened: Opened, gate: Gate) -> None:
        goal = label(opened.study.task.goal)
        columns = ("", f"cheap {goal}", f"full {goal}")
        table(f"gate of {opened.study.name}: {gate.decision}", columns, [_gate_row(pair) for pair in gate.pairs])
        if gate.decision == "refuse":
            complain(f"{gate.sentence}; {gate.remedy}")
        else:
            say(gate.sentence)
        say(f"kept in {opened.folder.gate}")

    def sweep_ended(self, opened: Opened, standing: Standing) -> None:
        say(standing_sentence(standing, opened.study.task.goal))
        if standing.is_stopped:
            say(f"the sweep has {standing.end} (stop_after={standing.stop_after})")

    def trials_failed(self, groups: Sequence[FailureGroup]) -> None:
        show_failures(groups)

    def promotion_ended(self, opened: Opened, verdict: Verdict) -> None:
        from hpo.promotion.outlook import export_of_leader, outlook, power

        table(
            f"{label(verdict.goal)}: {better(verdict.direction)}",
            ("", "cheap", "full, validation", "full, test", "ahead of default", *verdict.costs),
            [
                *(_candidate_row(result, verdict) for result in verdict.results),
                *(_baseline_row(baseline, verdict) for baseline in verdict.baselines),
            ],
        )
        for baseline in verdict.baselines:
            if baseline.tuned:
                say(f"{baseline.name}: {_tuned(baseline.tuned)}")
        not_passed = [check for check in verdict.checks if check.status in NOT_PASSED]
        if not_passed:
            show_checks("task checks not passed", not_passed)
        say(verdict.sentence)
        if power(verdict):
            say(f"{power(verdict)}.")
        for advice in (outlook(verdict), export_of_leader(verdict)):
            if advice:
                say(_advised(advice, opened))
        say(f"weights and card of {verdict.winner}, which is exported: {opened.folder.export}")

    def report_written(self, path: Path) -> None:
        say(f"report: {path}")

    def adopted(self, path: Path, adoption: Adoption, counts: Mapping[str, int]) -> None:
        states = ", ".join(f"{trials} {state}" for state, trials in counts.items())
        say(f"adopted {count(adoption.trials, 'trial')} of {adoption.study!r} into {path}: {states}")
        for theirs in (theirs for theirs, ours in adoption.names.items() if not ours):
            say(f"parameter {theirs!r} is set aside: kept with each trial, and not promoted")
        for trial, why in list(adoption.set_aside.items())[:SHOWN]:
            say(f"trial {trial} is set aside: {why}")
        if len(adoption.set_aside) > SHOWN:
            say(f"and {len(adoption.set_aside) - SHOWN} more; all of them in {path / 'adopted.json'}")


class WarningsOnly(Bars):
    """Leaves standard output to a JSON document."""

    def warn(self, text: str) -> None:
        complain(text)


def show_checks(title: str, checks: Sequence[Check]) -> None:
    """A table of checks. Where all have passed, it has no column of what to look at."""
    columns = ["check", "", "seen", "allowed"]
    rows = [_check_row(check) for check in checks]
    hints = [check.look_at if check.status in NOT_PASSED else "" for check in checks]
    if any(hints):
        columns.append("look at")
        rows = [(*row, hint) for row, hint in zip(rows, hints, strict=True)]
    table(title, columns, rows)


def _check_row(check: Check) -> tuple[Cell, ...]:
    from rich.text import Text

    return (check.name, Text(check.status, style=COLOUR[check.status]), check.seen, check.allowed)


def _gate_row(pair: GatePair) -> tuple[str, ...]:
    return (pair.name, number(pair.cheap), "failed" if pair.full is None else number(pair.full))


def _advised(advice: Advice, opened: Opened) -> str:
    """The advice, and the command that follows it. Its plan is that of this promotion: another one would be a look."""
    if not advice.options:
        return advice.text
    options = {"keep": opened.options.keep, "seeds": opened.options.seeds}
    plan = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    return " ".join([advice.text, opened.help_command("promote"), *plan, *advice.options])


def _candidate_row(result: Result, verdict: Verdict) -> tuple[str, ...]:
    return (
        verdict.title(result.candidate.name),
        number(result.candidate.cheap),
        number(result.full),
        interval(result.test) if result.test else "failed",
        interval(result.ahead_of_default, signed=True) if result.ahead_of_default else "",
        *(_cost(result.costs.get(name)) for name in verdict.costs),
    )


def _cost(cost: Interval | None) -> str:
    if cost is None:
        return ""
    return number(cost.mean) if cost.low == cost.high else interval(cost)


def _baseline_row(baseline: Baseline, verdict: Verdict) -> tuple[str, ...]:
    return (baseline.name, "", "", number(baseline.scores[verdict.goal]), "", *[""] * len(verdict.costs))


def _tuned(tunings: Sequence[Tuning]) -> str:
    """What the settings of a baseline are, or where they stand: in folds there is a choice for each."""
    first = tunings[0]
    return (
        str(first) if len(tunings) == 1 else f"{first.budget}, in each of {len(tunings)} folds; the report lists them"
    )
