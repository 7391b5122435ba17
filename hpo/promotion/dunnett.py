"""The critical value for several comparisons with one control: Dunnett's, two-sided.

Each of k configurations is compared with the default, and the best of them may be chosen from the data. Intervals of
`dunnett(k, ...)` standard errors then cover all k true differences at once with the given confidence, and so the one
that was chosen too. The control and the k have equally many runs, so that any two differences have correlation 1/2.

Source: Dunnett 1955 and 1964. With Z_0 .. Z_k standard normal and s^2 = chi^2_nu / nu, the k statistics are
(Z_i - Z_0) / (s sqrt 2), and given z_0 and s they are independent of each other.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import scipy  # which imports its parts at their first use

ACCURACY = 1e-5  # of the critical value


@lru_cache(maxsize=4096)
def dunnett(comparisons: int, freedom: float, confidence: float) -> float:
    """Return c, so that all |t_i| of `comparisons` with one control are at most c with probability `confidence`.

    `freedom`: degrees of freedom of the noise; math.inf where it is known. With one comparison c is Student's quantile.
    """
    if comparisons < 1:
        raise ValueError(f"Dunnett's critical value needs at least 1 comparison; got {comparisons}")
    low = _student(freedom, 1 - confidence)
    if comparisons == 1:
        return low
    high = _student(freedom, (1 - confidence) / comparisons)  # Bonferroni's value is never too small
    scales_N, weights_N = _scales(freedom)
    while high - low > ACCURACY * high:
        middle = (low + high) / 2
        if weights_N @ _coverage(middle * scales_N, comparisons) < confidence:
            low = middle
        else:
            high = middle
    return high


def _student(freedom: float, tail: float) -> float:
    """Student's two-sided quantile: |t| is beyond it with probability `tail`."""
    if math.isinf(freedom):
        return float(-scipy.special.ndtri(tail / 2))
    return float(-scipy.special.stdtrit(freedom, tail / 2))


_LEGENDRE_N, _LEGENDRE_WEIGHTS_N = np.polynomial.legendre.leggauss(96)
_HERMITE_M, _HERMITE_WEIGHTS_M = (
    nodes[24:] for nodes in np.polynomial.hermite_e.hermegauss(48)
)  # z and -z weigh alike


def _scales(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Values of s and their weights: Gauss-Legendre over the quantiles of chi^2_nu / nu."""
    if math.isinf(freedom):
        return np.ones(1), np.ones(1)
    quantiles_N = (_LEGENDRE_N + 1) / 2
    return np.sqrt(2 / freedom * scipy.special.gammaincinv(freedom / 2, quantiles_N)), _LEGENDRE_WEIGHTS_N / 2


def _coverage(limits_N: np.ndarray, comparisons: int) -> np.ndarray:
    """The probability that all |Z_i - Z_0| <= sqrt(2) limit: [N], an integral over Z_0."""
    reach_N1 = math.sqrt(2) * limits_N[:, None]
    each_NM = scipy.special.ndtr(_HERMITE_M + reach_N1) - scipy.special.ndtr(_HERMITE_M - reach_N1)
    coverage_N: np.ndarray = each_NM**comparisons @ _HERMITE_WEIGHTS_M / _HERMITE_WEIGHTS_M.sum()
    return coverage_N
