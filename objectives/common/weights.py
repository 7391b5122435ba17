"""Published weights, read from an installed package that is not imported."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
from pathlib import Path
from typing import Any

import torch


def installed_file(package: str, name: str) -> Path | None:
    """The file of that name in a package; None if the package or the file is missing."""
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in files if file.name == name), None)


def checked_weights(path: Path, sha256: str) -> Any:
    """The weights that torch saved in a file, on the CPU, read without running any code from it.

    Raises ValueError if the content of the file has another sha256.
    """
    content = path.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ValueError(f"{path} must have sha256 {sha256}; got {actual}")
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
