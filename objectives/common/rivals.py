"""The classical methods that a network is shown and judged beside."""

from __future__ import annotations

from collections.abc import Mapping

from hpo import REFERENCE

NETWORK = "network"  # its name among the methods

Scores = Mapping[str, Mapping[str, float]]  # method -> score -> value


def best_rival(scores: Scores, by: str) -> str:
    """The name of the classical method with the highest score `by`.

    References do not count: they are told what the network has to find.
    """
    rivals = [name for name in scores if name != NETWORK and not name.endswith(REFERENCE)]
    return max(rivals, key=lambda name: scores[name][by])
