"""A PostgreSQL storage: which URLs are allowed, and how it is connected to."""

from __future__ import annotations

from typing import Any

import sqlalchemy

from hpo.errors import Refused

CONNECTION: dict[str, Any] = {
    "pool_pre_ping": True,
    "connect_args": {"connect_timeout": 10, "keepalives_idle": 30},
}
READ_ONLY: dict[str, Any] = {
    **CONNECTION,
    "connect_args": {**CONNECTION["connect_args"], "options": "-c default_transaction_read_only=on"},
}


def check_url(url: str) -> str:
    """The URL of a storage that can be used, and holds no secret. Raises Refused, without repeating what was given."""
    try:
        parsed = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise Refused("--storage: must be a URL like postgresql://USER@HOST/DATABASE") from None
    if holds_password(parsed):
        raise Refused(
            "--storage: must not hold a password, which everybody on this machine could read; put it into "
            "~/.pgpass, a file that PGPASSFILE names, or PGPASSWORD"
        )
    if parsed.get_backend_name() != "postgresql":
        raise Refused("--storage: must be a postgresql:// URL; without it, the study's folder holds an SQLite file")
    if "{" in url or "}" in url:
        raise Refused("--storage: must not hold { or }")
    return url


def holds_password(url: sqlalchemy.URL) -> bool:
    """Whether a URL holds a password, in its usual place or as an option."""
    return url.password is not None or any("pass" in key.lower() and key != "passfile" for key in url.query)
