"""Values in plain form, as JSON holds them; fingerprints of that form; and how a misspelt name is met."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any


@functools.singledispatch
def plain(value: Any) -> Any:
    """A value as JSON can hold it; a dataclass keeps its class name. Other types register their own form.

    A field with init=False is left out: it is computed from the others.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
        return {"class": type(value).__qualname__, **fields}
    return value if isinstance(value, bool | int | float | str | None) else str(value)


@plain.register
def _(value: Mapping) -> dict[str, Any]:  # type: ignore[type-arg]  # singledispatch takes no parameters
    return {str(key): plain(item) for key, item in value.items()}


@plain.register(list)
@plain.register(tuple)
def _(value: list[Any] | tuple[Any, ...]) -> list[Any]:
    return [plain(item) for item in value]


@plain.register(set)
@plain.register(frozenset)
def _(value: set[Any] | frozenset[Any]) -> list[Any]:
    return sorted((plain(item) for item in value), key=repr)  # a set's own order changes from process to process


def without_place(task: Any) -> Any:
    """The plain form of a task without the folder of the user's data: the same data elsewhere is the same data."""
    form = plain(task)
    return {name: value for name, value in form.items() if name != "data"} if isinstance(form, dict) else form


def nulled(value: Any) -> Any:
    """A plain value with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: nulled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [nulled(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def fingerprint(value: Any) -> str:
    """12 hex digits of a sha256 over the plain form of a value: dataclasses, mappings, distributions, numbers."""
    text = json.dumps(plain(value), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def nearest(name: object, known: list[str]) -> str:
    """A clause for an error: the nearest known name, or all of them."""
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"
