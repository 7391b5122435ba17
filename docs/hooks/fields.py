"""A table of a class's fields, made from its source: {{ fields: hpo.recipe.Recipe }} on a page."""

import ast
import html
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^\{\{ fields: ([\w.]+)\.(\w+) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the table in place of each mark; mkdocs calls this for every page."""
    return MARK.sub(lambda mark: table(mark[1], mark[2]), markdown)


def table(module: str, name: str) -> str:
    """Name, type, default and comment of each field that the class declares."""
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    lines = source.splitlines()
    owner = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == name)
    fields = [node for node in owner.body if isinstance(node, ast.AnnAssign) and is_public(node.target)]
    rows = [row(node, lines[(node.end_lineno or node.lineno) - 1]) for node in fields]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])


def is_public(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and not target.id.startswith("_")


def row(node: ast.AnnAssign, line: str) -> str:
    """One field: its comment is what stands behind it on its line."""
    kind = re.sub(r"^ClassVar\[(.*)\]$", r"\1", ast.unparse(node.annotation))
    default = "required" if node.value is None else code(shown_default(node.value))
    _, _, comment = line.partition("  # ")
    return f"| {code(ast.unparse(node.target))} | {code(kind)} | {default} | {html.escape(comment)} |"


def code(text: str) -> str:
    """As HTML: a bar would end the cell of a table, also inside backquotes."""
    return f"<code>{html.escape(text).replace('|', '&#124;')}</code>"


def shown_default(value: ast.expr) -> str:
    """The default as a reader writes it: field(default_factory=Median) is Median()."""
    text = ast.unparse(value)
    made = re.fullmatch(r"field\(default_factory=(\w+)\)", text)
    if made is None:
        return text
    return {"dict": "{}"}.get(made[1], f"{made[1]}()")
