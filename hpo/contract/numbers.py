"""Whole numbers that a user gives."""

from __future__ import annotations

from typing import Any


def check_at_least(key: str, value: Any, least: int) -> None:
    """Raise ValueError, which names the key, unless the value is a whole number of at least `least`; a bool is none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{key}: must be a whole number of at least {least}; got {value!r}")
