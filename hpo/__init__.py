"""Hyperparameter search you can trust: preflight, sweep, promote, report.

What is public stands in __init__.pyi. It loads on first use, so that `hpo --help` waits for neither torch nor Optuna.
"""

import warnings
from typing import Any

import lazy_loader

from hpo.collector import paused_collector

# Optuna brings tqdm, which asks a notebook for widgets as soon as it is imported. No bar of tqdm's is ever shown.
warnings.filterwarnings("ignore", message="IProgress not found")
__version__ = "0.1.0"
_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    with paused_collector():  # torch and Optuna come with it
        return _load(name)
