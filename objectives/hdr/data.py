"""The examples: frames with holes, what is known of them, and the light that belongs there.

Shapes: N examples, B a batch, 3 RGB, S pixels a side. Light is linear and at least 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from objectives.hdr.fill import filled
from objectives.hdr.warp import Frame

EPS = 1e-3  # added to light before its logarithm: it is part of the score, so it is never searched
FILL_BATCH = 64  # examples that are filled at a time


class Batch(NamedTuple):
    """Examples, float32."""

    warped_B3SS: Tensor  # light thrown forward from the frame before; 0 in holes
    hole_B1SS: Tensor  # 1 in holes, else 0
    occluder_B1SS: Tensor  # 1 where the foreground landed; 0 everywhere if no layers are known
    motion_B2SS: Tensor  # of each pixel, minus the mean, in units of 8 pixels; 0 in holes and where it is unknown
    base_log_B3SS: Tensor  # log(warped + EPS) with filled holes
    plain_log_B3SS: Tensor  # the same, filled as if no layers were known
    target_B3SS: Tensor  # the rendered light
    source_B: Tensor  # int64: number of the panorama or photograph behind the scene, or of a user's sequence
    rendered_B: Tensor  # int64: 1 for a path tracer's or a user's frame, 0 for a composed one


class Examples(NamedTuple):
    """All examples of a split, in memory. The fields are those of a batch."""

    warped: Tensor
    hole: Tensor  # bool
    occluder: Tensor  # bool
    motion: Tensor
    base_log: Tensor
    plain_log: Tensor
    target: Tensor
    source: Tensor
    rendered: Tensor

    def batch(self, rows: Tensor | slice = slice(None)) -> Batch:
        """The examples of these rows."""
        warped, hole, occluder, motion, base_log, plain_log, target = (field[rows].float() for field in self[:-2])
        numbers = (self.source[rows], self.rendered[rows])
        return Batch(warped, hole, occluder, motion, base_log, plain_log, target, *numbers)


def assembled(arrays: Mapping[str, np.ndarray], base: str) -> Examples:
    """Examples from arrays named as the fields of Frame, and "source" and "rendered", with holes filled by the method
    `base`."""
    warped, hole, occluder, motion, target = (torch.from_numpy(np.array(arrays[name])) for name in Frame._fields)
    base_log, plain_log = fills(base, warped, hole, occluder)
    source, rendered = (torch.from_numpy(np.array(arrays[name])) for name in ("source", "rendered"))
    return Examples(warped, hole, occluder, motion, base_log, plain_log, target, source, rendered)


def fills(base: str, warped: Tensor, hole: Tensor, occluder: Tensor) -> tuple[Tensor, Tensor]:
    """The logarithm of the light with filled holes, and the same as if no layers were known. Masks are bool."""
    base_log = _filled(base, warped, hole, occluder)
    if base != "layered" or not occluder.any():
        return base_log, base_log
    return base_log, _filled("harmonic", warped, hole, occluder)  # which is the layered fill of one layer


def without_layers(batch: Batch, chosen_B: Tensor) -> Batch:
    """The batch as if neither layers nor motion were known of the examples in `chosen_B` (bool)."""
    chosen = chosen_B.view(-1, 1, 1, 1)
    return batch._replace(
        occluder_B1SS=batch.occluder_B1SS.masked_fill(chosen, 0.0),
        motion_B2SS=batch.motion_B2SS.masked_fill(chosen, 0.0),
        base_log_B3SS=torch.where(chosen, batch.plain_log_B3SS, batch.base_log_B3SS),
    )


def mirrored(batch: Batch, axis: int, rng: torch.Generator) -> Batch:
    """The batch with about half of its examples mirrored, across (axis 0) or down (axis 1); the motion along that axis
    changes its sign with them."""
    chosen = (torch.rand(len(batch.hole_B1SS), generator=rng) < 0.5).view(-1, 1, 1, 1)
    pictures = {name: field for name, field in batch._asdict().items() if field.dim() == 4}
    flipped = batch._replace(
        **{name: torch.where(chosen, field.flip(-1 - axis), field) for name, field in pictures.items()}
    )
    sign = torch.ones(len(chosen), 2, 1, 1)
    sign[:, axis] = torch.where(chosen[:, 0], -1.0, 1.0)
    return flipped._replace(motion_B2SS=flipped.motion_B2SS * sign)


def log_light(light: Tensor) -> Tensor:
    """The natural logarithm of light + EPS; negative light counts as 0."""
    return torch.log(light.clamp(min=0) + EPS)


def _filled(base: str, warped: Tensor, hole: Tensor, occluder: Tensor) -> Tensor:
    parts = zip(*(field.split(FILL_BATCH) for field in (warped, hole, occluder)), strict=True)
    return torch.cat([filled(base, log_light(light), ~holes, front) for light, holes, front in parts])
