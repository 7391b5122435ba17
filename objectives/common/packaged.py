"""A file that an installed package carries, pinned by its content. The package is not imported."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from objectives.common.content import sha256_of


@dataclass(frozen=True)
class PackagedFile:
    """One file of one package: where it is, the hash of its content, and the terms of its use."""

    package: str  # as it is imported
    path: str  # inside the package
    sha256: str
    terms: str
    install: str = ""  # the command that brings the package, where setting up the project may not have

    @property
    def is_installed(self) -> bool:
        """Whether the file is there, whatever its content."""
        path = _path(self)
        return path is not None and path.is_file()

    def checked(self, name: str) -> Path:
        """The path of the file, which `name` calls in errors: "photograph 'china'".

        Raises ValueError for a package that is not installed, and for a file that is missing or has another content.
        """
        try:
            return _checked(self)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None


@cache
def _checked(file: PackagedFile) -> Path:
    path = _path(file)
    if path is None:
        install = f"; install it: {file.install}" if file.install else ""
        raise ValueError(f"it needs the package {file.package}, which is not installed{install}")
    if not path.is_file():
        raise ValueError(f"{path} is missing; reinstall {file.package}")
    sha256 = sha256_of(path)
    if sha256 != file.sha256:
        raise ValueError(f"{path} must have sha256 {file.sha256}; got {sha256}")
    return path


def _path(file: PackagedFile) -> Path | None:
    """Where the file must be; None where its package is not installed."""
    spec = importlib.util.find_spec(file.package)  # the folder, without an import
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / file.path
