"""What the scenes of the image tasks are cut from: photographs and panoramas, by name."""

from __future__ import annotations

from objectives.common import panoramas, photographs


def origin(name: str) -> str:
    """Content hash of a photograph or a panorama, for `Task.origins`. Raises ValueError where there is none."""
    return panoramas.origin(name) if name in panoramas.PANORAMAS else photographs.origin(name)
