"""A file that begins with TOML between two lines +++, and a person's text below: how it is read, written and changed.

A change of one field leaves every other byte as the person wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any, NamedTuple

Value = str | int | list[str] | Mapping[str, Any]  # of a field
MERGE = re.compile(r"(?m)^[<>]{7}( .*)?$")  # as git leaves it where both sides have changed
_FORM = re.compile(r"\ufeff?\+\+\+[ \t]*\r?\n(.*?)^\+\+\+[ \t]*(?:\r?\n|\Z)(.*)", re.DOTALL | re.MULTILINE)


class Parts(NamedTuple):
    """The parts of a file, byte for byte."""

    fields: str  # TOML
    prose: str


def split(text: str) -> Parts | None:
    """The parts of a file; None where it does not have this form."""
    match = _FORM.fullmatch(text)
    return Parts(match[1], match[2]) if match else None


def with_line(fields: str, key: str, value: Value) -> str:
    """TOML with one of its lines changed, or added."""
    line = f"{key} = {_value(value)}"
    changed, times = re.subn(rf"(?m)^{key}[ \t]*=.*$", lambda _: line, fields)
    return changed if times else f"{fields}{line}\n"


def toml(table: Mapping[str, Any], path: str = "") -> str:
    """TOML of strings, numbers, booleans, lists, tables and lists of tables, a line each, in the order given.

    `path` is where the table stands in the document. What is None is left out.
    """
    lines, tables = [], []
    for key, value in table.items():
        name = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            tables.append(f"\n[{name}]\n{toml(value, name)}")
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            tables += [f"\n[[{name}]]\n{toml(item, name)}" for item in value]
        elif value is not None:
            lines.append(f"{_key(key)} = {_value(value)}\n")
    return "".join(lines + tables)


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = [f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None]
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list | tuple):
        items = [_value(item) for item in value if item is not None]
        return f"[{', '.join(items)}]"
    if isinstance(value, str):  # as JSON, which leaves DEL as it is
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime | date | time):  # that a person has written
        return value.isoformat()
    return json.dumps(value) if isinstance(value, bool) else repr(value)
