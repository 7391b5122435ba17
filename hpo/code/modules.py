"""Where the user's modules are."""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

HARNESS = "hpo"
INSTALLED = ("site-packages", "dist-packages")


def own_file(module: str) -> Path | None:
    """The source file of a module that belongs to the user; None for what is installed, built in, or no module.

    Imports nothing.
    """
    top = module.partition(".")[0]
    if top == HARNESS or (top != module and _is_foreign(_file(top))):
        return None
    file = _file(module)
    if file is None or file.suffix != ".py" or _is_foreign(file):
        return None
    return file


def beside(file: Path, name: str) -> Path | None:
    """The source file that is called `name` from the folder of another one; None where there is none."""
    try:
        path = (file.parent / name).resolve()
        return path if path.is_file() and path != file and not _is_foreign(path) else None
    except (OSError, ValueError):
        return None


def _is_foreign(file: Path | None) -> bool:
    """Whether a file came with an installed package or with Python."""
    if file is None:
        return False
    return any(part in INSTALLED for part in file.parts) or file.is_relative_to(sysconfig.get_path("stdlib"))


def _file(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None and not _is_loaded_without_file(module):
        file = _found_file(module)
    return Path(file).resolve() if file else None


def _is_loaded_without_file(module: str) -> bool:
    """Built in, or a package that is only a folder."""
    return module in sys.modules


def _found_file(module: str) -> str | None:
    parent = module.rpartition(".")[0]
    try:
        spec = importlib.util.find_spec(module) if not parent else PathFinder.find_spec(module, _folders(parent))
    except (ImportError, ValueError, AttributeError):
        return None  # `from a import b` where b is a function; `__main__` of a notebook
    return spec.origin if spec and spec.has_location else None


def _folders(package: str) -> Sequence[str]:
    """Where the modules of a package are; nowhere if it is no package."""
    loaded = sys.modules.get(package)
    if loaded is not None:
        return list(getattr(loaded, "__path__", []))
    parent = package.rpartition(".")[0]
    spec = PathFinder.find_spec(package, _folders(parent)) if parent else importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or []) if spec else []
