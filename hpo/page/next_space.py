"""The space of a next study, from what a sweep has shown: what is widened, narrowed, fixed or left, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from hpo import space as spaces
from hpo.page.findings import Sweep, Trial
from hpo.page.next_range import Edge, Ends, Numeric, Range
from hpo.space import Choice, Distribution, When
from hpo.study import StudySpec

BEST = 1 / 4  # of the completed trials are the best
FEWEST = 3  # trials that say something
WHOLE = 0.9  # of a range is not worth narrowing it to
ENOUGH = 40  # completed trials; after fewer nothing is fixed
SMALL = 0.1  # of the spread of the scores: what is not told from chance where that much would be does not matter ...
INERT = 0.2  # ... unless it has more than that of an even share, by one of Optuna's measures
SIDES: dict[Edge, str] = {"low": "lower", "high": "upper"}


Kind = Literal["widened", "narrowed", "idle", "left"]  # idle: it does nothing, and is fixed


@dataclass(frozen=True)
class Decision:
    """What becomes of one hyperparameter, and why."""

    name: str
    reason: str  # for people
    entry: Distribution | When | None  # what the next study searches; None: it is fixed
    value: Choice = None  # that it is fixed at
    kind: Kind = "left"


class NextSpace(NamedTuple):
    """A study with its next space, and the decisions that led there, in the order of the old space."""

    study: StudySpec
    decisions: tuple[Decision, ...]


def next_space(study: StudySpec, sweep: Sweep) -> NextSpace:
    """Decide on every hyperparameter in turn. What task, recipe or space refuse is not done.

    What the sweep does not tell from chance is neither narrowed nor fixed: where its best values lie is chance too. It
    is fixed only where the sweep would have shown even a small effect.

    The default stays in every range: the next study has the same one to beat.
    """
    inert = _inert(study, sweep)
    decisions = []
    for name in study.space:
        for decision in _proposals(study, name, sweep, is_inert=name in inert):
            try:
                study = _applied(study, decision)
            except ValueError:
                continue  # the last proposal leaves the hyperparameter as it is
            decisions.append(decision)
            break
    return NextSpace(study, tuple(decisions))


def _applied(study: StudySpec, decision: Decision) -> StudySpec:
    """The study after a decision. Raises ValueError where that is no study."""
    if decision.entry is study.space[decision.name]:
        return study
    if decision.entry is not None:
        return replace(study, space={**study.space, decision.name: decision.entry})
    owners = spaces.put({decision.name: decision.value}, study.owners)
    rest = {name: entry for name, entry in study.space.items() if name != decision.name}
    return replace(study, task=owners["task"], recipe=owners["recipe"], space=rest)


def _inert(study: StudySpec, sweep: Sweep) -> set[str]:
    """What does not matter beside what separates; nothing where nothing separates, or after few trials."""
    if not sweep.separation.named or len(sweep.ranked) < ENOUGH:
        return set()
    limit = INERT / len(study.space)
    return {
        finding.names[0]
        for finding in sweep.separation.rest
        if finding.needed < SMALL
        and all(measure.shares.get(finding.names[0], 1.0) < limit for measure in sweep.importances.measures)
    }


def _proposals(study: StudySpec, name: str, sweep: Sweep, *, is_inert: bool) -> Iterator[Decision]:
    """What could be done, the most wanted first and at the end nothing."""
    entry, ranked, separates = study.space[name], sweep.ranked, name in sweep.separation.names
    best = ranked[: max(FEWEST, math.ceil(BEST * len(ranked)))]
    values = [trial.params[name] for trial in best if name in trial.params]
    if is_inert:
        yield Decision(
            name, "fixed at the best trial's value: it does not matter", None, ranked[0].params[name], kind="idle"
        )
    if len(values) < FEWEST:
        yield Decision(name, f"left: only {len(values)} of the best {len(best)} trials have it", entry)
        return
    distribution = spaces.distribution_of(entry)
    if isinstance(distribution, CategoricalDistribution):
        if separates:
            yield from _choices(study, name, ranked, values)
    elif is_writable(distribution):
        yield from _ranges(study, name, distribution, values, separates=separates)
    if not separates:
        yield Decision(name, "left: the trials do not tell it from chance", entry)
    yield Decision(name, f"left: the best {len(values)} lie all over it", entry)


def is_writable(distribution: Distribution) -> bool:
    """Whether `log`, `uniform`, `integer` or `choose` could have made it, and not Optuna alone."""
    if isinstance(distribution, IntDistribution):
        return not distribution.log
    return not isinstance(distribution, FloatDistribution) or distribution.step is None


def _choices(study: StudySpec, name: str, ranked: Sequence[Trial], best: Sequence[Any]) -> Iterator[Decision]:
    """Without the choices that were tried and are not among the best; fixed where one choice remains."""
    tried = [trial.params[name] for trial in ranked if name in trial.params]
    conditions = [entry.value for entry in study.space.values() if isinstance(entry, When) and entry.parent == name]
    needed = [*best, *conditions, _default(study, name)]
    choices = spaces.extremes(spaces.distribution_of(study.space[name]))
    kept = [choice for choice in choices if choice in needed or tried.count(choice) < FEWEST]
    dropped = ", ".join(repr(choice) for choice in choices if choice not in kept)
    reason = f"without {dropped}: not among the best {len(best)}"
    if dropped and len(kept) == 1:
        yield Decision(name, f"fixed, {reason}", None, kept[0], kind="narrowed")
    elif dropped:
        yield Decision(name, reason, _like(study.space[name], spaces.choose(*kept)), kind="narrowed")


def _ranges(
    study: StudySpec, name: str, distribution: Numeric, best: Sequence[float], *, separates: bool
) -> Iterator[Decision]:
    """Widened where an edge is crowded, and narrowed elsewhere; or narrowed alone, where nothing wider is allowed.

    What does not separate is not narrowed.
    """
    old, entry, default = Range(distribution), study.space[name], _default(study, name)
    crowded = old.crowded(best)
    for widened in (crowded, ()):
        ends = old.around(best, widened)
        ends = Ends(min(ends.low, default), max(ends.high, default))
        if not separates:
            ends = Ends(min(ends.low, old.ends.low), max(ends.high, old.ends.high))
        reason = _reason(old, ends, crowded, len(best))
        is_wider = ends.low < old.ends.low or ends.high > old.ends.high
        if is_wider or old.is_narrower(ends, WHOLE):
            kind: Kind = "widened" if is_wider else "narrowed"
            yield Decision(name, reason, _like(entry, _with_ends(distribution, ends)), kind=kind)
        elif crowded:
            yield Decision(name, f"left: {reason}", entry)


def _reason(old: Range, ends: Ends, crowded: Sequence[Edge], best: int) -> str:
    """What was done at the edges that are crowded; else that the range was narrowed."""
    moved: dict[Edge, bool] = {"low": ends.low < old.ends.low, "high": ends.high > old.ends.high}
    words = [
        f"widened at its {SIDES[edge]} edge, where the best {best} crowd"
        if moved[edge]
        else f"the best {best} crowd at its {SIDES[edge]} edge, which is taken for a natural one"
        for edge in crowded
    ]
    if words and (ends.low > old.ends.low or ends.high < old.ends.high):
        words.append("narrowed elsewhere")
    return "; ".join(words) or f"narrowed to the best {best}, a margin and the default"


def _with_ends(distribution: Numeric, ends: Ends) -> Distribution:
    if isinstance(distribution, IntDistribution):
        return spaces.integer(int(ends.low), int(ends.high), step=distribution.step)
    return spaces.log(*ends) if distribution.log else spaces.uniform(*ends)


def _like(entry: Distribution | When, distribution: Distribution) -> Distribution | When:
    """The distribution under the condition that the entry has."""
    return replace(entry, distribution=distribution) if isinstance(entry, When) else distribution


def _default(study: StudySpec, name: str) -> Any:
    """The default, whether or not its condition holds."""
    owner, _, field = name.partition(".")
    return getattr(study.owners[owner], field)
