"""What is used of Optuna's samplers beside their public interface. Read in 5.0.0; tests/test_private.py says when it
goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.samplers._lazy_random_state import LazyRandomState


def numpy_random_state(value: object) -> np.random.RandomState | None:
    """The generator in the wrapper that samplers keep theirs in; None where the value is no such wrapper."""
    return value.rng if isinstance(value, LazyRandomState) else None


def is_seed(owner: object, attribute: str) -> bool:
    """Whether an attribute is a seed that is no generator: a quasi-random sequence draws one where it is given none."""
    return isinstance(owner, optuna.samplers.QMCSampler) and attribute == "_seed"


def fix_sequence(sampler: optuna.samplers.QMCSampler, *, seed: int, index: int) -> None:
    """Let a quasi-random sampler draw this point of its sequence. Optuna itself counts the draws in the storage, so a
    draw that is repeated after a kill would be the next point, and a rebuilt storage would begin again at the first."""
    own: Any = sampler
    own._seed = seed  # noqa: SLF001
    own._find_sample_id = lambda *_: index  # noqa: SLF001


def silence(sampler: object) -> None:
    """Let a sampler not say again in each trial's copy which parameters it draws at random."""
    own: Any = sampler
    own._warn_independent_sampling = False  # noqa: SLF001
