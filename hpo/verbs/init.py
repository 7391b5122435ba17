"""A task, a study and a test to start from, as files of the user's own. The texts lie in hpo/verbs/starter."""

from __future__ import annotations

import ast
import keyword
import os
import re
import sys
from dataclasses import dataclass
from importlib import resources
from importlib.machinery import PathFinder
from pathlib import Path

from hpo.errors import Refused

TEMPLATES = "hpo.verbs.starter"
NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")


@dataclass(frozen=True)
class Starter:
    """The files that were written."""

    study: Path  # assigns the task and the study
    test: Path


def init_study(name: str, folder: Path) -> Starter:
    """Write NAME.py, a task and a study that work as they are, and test_NAME.py into a folder.

    Raises Refused, and writes nothing, where the name cannot be a module's beside those that there are, or where one of
    the files exists.
    """
    starter = Starter(folder / f"{name}.py", folder / f"test_{name}.py")
    if not NAME.fullmatch(name) or keyword.iskeyword(name):
        raise Refused(
            f"the name of a study file must be lower-case letters, digits and _, at most 50, and start with a letter "
            f"(it names a Python module); got {name!r}"
        )
    for path in (starter.study, starter.test):
        if os.path.lexists(path):
            raise Refused(f"{path} exists, and is not overwritten; choose another name")
    _require_free_module(name, folder)
    _require_free_class(name)
    write_new(starter.study, _study_text(name))
    write_new(starter.test, _test_text(name))
    return starter


def _require_free_module(name: str, folder: Path) -> None:
    """Refuse a name that another module has: only one of the two could be imported."""
    spec = PathFinder.find_spec(name, [str(folder), *sys.path])
    if name in sys.stdlib_module_names:
        raise Refused(f"Python has a module called {name!r}, which {name}.py would hide; choose another name")
    if spec is not None and spec.origin is not None:
        raise Refused(f"there is a module called {name!r} ({spec.origin}); choose another name")


def _require_free_class(name: str) -> None:
    """Refuse a name whose class would be called like something that the file uses, as `task` would."""
    tree = ast.parse(_template("starter.py"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)} - {"Starter"}
    if _class_name(name) in imported | defined:
        raise Refused(
            f"{name}.py would define a class {_class_name(name)}, and needs that name for another; choose another one"
        )


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _study_text(name: str) -> str:
    return _template("starter.py").replace("Starter", _class_name(name)).replace("starter", name)


def _test_text(name: str) -> str:
    own_import = f"\nfrom {name} import study"  # after a blank line: it is the user's own module
    text = _template("test_starter.py").replace(f"from {TEMPLATES}.starter import study", own_import)
    return text.replace("starter", name)


def _template(file: str) -> str:
    return resources.files(TEMPLATES).joinpath(file).read_text(encoding="utf-8")


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all."""
    with open(path, "x", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
        except OSError:
            path.unlink()
            raise
