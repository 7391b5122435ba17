"""F tests of many effects at once, against the smallest p that all of them have by chance.

Sources: Freedman and Lane 1983 (residuals are permuted), Westfall and Young 1993 (the smallest p of all).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # which imports its parts at their first use

from hpo.separation.effects import Effect

PERMUTATIONS = 499
LEAST_FREEDOM = 3  # residual degrees of freedom of a test
COLLINEAR = 1e-6  # what is left of a column of length 1 and is so small says nothing new


@dataclass(frozen=True)
class Variances:
    """Residual variances of a response: without an effect, with it, and with one that just passes the line."""

    without: float
    with_it: float
    with_line: float


@dataclass(frozen=True)
class Tested:
    """What the test of an effect gave, in the response in which it is clearer."""

    effect: Effect
    p: float
    line: float  # what the smallest p of all effects is by chance, at most, with probability alpha
    response: int
    variances: Variances

    @property
    def separates(self) -> bool:
        """Whether it is told from chance."""
        return self.p < self.line


@dataclass(frozen=True)
class _Ratios:
    """F ratios of an effect, [responses, 1 + PERMUTATIONS]: of the trials as they are, and of each permutation."""

    effect: Effect
    f: np.ndarray
    freedom: tuple[int, int]
    without: np.ndarray  # [responses] residual variances


def basis(columns: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """[trials, rank] an orthonormal basis of what the columns say beside the orthonormal `beside`."""
    lengths = np.linalg.norm(columns, axis=0)
    scaled = columns[:, lengths > 0] / lengths[lengths > 0]
    vectors, sizes, _ = np.linalg.svd(scaled - beside @ (beside.T @ scaled), full_matrices=False)
    return vectors[:, sizes > COLLINEAR]


def residual_variances(responses: np.ndarray, model: np.ndarray) -> np.ndarray:
    """[responses] beside a model, by the degrees of freedom that it leaves."""
    return np.asarray(_squares(responses - model @ (model.T @ responses)) / max(1, len(responses) - model.shape[1]))


def f_tests(
    effects: Sequence[Effect], responses: np.ndarray, model: np.ndarray, alpha: float, rng: np.random.Generator
) -> list[Tested]:
    """The effects that can be tested beside a model, the smallest p first.

    `responses` are [trials, responses], and `model` is an orthonormal basis [trials, rank].
    """
    drawn = _permuted(responses - model @ (model.T @ responses), rng)
    flat = drawn.reshape(len(responses), -1)
    flat -= model @ (model.T @ flat)
    ratios = [ratio for effect in effects if (ratio := _ratios(effect, flat, model, responses.shape[1]))]
    if not ratios:
        return []
    line = float(np.quantile(_smallest_p(ratios)[1:], alpha))
    return sorted((_judged(ratio, line) for ratio in ratios), key=lambda test: test.p)


def _permuted(residuals: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """[trials, responses, 1 + PERMUTATIONS] the residuals, and then the same in random orders of the trials."""
    trials = len(residuals)
    orders = [np.arange(trials), *(rng.permutation(trials) for _ in range(PERMUTATIONS))]
    return residuals[np.stack(orders, axis=1)].transpose(0, 2, 1)


def _ratios(effect: Effect, drawn: np.ndarray, model: np.ndarray, responses: int) -> _Ratios | None:
    """None where the effect cannot be told from what it is tested beside, or too few trials are left."""
    own = basis(effect.beside, model)
    columns = basis(effect.columns, np.hstack([model, own]))
    rank, freedom = columns.shape[1], len(drawn) - model.shape[1] - own.shape[1] - columns.shape[1]
    if rank == 0 or freedom < LEAST_FREEDOM:
        return None
    without = _squares(drawn) - _squares(own.T @ drawn)
    explained = _squares(columns.T @ drawn)
    tiny = 1e-12 * without.max()
    f = (explained / rank) / (np.maximum(without - explained, tiny) / freedom)
    shape = (responses, -1)
    return _Ratios(effect, f.reshape(shape), (rank, freedom), without.reshape(shape)[:, 0] / (rank + freedom))


def _squares(columns: np.ndarray) -> np.ndarray:
    """The sum of squares of each column."""
    return np.asarray(np.square(columns).sum(axis=0))


def _smallest_p(ratios: Sequence[_Ratios]) -> np.ndarray:
    """[1 + PERMUTATIONS] over effects and responses. p falls as F grows: the largest F of equal freedom will do."""
    largest: dict[tuple[int, int], list[np.ndarray]] = defaultdict(list)
    for ratio in ratios:
        largest[ratio.freedom].append(ratio.f.max(axis=0))
    return np.asarray(
        np.min([scipy.special.fdtrc(*freedom, np.max(f, axis=0)) for freedom, f in largest.items()], axis=0)
    )


def _judged(ratio: _Ratios, line: float) -> Tested:
    response = int(np.argmax(ratio.f[:, 0]))
    p = float(scipy.special.fdtrc(*ratio.freedom, ratio.f[response, 0]))
    without = float(ratio.without[response])
    return Tested(
        ratio.effect,
        p,
        line,
        response,
        Variances(
            without,
            _variance_with(without, ratio.freedom, float(ratio.f[response, 0])),
            _variance_with(without, ratio.freedom, float(scipy.special.fdtri(*ratio.freedom, 1 - line))),
        ),
    )


def _variance_with(without: float, freedom: tuple[int, int], f: float) -> float:
    """The residual variance with an effect of this F ratio."""
    rank, rest = freedom
    return without * (rank + rest) / (rest + rank * f)
