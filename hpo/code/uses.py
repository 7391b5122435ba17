"""What a piece of code refers to: names, attributes, texts and imports."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

DYNAMIC = {"eval", "exec", "globals", "locals", "vars", "sys.modules"}  # whoever uses them may reach anything


class Uses(ast.NodeVisitor):
    """What a piece of code refers to."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.mentions: set[str] = set()
        self.imports: list[ast.Import | ast.ImportFrom] = []
        self.modules: list[str] = []  # that are imported by a call
        self.literal_names: set[str] = set()  # variables whose values stand in the code
        self.is_dynamic = self.asks_any = False

    def visit_all(self, nodes: ast.AST | Sequence[Any]) -> None:
        """Visit a node, or the nodes of a list of lists."""
        if isinstance(nodes, ast.AST):
            self.literal_names |= _looped_over_literals(nodes)
            self.visit(nodes)
        else:
            for part in nodes:
                self.visit_all(part)

    def visit_Name(self, node: ast.Name) -> None:
        self._add(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.mentions.add(node.attr)
        name = dotted(node)
        if name:
            self._add(name)
            self.mentions.update(name.split(".")[1:])
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.mentions.add(node.value)

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.append(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imports.append(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = dotted(node.func).rpartition(".")[2]
        first = node.args[0] if node.args else None
        if name in ("import_module", "__import__") and isinstance(first, ast.Constant):
            self.modules.append(str(first.value))
        if name == "getattr" and len(node.args) > 1 and not self._stands_in_the_code(node.args[1]):
            self.asks_any |= dotted(first).partition(".")[0] in ("", "self", "cls", "task")
        self.generic_visit(node)

    def _stands_in_the_code(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) or (isinstance(node, ast.Name) and node.id in self.literal_names)

    def _add(self, name: str) -> None:
        self.names.add(name)
        self.is_dynamic |= name in DYNAMIC


def _looped_over_literals(tree: ast.AST) -> set[str]:
    """The variables of loops over constants that stand there."""
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For | ast.comprehension)]
    return {
        part.id
        for loop in loops
        if _is_literal(loop.iter)
        for part in ast.walk(loop.target)
        if isinstance(part, ast.Name)
    }


def _is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List):
        return all(_is_literal(item) for item in node.elts)
    return isinstance(node, ast.Constant)


def dotted(node: ast.AST | None) -> str:
    """The text "a.b.c" of that expression; "" of any other one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""
