"""The loss of each photograph, and how visible a change is.

Shapes: B photographs, 3 RGB, S pixels a side of a frame, Q of the region in it, 2 across and down. Photographs are in
[0, 1]; losses are [B]. The terms of different photographs are added and not averaged, so that the steps of Adam do not
depend on how many are changed side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from objectives.cloak.align import Jitter
from objectives.cloak.encoders import Critic, separation
from objectives.cloak.handling import handled
from objectives.cloak.model import Cloaked
from objectives.common.perceptual import Backend, perceptual_distance

UNIT_NOISE = 0.05  # `pged` is scaled so that uniform noise of this height has this distance


@dataclass(frozen=True)
class Weights:
    """Weights of the terms, and the thresholds and bounds that they use."""

    identity: float
    visible: float
    rough: float  # total variation of the noise
    vertical: float
    reach: float  # separation from which a photograph is far enough from itself
    visible_goal: float
    noise_limit: float
    warp_limit: float


def terms(cloaked: Cloaked, separation_KB: Tensor, visible_B: Tensor, weights: Weights) -> dict[str, Tensor]:
    """The weighted terms by name, each summed over the photographs.

    `separation_KB` is the separation from the photograph itself by each of K critics, `visible_B` the visible change.
    """
    by_photograph = {
        "identity": weights.identity * torch.relu(weights.reach - separation_KB).mean(0),
        "visible": weights.visible * torch.relu(visible_B - weights.visible_goal),
        "rough": weights.rough * variation(cloaked.change_B3QQ) / weights.noise_limit,
        "vertical": weights.vertical * cloaked.flow_B2QQ[:, 1].abs().mean((-2, -1)) / weights.warp_limit,
    }
    return {name: value_B.sum() for name, value_B in by_photograph.items()}


def separations(
    critics: Sequence[Critic], own: Sequence[Tensor], cloaked: Cloaked, points_B52: Tensor, *, expected: bool
) -> Tensor:
    """Separation of each changed photograph from itself by each critic, [K, B]; `own` are the critics' vectors of the
    unchanged photographs, [B, E].

    With `expected` it is that of a photograph on its way: every alignment is moved at random, and half of the time the
    photographs are resized, made JPEG, or made noisy. Adam's running mean of the gradients then stands for an
    expectation. Source: Athalye et al. 2018, expectation over transformation.
    """
    image = cloaked.image_B3SS
    if expected and float(torch.rand(())) < 0.5:
        image = handled(image)
    jitter = Jitter() if expected else None
    rows = [
        separation(critic, critic.embed(image, points_B52, jitter), own_BE)
        for critic, own_BE in zip(critics, own, strict=True)
    ]
    return torch.stack(rows)


def visible_change(backend: Backend, image: Tensor, reference: Tensor, unit_B: Tensor) -> Tensor:
    """Perceptual distance from the reference: ST-LPIPS as it is, `pged` scaled for each photograph so that uniform
    noise of +-0.05 has 0.05."""
    distance_B = perceptual_distance(backend, image, reference)
    return distance_B if backend == "stlpips" else UNIT_NOISE * distance_B / unit_B


def unit_distance(backend: Backend, reference_B3QQ: Tensor) -> Tensor:
    """The distance that `visible_change` divides by: 1 for ST-LPIPS, which needs no unit."""
    if backend == "stlpips":
        return torch.ones(len(reference_B3QQ), device=reference_B3QQ.device)
    return noise_distance(backend, reference_B3QQ)


def noise_distance(backend: Backend, reference_B3QQ: Tensor) -> Tensor:
    """The raw distance that uniform noise of +-UNIT_NOISE makes.

    It grows with the size of a photograph, and so must a limit on ST-LPIPS that is to mean the same.
    """
    rng = torch.Generator().manual_seed(0)  # the same noise for every photograph
    noise = UNIT_NOISE * (2 * torch.rand(reference_B3QQ.shape[1:], generator=rng) - 1).to(reference_B3QQ.device)
    return perceptual_distance(backend, (reference_B3QQ + noise).clamp(0, 1), reference_B3QQ).clamp(min=1e-6)


def variation(change_B3QQ: Tensor) -> Tensor:
    """Total variation: mean difference of neighbours across plus down."""
    across = (change_B3QQ[..., 1:] - change_B3QQ[..., :-1]).abs().mean((1, 2, 3))
    return across + (change_B3QQ[..., 1:, :] - change_B3QQ[..., :-1, :]).abs().mean((1, 2, 3))
