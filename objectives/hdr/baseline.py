"""Classical methods that fill holes, which a network must beat. Each gets the network's inputs and works in log light.

Sources: push-pull (Gortler et al. 1996); harmonic, the discrete Laplace equation; biharmonic (Damelin & Hoang 2018) in
scikit-image's implementation; Telea 2004 and the Navier-Stokes method (Bertalmio et al. 2001) in OpenCV's, which are
not measured where OpenCV is not installed. Shapes as in a Batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import Literal

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from hpo import Method, Space, Tuned, choose, log, uniform
from objectives.hdr import loss
from objectives.hdr.data import EPS, Batch, log_light
from objectives.hdr.fill import harmonic, layered, pushpull

Fill = Callable[[Batch], Tensor]  # gives log(light + EPS), of which only the holes are used
OpenCVName = Literal["TELEA", "NS"]
OPENCV: Mapping[str, OpenCVName] = {"Telea": "TELEA", "Navier-Stokes": "NS"}
OPENCV_SPACE: Space = {"radius": log(1.0, 12.0), "layers": choose(False, True)}


def methods() -> Mapping[str, Fill]:
    """Every method by name, with its default settings. None of them reads more than the network does."""
    classical: dict[str, Fill] = {
        "plain copy": lambda batch: log_light(batch.warped_B3SS),
        "push-pull": lambda batch: pushpull(*_log_and_valid(batch)),
        "harmonic": lambda batch: harmonic(*_log_and_valid(batch)),
        "biharmonic": lambda batch: biharmonic(*_log_and_valid(batch)),
        "layered": lambda batch: layered(*_log_and_valid(batch), batch.occluder_B1SS > 0.5),
        "blended": blended,
    }
    if has_opencv():
        classical |= {name: partial(inpainted, method) for name, method in OPENCV.items()}
    return classical


def rivals() -> Mapping[str, Method[Batch]]:
    """The scores of every method. Promotion chooses on training examples how far the blend trusts the harmonic fill,
    and the radius of OpenCV's methods, which may also fill each layer by itself."""
    scored: dict[str, Method[Batch]] = {name: partial(method_scores, method) for name, method in methods().items()}
    scored["blended"] = Tuned[Batch]({"share": uniform(0.0, 1.0)}, blended_scores)
    if has_opencv():
        for name, method in OPENCV.items():
            scored[name] = Tuned[Batch](OPENCV_SPACE, partial(inpainted_scores, method))
    return scored


def has_opencv() -> bool:
    """Whether OpenCV is installed, for the methods of OPENCV."""
    return find_spec("cv2") is not None


def method_scores(method: Fill, batch: Batch) -> dict[str, Tensor]:
    """The scores of a method for each picture, [B]."""
    on_cpu = Batch(*(field.cpu() for field in batch))
    scores = loss.light_scores(filled_light(method, on_cpu), *loss.score_references(on_cpu))
    return scores | loss.by_kind(scores["score"], on_cpu)


def blended_scores(batch: Batch, share: float = 0.5) -> dict[str, Tensor]:
    """The scores of the blend for each picture, [B]."""
    return method_scores(partial(blended, share=share), batch)


def inpainted_scores(method: OpenCVName, batch: Batch, radius: float = 3.0, layers: bool = False) -> dict[str, Tensor]:
    """The scores of one of OpenCV's methods for each picture, [B]."""
    return method_scores(partial(inpainted, method, radius=radius, layers=layers), batch)


def filled_light(method: Fill, batch: Batch) -> Tensor:
    """The warped light, with the method's light in its holes."""
    hole = batch.hole_B1SS > 0.5
    return torch.where(hole, torch.exp(method(batch)) - EPS, batch.warped_B3SS)


def blended(batch: Batch, share: float = 0.5) -> Tensor:
    """The mean of the harmonic fill, with this share, and the layered one: what the network starts from."""
    log_B3SS, valid = _log_and_valid(batch)
    return torch.lerp(layered(log_B3SS, valid, batch.occluder_B1SS > 0.5), harmonic(log_B3SS, valid), share)


def biharmonic(log_B3HW: Tensor, valid_B1HW: Tensor) -> Tensor:
    """The smoothest surface through the valid pixels: the Laplacian of its Laplacian is 0 in holes."""
    images_HW3 = [
        inpaint_biharmonic(log.permute(1, 2, 0).double().numpy(), ~valid[0].numpy(), channel_axis=-1)
        for log, valid in zip(log_B3HW, valid_B1HW, strict=True)
    ]
    return torch.stack([torch.from_numpy(image_HW3).permute(2, 0, 1).float() for image_HW3 in images_HW3])


def inpainted(method: OpenCVName, batch: Batch, radius: float = 3.0, layers: bool = False) -> Tensor:
    """One of OpenCV's methods, which looks `radius` pixels around a hole; with `layers`, in each layer by itself."""
    fill = partial(_inpainted, method=method, radius=radius)
    if layers:
        return layered(*_log_and_valid(batch), batch.occluder_B1SS > 0.5, fill)
    return fill(*_log_and_valid(batch))


def _inpainted(log_B3HW: Tensor, valid_B1HW: Tensor, *, method: OpenCVName, radius: float) -> Tensor:
    """Each colour by itself, which OpenCV can do in floating point; it wants values of at least 0."""
    import cv2

    flag = {"TELEA": cv2.INPAINT_TELEA, "NS": cv2.INPAINT_NS}[method]
    lowest = np.log(EPS)
    filled = log_B3HW.clone()
    for picture_3HW, valid_1HW in zip(filled, valid_B1HW, strict=True):
        hole_HW = (~valid_1HW[0]).to(torch.uint8).numpy()
        for plane_HW in picture_3HW:
            shifted_HW = torch.where(valid_1HW[0], plane_HW - lowest, 0.0).numpy()
            plane_HW.copy_(torch.from_numpy(cv2.inpaint(shifted_HW, hole_HW, radius, flag)) + lowest)
    return filled


def _log_and_valid(batch: Batch) -> tuple[Tensor, Tensor]:
    return log_light(batch.warped_B3SS), batch.hole_B1SS < 0.5
