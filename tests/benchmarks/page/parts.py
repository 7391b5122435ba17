"""The parts of the page, in its order."""

from __future__ import annotations

import importlib

from tests.benchmarks.measured import Measured

TITLES = {
    "overhead": "What the harness costs",
    "workers": "What more workers are worth",
    "startup": "How long one waits",
    "store": "What a trial costs beside its training, in long studies",
    "memory": "Memory over a long sweep",
    "replay": "How fast the search finds good configurations",
    "winner": "Time to a winner that can be trusted",
    "peers": "Other libraries",
}


def measure(name: str) -> Measured:
    """Measure one part, whose module has its name."""
    module = importlib.import_module(f"tests.benchmarks.{name}")
    result: Measured = module.measure()
    return result
