"""What a file holds, whatever it is called."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def content_hash(paths: Iterable[Path]) -> str:
    """sha256 over the content of files, in order. Tasks use it for `Task.origins`."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
