"""Hyperparameter search you can trust: preflight, sweep, promote, report.

The public names load on first use, so that `hpo --help` waits for neither torch nor Optuna.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "task": ("Chart", "Check", "Evidence", "Fidelity", "Held", "Moment", "Overfit", "Picture", "Task"),
    "space": ("choose", "integer", "log", "uniform", "when"),
    "errors": ("Diverged",),
    "epoch": ("Epoch",),
    "recipe": ("Recipe",),
    "engine.training": ("Progress", "fit"),
    "study": ("Median", "StudySpec"),
    "cache": ("made_once",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'hpo' has no attribute {name!r}")
    return getattr(importlib.import_module(f"hpo.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
