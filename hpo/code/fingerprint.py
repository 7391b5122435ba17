"""A digest of parsed code, the same on every supported Python.

Comments, docstrings, positions, quotes, line breaks, the order of neighbouring imports: none of them changes what code
does, and none of them changes the digest. `ast.dump` and `ast.unparse` would not do: what they print differs from one
Python to the next.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

SHORT = 12  # hex digits of a digest that is shown or kept
NO_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}  # fields that do not change what the code does


def code_digest(source: str | bytes) -> str:
    """64 hex digits of a sha256 over the meaning of a module's source. Raises SyntaxError where it has none.

    A file is given as bytes: Python itself reads its byte order mark and its declaration of an encoding.
    """
    return nodes_digest(ast.parse(source))


def nodes_digest(nodes: ast.AST | Sequence[Any]) -> str:
    """The digest of a node, or of lists of nodes."""
    tokens: list[bytes] = []
    _collect(nodes, tokens)
    return bytes_digest(b"".join(b"%d:%b" % (len(token), token) for token in tokens))


def bytes_digest(content: bytes) -> str:
    """The digest of what is not parsed."""
    return hashlib.sha256(content).hexdigest()


def _collect(value: Any, tokens: list[bytes]) -> None:
    """The tree from the outside in, each part with its type and the length of what it holds."""
    if isinstance(value, list):
        items = _meaningful(value)
        tokens.append(b"list %d" % len(items))
        for item in items:
            _collect(item, tokens)
    elif isinstance(value, ast.Constant):
        _collect_constant(value.value, tokens)
    elif isinstance(value, ast.AST):
        _collect_node(value, tokens)
    else:
        _collect_constant(value, tokens)


def _collect_node(node: ast.AST, tokens: list[bytes]) -> None:
    """A field that is empty counts as absent: newer Pythons have fields that older code cannot fill."""
    fields = {name: getattr(node, name, None) for name in node._fields if name not in NO_MEANING}
    if isinstance(node, ast.JoinedStr):
        fields["values"] = _joined(node)
    elif isinstance(node, ast.FormattedValue) and node.format_spec and not _joined(node.format_spec):
        fields["format_spec"] = None
    elif isinstance(node, ast.Delete):
        fields["targets"] = _deleted(node)
    filled = [name for name in sorted(fields) if fields[name] is not None and fields[name] != []]
    tokens.append(f"{type(node).__name__} {len(filled)}".encode())
    for name in filled:
        tokens.append(name.encode())
        _collect(fields[name], tokens)


def _collect_constant(value: Any, tokens: list[bytes]) -> None:
    tokens.append(f"constant {type(value).__name__}".encode())
    if isinstance(value, str):
        tokens.append(value.encode(errors="surrogatepass"))
    elif isinstance(value, bytes):
        tokens.append(value)
    else:
        tokens.append(repr(value).encode())


def _joined(node: ast.expr) -> list[ast.expr]:
    """The parts of an f-string: neighbouring texts as one, and no empty one. Pythons differ in how they split it."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    joined: list[ast.expr] = []
    for are_texts, group in groupby(parts, key=is_text):
        if not are_texts:
            joined += group
            continue
        text = "".join(str(part.value) for part in group if isinstance(part, ast.Constant))
        if text:
            joined.append(ast.Constant(text))
    return joined


def _deleted(node: ast.Delete) -> list[ast.expr]:
    """`del (a, b)` is `del a, b`: a formatter turns one into the other."""
    if len(node.targets) == 1 and isinstance(node.targets[0], ast.Tuple):
        return node.targets[0].elts
    return node.targets


def _meaningful(items: list[Any]) -> list[Any]:
    """A body without docstrings and other bare strings, and with neighbouring imports in one order."""
    kept = [item for item in items if not (isinstance(item, ast.Expr) and is_text(item.value))]
    ordered: list[Any] = []
    for is_import, group in groupby(kept, key=lambda item: isinstance(item, ast.Import | ast.ImportFrom)):
        neighbours = list(group)
        ordered += sorted(_imports(neighbours)) if is_import else neighbours
    return ordered


def _imports(nodes: list[ast.Import | ast.ImportFrom]) -> Iterator[str]:
    """Each imported name as a line of its own."""
    for node in nodes:
        start = f"from {'.' * node.level}{node.module or ''} " if isinstance(node, ast.ImportFrom) else ""
        yield from (f"{start}import {alias.name} as {alias.asname or alias.name}" for alias in node.names)


def is_text(node: ast.AST) -> bool:
    """Whether the node is a string: alone on a line it is a docstring, or nothing."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
