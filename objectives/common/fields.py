"""What a task's fields must hold."""

from __future__ import annotations


def require(name: str, holds: bool, allowed: str, given: object) -> None:
    """Raises ValueError that names the field, what is allowed and what was given, unless that `holds`."""
    if not holds:
        raise ValueError(f"task.{name} must be {allowed}; got {given!r}")
