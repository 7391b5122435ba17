"""Checks of a task's fields."""

from __future__ import annotations


def require(name: str, holds: bool, allowed: str, given: object) -> None:
    """Raise ValueError unless `holds`. The message names the field, what is allowed and what was given."""
    if not holds:
        raise ValueError(f"task.{name} must be {allowed}; got {given!r}")
