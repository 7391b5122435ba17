"""The files of a module and of everything that it imports, outside installed packages and hpo itself."""

from __future__ import annotations

import ast
import functools
import importlib.util
import inspect
import linecache
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpo.code.fingerprint import code_digest
from hpo.errors import Refused

HARNESS = "hpo"
INSTALLED = ("site-packages", "dist-packages")


def code_of(value: type | Callable[..., Any]) -> dict[str, str]:
    """A digest of each module that a class or a function depends on, by the module's name.

    Of a class or function that has no file, as in a notebook, the digest is that of its own source. Raises ValueError
    where it has no source either.
    """
    modules = {name: file_digest(path) for name, path in import_closure(value.__module__).items()}
    if modules:
        return modules
    try:
        return {f"{value.__module__}.{value.__qualname__}": code_digest(inspect.cleandoc(_source(value)))}
    except (OSError, TypeError, SyntaxError) as error:
        raise Refused(
            f"{value.__qualname__} has no source that can be read, so a change of it would not be noticed; "
            f"define it in a file"
        ) from error


def _source(value: type | Callable[..., Any]) -> str:
    """The source of a class or a function. Of a class in a notebook `inspect` finds nothing, but the cells of its
    methods are known."""
    if not isinstance(value, type) or hasattr(sys.modules.get(value.__module__), "__file__"):
        return inspect.getsource(value)
    for method in filter(inspect.isfunction, vars(value).values()):
        cell = "".join(linecache.getlines(method.__code__.co_filename))
        for node in ast.walk(ast.parse(cell)):
            if isinstance(node, ast.ClassDef) and node.name == value.__name__:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return "\n".join(cell.splitlines()[first - 1 : node.end_lineno])
    raise OSError("source code not available")


def import_closure(module: str) -> dict[str, Path]:
    """The file of each module that running `module` runs, by name: followed through its import statements."""
    closure: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if name in closure else _own_file(name)
        if path is None:
            continue
        closure[name] = path
        waiting += _imported(path, name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])  # a package's own file runs before its modules
    return closure


def _own_file(module: str) -> Path | None:
    """The source file of a module that belongs to the user; None for what is installed, built in, or no module."""
    top = module.partition(".")[0]
    if top == HARNESS or top in sys.stdlib_module_names:
        return None
    file = getattr(sys.modules.get(module), "__file__", None) or _found_file(module)
    if not file or not file.endswith(".py"):
        return None
    path = Path(file).resolve()
    is_installed = any(part in INSTALLED for part in path.parts) or path.is_relative_to(sysconfig.get_path("stdlib"))
    return None if is_installed else path


def _found_file(module: str) -> str | None:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None  # `from a import b` where b is a function; `__main__` of a notebook
    return spec.origin if spec else None


def _imported(path: Path, module: str) -> Iterator[str]:
    """Names that may be modules, from the import statements of a file."""
    is_package = path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, module, is_package)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """The module that names are imported from, dots resolved."""
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    parents = parts[: len(parts) - node.level + is_package]
    return ".".join([*parents, *([node.module] if node.module else [])])


def file_digest(path: Path) -> str:
    """The digest of a file's code, computed once for as long as the file does not change."""
    status = path.stat()
    return _digest_once(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _digest_once(path: Path, changed_ns: int, size: int) -> str:  # noqa: ARG001  # they say which content it was
    return code_digest(path.read_bytes())
