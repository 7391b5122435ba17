"""Hyperparameter search you can trust: preflight, sweep, promote, report.

What is public stands in __init__.pyi. It loads on first use, so that `hpo --help` waits for neither torch nor Optuna.
"""

import warnings

import lazy_loader

# Optuna brings tqdm, which asks a notebook for widgets as soon as it is imported. No bar of tqdm's is ever shown.
warnings.filterwarnings("ignore", message="IProgress not found")
__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
