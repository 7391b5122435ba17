"""Classical methods that fill holes, which a network must beat. Each gets the network's inputs and works in log light.

Sources: push-pull (Gortler et al. 1996); harmonic, the discrete Laplace equation; biharmonic (Damelin & Hoang 2018) in
scikit-image's implementation. Shapes as in a Batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from objectives.hdr import loss
from objectives.hdr.data import EPS, Batch, log_light
from objectives.hdr.fill import harmonic, layered, pushpull

Method = Callable[[Batch], Tensor]  # gives log(light + EPS), of which only the holes are used


def methods() -> Mapping[str, Method]:
    """Every method by name. None of them reads more than the network does."""
    return {
        "plain copy": lambda batch: log_light(batch.warped_B3SS),
        "push-pull": lambda batch: pushpull(*_log_and_valid(batch)),
        "harmonic": lambda batch: harmonic(*_log_and_valid(batch)),
        "biharmonic": lambda batch: biharmonic(*_log_and_valid(batch)),
        "layered": lambda batch: layered(*_log_and_valid(batch), batch.occluder_B1SS > 0.5),
    }


def method_scores(method: Method, batch: Batch) -> dict[str, Tensor]:
    """The scores of a method for each picture, [B]."""
    on_cpu = Batch(*(field.cpu() for field in batch))
    scores = loss.light_scores(filled_light(method, on_cpu), *loss.score_references(on_cpu))
    return scores | loss.by_kind(scores["score"], on_cpu)


def filled_light(method: Method, batch: Batch) -> Tensor:
    """The warped light, with the method's light in its holes."""
    hole = batch.hole_B1SS > 0.5
    return torch.where(hole, torch.exp(method(batch)) - EPS, batch.warped_B3SS)


def biharmonic(log_B3HW: Tensor, valid_B1HW: Tensor) -> Tensor:
    """The smoothest surface through the valid pixels: the Laplacian of its Laplacian is 0 in holes."""
    images_HW3 = [
        inpaint_biharmonic(log.permute(1, 2, 0).double().numpy(), ~valid[0].numpy(), channel_axis=-1)
        for log, valid in zip(log_B3HW, valid_B1HW, strict=True)
    ]
    return torch.stack([torch.from_numpy(image_HW3).permute(2, 0, 1).float() for image_HW3 in images_HW3])


def _log_and_valid(batch: Batch) -> tuple[Tensor, Tensor]:
    return log_light(batch.warped_B3SS), batch.hole_B1SS < 0.5
