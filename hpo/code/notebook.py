"""The source of what is defined in no file."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Callable
from typing import Any


def source_of(value: type | Callable[..., Any]) -> str:
    """The source of a class or a function. Of a class in a notebook `inspect` finds nothing, but the cells of its
    methods are known. Raises OSError or TypeError where there is none."""
    if not isinstance(value, type) or hasattr(sys.modules.get(value.__module__), "__file__"):
        return inspect.getsource(value)
    for method in filter(inspect.isfunction, vars(value).values()):
        cell = "".join(linecache.getlines(method.__code__.co_filename))
        for node in ast.walk(ast.parse(cell)):
            if isinstance(node, ast.ClassDef) and node.name == value.__name__:
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                return "\n".join(cell.splitlines()[first - 1 : node.end_lineno])
    raise OSError("source code not available")
