"""A source file in units: each import, definition and statement at its top, with what it uses.

The methods of a class that is asked for are units of their own.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hpo.code.fingerprint import bytes_digest, is_text, nodes_digest
from hpo.code.uses import Uses, dotted

Kind = Literal["import", "definition", "statement", "study"]

# Calls of these have no effect beside their value, so an assignment of it matters only to those who use the name.
PURE_BUILTINS = {
    "dict",
    "float",
    "frozenset",
    "int",
    "len",
    "list",
    "max",
    "min",
    "range",
    "set",
    "str",
    "sum",
    "tuple",
}
PURE_MODULES = {"dataclasses", "hpo"}
HARMLESS_DECORATORS = {
    *("abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "final"),
    *("inference_mode", "lru_cache", "no_grad", "overload", "override", "property", "staticmethod", "total_ordering"),
}
LOADERS = {"SourceFileLoader", "exec", "run_path", "spec_from_file_location"}  # they run a file that a text names


@dataclass(frozen=True)
class Import:
    """An import of a module, or of a name from a module; the name "*" is all of them."""

    module: str
    name: str | None = None


@dataclass(frozen=True)
class Unit:
    """A part of a file that is looked at as a whole.

    A statement runs when the file is imported, and may have any effect. A definition matters to those who use it.
    """

    name: str  # for people: "function net"
    kind: Kind
    digest: str
    binds: frozenset[str] = frozenset()
    uses: frozenset[str] = frozenset()  # names, with the attributes asked of them: "net.Net"
    mentions: frozenset[str] = frozenset()  # attributes and texts, any of which may name a method
    imports: tuple[Import, ...] = ()
    files: frozenset[str] = frozenset()  # texts that may name another source file
    owner: str = ""  # the class that this is a method of
    method: str = ""
    is_dynamic: bool = False  # it may use any name of its module
    asks_any: bool = False  # it may ask an object for any attribute


@functools.lru_cache(maxsize=1024)
def units_of(path: Path, changed_ns: int, size: int, module: str, split: frozenset[str]) -> tuple[Unit, ...]:  # noqa: ARG001  # they say which content it was
    """The units of a file, in order. The classes in `split` are split into their methods.

    A file that cannot be parsed is one statement.
    """
    content = path.read_bytes()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return (Unit("the whole file", "statement", bytes_digest(content)),)
    reader = _Reader(
        module,
        split,
        is_package=path.name == "__init__.py",
        loads_files=any(name.encode() in content for name in LOADERS),
    )
    return tuple(unit for node in tree.body for unit in reader.read(node))


class _Reader:
    """Makes units of the statements of one file."""

    def __init__(self, module: str, split: Collection[str], *, is_package: bool, loads_files: bool) -> None:
        self.module, self.split, self.is_package, self.loads_files = module, split, is_package, loads_files
        self.pure = set(PURE_BUILTINS)  # names whose calls have no effect

    def read(self, node: ast.stmt) -> Iterator[Unit]:
        if isinstance(node, ast.Expr) and is_text(node.value):
            return
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from self._imports(node)
        elif isinstance(node, ast.ClassDef) and node.name in self.split:
            yield from self._methods(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            word = "class" if isinstance(node, ast.ClassDef) else "function"
            kind: Kind = "statement" if _registers(node) else "definition"
            yield self._unit(f"{word} {node.name}", kind, node, {node.name})
        else:
            yield self._statement(node)

    def _imports(self, node: ast.Import | ast.ImportFrom) -> Iterator[Unit]:
        for alias in node.names:
            target = self._target(node, alias)
            bound = alias.asname or alias.name
            if isinstance(node, ast.Import) and not alias.asname:
                bound = alias.name.partition(".")[0]
            if target.module.partition(".")[0] in PURE_MODULES:
                self.pure.add(bound)
            yield Unit(
                name=f"import {bound}",
                kind="statement" if alias.name == "*" else "import",
                digest=bytes_digest(f"{target.module} {target.name} {alias.asname}".encode()),
                binds=frozenset({bound}),
                imports=(target,),
            )

    def _target(self, node: ast.Import | ast.ImportFrom, alias: ast.alias) -> Import:
        if isinstance(node, ast.Import):
            return Import(alias.name)
        return Import(self._base(node), alias.name)

    def _base(self, node: ast.ImportFrom) -> str:
        """The module that names are imported from, dots resolved."""
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        parents = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*parents, *([node.module] if node.module else [])])

    def _methods(self, node: ast.ClassDef) -> Iterator[Unit]:
        """The class without its methods, and then each of them."""
        methods = [part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)]
        rest = [part for part in node.body if part not in methods]
        head = [node.decorator_list, node.bases, node.keywords, rest]
        yield self._unit(f"class {node.name}", "definition", head, {node.name})
        for method in methods:
            name = f"method {node.name}.{method.name}"
            yield self._unit(name, "definition", method, owner=node.name, method=method.name)

    def _statement(self, node: ast.stmt) -> Unit:
        """An assignment without effects is the definition of its names."""
        names = _assigned(node)
        value = getattr(node, "value", None)
        if names is None or not (value is None or self._is_pure(value, allow_classes=names == {"study"})):
            return self._unit("statements outside functions", "statement", node, _bound(node))
        kind: Kind = "study" if names == {"study"} else "definition"
        return self._unit(f"constant {', '.join(sorted(names))}", kind, node, names)

    def _is_pure(self, value: ast.AST, *, allow_classes: bool) -> bool:
        """Whether to compute the value has no effect: it calls nothing but what is known to have none."""
        return all(
            self._is_pure_call(node, allow_classes)
            for node in ast.walk(value)
            if isinstance(node, ast.Call | ast.Await | ast.NamedExpr | ast.Yield | ast.YieldFrom)
        )

    def _is_pure_call(self, node: ast.AST, allow_classes: bool) -> bool:
        called = dotted(node.func) if isinstance(node, ast.Call) else ""
        first, last = called.partition(".")[0], called.rpartition(".")[2]
        return first in self.pure or (allow_classes and last[:1].isupper())

    def _unit(
        self, name: str, kind: Kind, nodes: ast.AST | Sequence[Any], binds: Collection[str] = (), **more: str
    ) -> Unit:
        uses = Uses()
        uses.visit_all(nodes)
        imports = [self._target(node, alias) for node in uses.imports for alias in node.names]
        return Unit(
            name=name,
            kind=kind,
            digest=nodes_digest(nodes),
            binds=frozenset(binds),
            uses=frozenset(uses.names),
            mentions=frozenset(uses.mentions),
            imports=(*imports, *map(Import, uses.modules)),
            files=frozenset(text for text in uses.mentions if self.loads_files and text.endswith(".py")),
            is_dynamic=uses.is_dynamic,
            asks_any=uses.asks_any,
            **more,
        )


def _assigned(node: ast.stmt) -> set[str] | None:
    """The names that a plain assignment binds; None for any other statement."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    else:
        return None
    names = [target.id for target in targets if isinstance(target, ast.Name)]
    return set(names) if len(names) == len(targets) else None


def _bound(node: ast.stmt) -> set[str]:
    """Every name that a statement may bind."""
    bound = {part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound.add(part.name)
        elif isinstance(part, ast.alias):
            bound.add(part.asname or part.name.partition(".")[0])
    return bound


def _registers(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    """Whether a definition may do more than define: what decorates it, or its metaclass, may keep it somewhere."""
    decorators = [part.func if isinstance(part, ast.Call) else part for part in node.decorator_list]
    if any(dotted(decorator).rpartition(".")[2] not in HARMLESS_DECORATORS for decorator in decorators):
        return True
    if not isinstance(node, ast.ClassDef):
        return False
    runs_calls = any(isinstance(part, ast.Expr) and not is_text(part.value) for part in node.body)
    return bool(node.keywords) or runs_calls
