"""Which hyperparameters the trials of a sweep can tell from chance.

Optuna's measures share out 100 % whatever the trials say. Here a hyperparameter is named only where what it explains
lies beyond what the best of all of them explains by chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpo.direction import Direction
from hpo.separation.effects import Effect, pair, single
from hpo.separation.permutation import Tested, basis, f_tests, residual_variances
from hpo.separation.responses import Observation, responses
from hpo.space import Distribution

ALPHA = 0.05  # chance that useless hyperparameters are named ...
FOR_PAIRS = 1 / 5  # ... and the part of it that is spent on pairs
MOST_NAMED = 3
MOST_PAIRED = 20  # hyperparameters; pairs of more are not tried


@dataclass(frozen=True)
class Finding:
    """What a hyperparameter, or a pair of them, explains beside those that were named before it.

    `explained` and `needed` are shares of the variance, corrected for chance (adjusted R^2): with less than `needed` it
    cannot be told from chance. It is named where p is below the line.
    """

    names: tuple[str, ...]  # one, or the two of a pair
    p: float  # of the F test, the smaller of both responses
    line: float  # that the smallest p of all passes by chance in 4 of 100 studies; of all pairs, in 1 of 100
    explained: float
    needed: float


@dataclass(frozen=True)
class Separation:
    """What separates, in the order in which it was named.

    `rest` are the hyperparameters that do not, the smallest p first; what could not be tested is in neither.
    """

    trials: int  # that say something
    named: tuple[Finding, ...] = ()
    rest: tuple[Finding, ...] = ()
    scored_alike: bool = False  # all trials; then nothing was tested

    @property
    def is_flat(self) -> bool:
        """Whether the trials were asked, and tell no hyperparameter from chance."""
        return not self.named and (self.scored_alike or bool(self.rest))

    @property
    def names(self) -> frozenset[str]:
        """All hyperparameters that separate, alone or in a pair."""
        return frozenset(name for finding in self.named for name in finding.names)


def separation(
    observations: Sequence[Observation], space: Mapping[str, Distribution], direction: Direction, *, seed: int
) -> Separation:
    """Name at most three hyperparameters or pairs, one after the other.

    TPE draws all hyperparameters closer at once, so that a useless one goes along with one that matters. Hence each is
    tested beside those that are named already, and beside what changed when the random trials ended. Pairs are tried
    where no further hyperparameter separates alone. The same trials and seed give the same answer.
    """
    trials = len(observations)
    if trials < 2:
        return Separation(trials)
    scores = responses(observations, direction)
    if np.ptp(scores[:, 1]) == 0:
        return Separation(trials, scored_alike=True)
    singles = [single(name, entry, observations) for name, entry in space.items()]
    pairs = [pair(*two) for two in itertools.combinations(singles, 2)] if len(singles) <= MOST_PAIRED else []
    is_modelled = np.array([observation.is_modelled for observation in observations], dtype=float)
    start = basis(np.stack([np.ones(trials), is_modelled], axis=1), np.zeros((trials, 0)))
    rng = np.random.default_rng(seed)
    return _named(scores, start, singles, pairs, rng)


def _named(
    scores: np.ndarray, start: np.ndarray, singles: list[Effect], pairs: list[Effect], rng: np.random.Generator
) -> Separation:
    """Step by step, until nothing separates any more."""
    model, left, named = start, list(singles), list[Finding]()
    spread = residual_variances(scores, start)
    while True:
        rest = f_tests(left, scores, model, ALPHA * (1 - FOR_PAIRS), rng)
        best = rest[:1]
        if len(named) < MOST_NAMED and not (best and best[0].separates):
            best = f_tests(pairs, scores, model, ALPHA * FOR_PAIRS, rng)[:1]
        if len(named) == MOST_NAMED or not (best and best[0].separates):
            break
        effect = best[0].effect
        named.append(_finding(best[0], spread))
        model = np.hstack([model, basis(np.hstack([effect.beside, effect.columns, effect.bends]), model)])
        left = [each for each in left if each is not effect]
        pairs = [each for each in pairs if each is not effect]
    names = {name for finding in named for name in finding.names}
    others = [test for test in rest if test.effect.names[0] not in names]
    return Separation(len(scores), tuple(named), tuple(_finding(test, spread) for test in others))


def _finding(test: Tested, spread: np.ndarray) -> Finding:
    """Shares of the variance that there is beside the end of the random trials alone."""
    variances, whole = test.variances, float(spread[test.response])
    return Finding(
        test.effect.names,
        test.p,
        test.line,
        (variances.without - variances.with_it) / whole,
        (variances.without - variances.with_line) / whole,
    )
