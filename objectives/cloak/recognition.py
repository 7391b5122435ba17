"""How well an encoder recognises: what must hold before its scores mean anything.

Shapes: N photographs, E features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.cloak.align import Jitter
from objectives.cloak.data import Photographs
from objectives.cloak.encoders import Critic, calibration, needs_face, separation
from objectives.cloak.handling import as_jpeg, resized_and_back
from objectives.common.colour import as_float


@dataclass(frozen=True)
class Recognition:
    """Shares of varied pictures and of pairs, by the encoder's matching threshold."""

    first: float  # varied pictures whose nearest picture is their own
    accepted: float  # varied pictures that match their own picture
    apart: float | None  # pairs of two persons that do not match; None where there is one person


def recognition(encoder: Critic, photographs: Photographs) -> Recognition:
    """Of a face matcher: on the photographs that a run holds. Of an encoder that learned from the shipped faces: on
    those, where 99 % of the pairs are apart by definition."""
    if not needs_face(encoder.name):
        known = calibration(encoder.name)
        return Recognition(known.first, known.accepted, None)
    return _on(encoder, photographs)


@torch.no_grad()
def _on(encoder: Critic, photographs: Photographs) -> Recognition:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        frames, points = as_float(photographs.rgb_N3SS), photographs.points_N52
        known_NE = encoder.embed(frames, points)
        varied_NE = encoder.embed(as_jpeg(resized_and_back(frames, 0.5)), points, Jitter())
    separation_NN = torch.stack([separation(encoder, varied_NE, known_E.expand_as(varied_NE)) for known_E in known_NE])
    same = _equal(photographs.origins)
    persons = _equal(photographs.persons)
    nearest = separation_NN.argmin(0)
    return Recognition(
        first=float(same[nearest, torch.arange(len(frames))].float().mean()),
        accepted=float((separation_NN.diagonal() < 1).float().mean()),
        apart=float((separation_NN[~persons] > 1).float().mean()) if (~persons).any() else None,
    )


def _equal(labels: tuple[str, ...]) -> Tensor:
    """[N, N]: whether two labels are equal."""
    numbers = torch.tensor([labels.index(label) for label in labels])
    return numbers[:, None] == numbers[None]
