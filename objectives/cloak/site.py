"""What is known of unchanged photographs, computed once: what a site may hold, and the unit of the visible change.

Shapes: B photographs of a batch, N unchanged ones, E features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from objectives.cloak.data import Photographs
from objectives.cloak.encoders import Critic, critic, separation
from objectives.cloak.loss import unit_distance
from objectives.cloak.model import inner
from objectives.common.colour import as_float
from objectives.common.perceptual import Backend


@dataclass(frozen=True)
class Site:
    """Unchanged photographs, as vectors of an encoder."""

    vectors_NE: Tensor
    is_other_NN: Tensor  # row: a photograph; column: whether that one is another photograph of the same person

    def nearest(self, judge: Critic, vectors_BE: Tensor, number_B: Tensor) -> Tensor:
        """Separation of changed photographs from the nearest that the site may hold, [B]: the original, and other
        photographs of the same person. `number_B` are the rows of the originals."""
        rows = []
        for vector_E, number in zip(vectors_BE, number_B.tolist(), strict=True):
            is_held_N = self.is_other_NN[number].clone()
            is_held_N[number] = True
            held = self.vectors_NE[is_held_N]
            rows.append(separation(judge, vector_E.expand_as(held), held).min())
        return torch.stack(rows)


@lru_cache(maxsize=8)
def site_of(name: str, device: str, photographs: Photographs) -> Site:
    """A site that holds these photographs and has this encoder."""
    encoder = critic(name, device)
    rgb, points = photographs.rgb_N3SS.split(8), photographs.points_N52.split(8)
    with torch.no_grad():
        vectors_NE = torch.cat(
            [
                encoder.embed(as_float(rgb_B3SS).to(device), points_B52.to(device))
                for rgb_B3SS, points_B52 in zip(rgb, points, strict=True)
            ]
        )
    same_person = [[a == b for b in photographs.persons] for a in photographs.persons]
    same_file = [[a == b for b in photographs.origins] for a in photographs.origins]
    return Site(vectors_NE, (torch.tensor(same_person) & ~torch.tensor(same_file)).to(device))


@lru_cache(maxsize=4)
def units_of(backend: Backend, device: str, side: int, photographs: Photographs) -> Tensor:
    """What `visible_change` divides by, for the region of that side in each photograph, [N]."""
    parts = [
        unit_distance(backend, inner(as_float(rgb_B3SS).to(device), side)) for rgb_B3SS in photographs.rgb_N3SS.split(8)
    ]
    return torch.cat(parts)
