"""How a raw file's light is shown: white balance, colour matrix, tone curve and orientation, as LibRaw has them.

LibRaw (dcraw) uses the plain ones where it has no profile, so that demosaicers can be compared; a camera's own look is
not imitated. Shapes: H, W pixels of the sensor.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from objectives.common.colour import srgb_from_linear
from objectives.xtrans.light import per_channel

BRIGHTEST = 0.99  # the quantile of a picture's light that becomes white
XYZ_OF_SRGB_33 = torch.tensor(  # IEC 61966-2-1, for its own white, D65
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], dtype=torch.float64
)
MIRROR_ACROSS, MIRROR_DOWN, TRANSPOSE = 1, 2, 4  # the bits of LibRaw's flip; the mirrors come first


class Look(NamedTuple):
    """How a file says that its light is to be displayed."""

    srgb_of_sensor_33: Tensor  # of white-balanced light; rows sum to 1
    matrix_source: str  # where the matrix comes from
    flip: int  # LibRaw's


def read_look(path: Path) -> Look:
    """The orientation and the colour matrix that the file holds or LibRaw knows for the camera.

    Without a matrix the sensor's own colours are taken, as LibRaw does; `matrix_source` says so.
    """
    import rawpy

    with rawpy.imread(str(path)) as raw:
        of_file_33 = torch.from_numpy(np.array(raw.color_matrix, np.float64)[:, :3])
        sensor_of_xyz_33 = torch.from_numpy(np.array(raw.rgb_xyz_matrix, np.float64)[:3])
        flip = int(raw.sizes.flip)
    if of_file_33.any():
        return Look(of_file_33.float(), "the file", flip)
    if sensor_of_xyz_33.any():
        return Look(srgb_of_sensor(sensor_of_xyz_33).float(), "LibRaw, for the camera", flip)
    return Look(torch.eye(3), "none: the colours are the sensor's own", flip)


def srgb_of_sensor(sensor_of_xyz_33: Tensor) -> Tensor:
    """The matrix from a sensor's balanced light to linear sRGB. White stays white: its rows sum to 1.

    `sensor_of_xyz_33` is the sensor's response to CIE XYZ under D65, as ColorMatrix of the DNG specification.
    """
    sensor_of_srgb_33 = sensor_of_xyz_33 @ XYZ_OF_SRGB_33
    balanced_33 = sensor_of_srgb_33 / sensor_of_srgb_33.sum(1, keepdim=True)
    return torch.linalg.inv(balanced_33)


def render(light_3HW: Tensor, gain_3: Tensor, look: Look, *, bright: bool = True) -> Tensor:
    """Sensor light as srgb_3HW in [0, 1], upright.

    Light above the sensor's white is white. `bright` scales the light so that the brightest hundredth is white too.
    """
    balanced = (light_3HW / per_channel(gain_3)).clamp(0, 1)
    linear = torch.einsum("oc,chw->ohw", look.srgb_of_sensor_33, balanced)
    if bright:
        largest = linear.amax(0).flatten()
        linear = linear / largest.kthvalue(max(1, round(BRIGHTEST * len(largest)))).values.clamp(min=1e-6)
    return upright(srgb_from_linear(linear.clamp(0, 1)), look.flip)


def upright(picture_3HW: Tensor, flip: int) -> Tensor:
    """A picture turned and mirrored by LibRaw's flip, which is 0 to 7."""
    if flip & MIRROR_DOWN:
        picture_3HW = picture_3HW.flip(-2)
    if flip & MIRROR_ACROSS:
        picture_3HW = picture_3HW.flip(-1)
    return picture_3HW.transpose(-2, -1) if flip & TRANSPOSE else picture_3HW
