"""Where the files of one frame lie: each is brought to the pixels of the warped file.

OpenEXR files say where they lie (common/exr.py). A picture in another format shows the display window, or the data
window where only that has its size. Shapes: A channels, H x W pixels of a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from objectives.common.exr import Window, Windows
from objectives.common.light import read_windows


class Canvas(NamedTuple):
    """The pixels of a frame: those that its warped file holds."""

    path: Path
    windows: Windows


def canvas_of(path: Path, light_3HW: Tensor) -> Canvas:
    """The pixels of the warped file `path`, whose light has been read."""
    height, width = light_3HW.shape[1:]
    whole = Window(0, 0, width - 1, height - 1)
    return Canvas(path, read_windows(path) or Windows(whole, whole))


def align_mask(path: Path, mask_1HW: Tensor, canvas: Canvas) -> Tensor:
    """The mask on the canvas. Outside its own data window, to which a renderer may crop it, it is False.

    Raises ValueError with both files and their windows where it cannot be placed, or marks a pixel outside the canvas.
    """
    theirs = _windows_on(canvas, path, mask_1HW)
    ours = canvas.windows.data
    mask_on_canvas = torch.zeros(1, ours.height, ours.width, dtype=torch.bool)
    mask_on_canvas[_region(theirs.data, inside=ours)] = mask_1HW[_region(ours, inside=theirs.data)]
    outside = int(mask_1HW.sum()) - int(mask_on_canvas.sum())
    if outside:
        raise ValueError(
            f"{path} marks {outside} pixels that {canvas.path} does not hold; got {theirs}, and {canvas.windows}"
        )
    return mask_on_canvas


def align_light(path: Path, light_AHW: Tensor, canvas: Canvas) -> Tensor:
    """The part of a picture that lies on the canvas.

    Raises ValueError with both files and their windows where it cannot be placed, or does not cover the canvas.
    """
    theirs = _windows_on(canvas, path, light_AHW)
    ours = canvas.windows.data
    light_on_canvas = light_AHW[_region(ours, inside=theirs.data)]
    if light_on_canvas.shape[1:] != (ours.height, ours.width):
        raise ValueError(f"{path} must cover the pixels of {canvas.path}; got {theirs}, and {canvas.windows}")
    return light_on_canvas


def _windows_on(canvas: Canvas, path: Path, picture_AHW: Tensor) -> Windows:
    """Where a file lies, in the coordinates of the canvas."""
    theirs, ours = read_windows(path), canvas.windows
    if theirs is not None:
        if theirs.data != ours.data and theirs.display != ours.display:
            raise ValueError(f"{path} and {canvas.path} must have the same size and place; got {theirs}, and {ours}")
        return theirs
    height, width = picture_AHW.shape[1:]
    for window in (ours.display, ours.data):
        if (window.width, window.height) == (width, height):
            return Windows(window, ours.display)
    raise ValueError(f"{path} and {canvas.path} must have the same size; got {width} x {height} pixels, and {ours}")


def _region(window: Window, inside: Window) -> tuple[slice, slice, slice]:
    """The pixels of `window` that `inside` holds, as indices into a picture of `inside`."""
    top = max(window.top, inside.top)
    left = max(window.left, inside.left)
    bottom = max(top - 1, min(window.bottom, inside.bottom))  # no row where they do not meet
    right = max(left - 1, min(window.right, inside.right))
    rows = slice(top - inside.top, bottom + 1 - inside.top)
    columns = slice(left - inside.left, right + 1 - inside.left)
    return slice(None), rows, columns
