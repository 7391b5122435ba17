"""Develop a user's own raw files with an exported network: RAF, or DNG with the X-Trans filter, in; PNG out.

    python -m objectives.xtrans.develop runs/xtrans/winner RAWS OUT

The network makes the colours; white balance, colour matrix, brightness and curve are the plain ones that LibRaw (dcraw)
uses without a profile, so that two networks can be compared, and not a camera's own look. Needs the extra `raw`.
Shapes: H, W pixels of the sensor, cropped to phase (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hpo.trial.artifact import load_winner
from objectives.common.colour import as_uint8, srgb_from_linear
from objectives.common.command import work
from objectives.common.files import png_for_each
from objectives.xtrans import cfa, raf
from objectives.xtrans.light import spread
from objectives.xtrans.model import Demosaicer, unit_of
from objectives.xtrans.task import XTrans

ROWS, MARGIN = 480, 60  # of a strip, and of what it sees of its neighbours: multiples of 12, past what any network sees
BRIGHTEST = 0.99  # so much of a picture is not brighter than white
TURNS = {3: 2, 5: 1, 6: 3}  # LibRaw's flip: quarter turns, counter-clockwise


class Look(NamedTuple):
    """What a file says of how its light is to be seen."""

    srgb_of_sensor_33: Tensor  # of white-balanced light; rows sum to 1
    turns: int  # quarter turns, counter-clockwise


@torch.no_grad()
def demosaiced(model: Demosaicer, mosaic_1HW: Tensor) -> Tensor:
    """Sensor light, rgb_3HW, strip by strip: as the network would make it of the whole, in little memory."""
    height, width = mosaic_1HW.shape[-2:]
    known_3HW = cfa.masks(height, width)
    unit = unit_of(mosaic_1HW[None], known_3HW[None])
    strips = []
    for top in range(0, height, ROWS):
        above = min(top, MARGIN)
        rows = slice(top - above, top + ROWS + MARGIN)
        strip = model(mosaic_1HW[None, :, rows], known_3HW[None, :, rows], unit)
        strips.append(strip[0, :, above : above + ROWS])
    return torch.cat(strips, 1)


def look_of(path: Path) -> Look:
    """By the colour matrix that the file holds or LibRaw knows of the camera; without any, the sensor's own colours."""
    import rawpy

    with rawpy.imread(str(path)) as raw:
        matrix_33, turns = torch.from_numpy(np.array(raw.color_matrix[:, :3])), TURNS.get(raw.sizes.flip, 0)
    return Look(matrix_33 if matrix_33.any() else torch.eye(3), turns)


def picture(light_3HW: Tensor, gain_3: Tensor, look: Look, *, bright: bool = True) -> Tensor:
    """srgb_3HW in [0, 1] of sensor light. What is past the sensor's white is white; `bright` scales the light so that
    the brightest hundredth is white, too."""
    balanced = (light_3HW / spread(gain_3)).clamp(0, 1)
    linear = torch.einsum("oc,chw->ohw", look.srgb_of_sensor_33, balanced)
    if bright:
        largest = linear.amax(0).flatten()
        linear = linear / largest.kthvalue(max(1, round(BRIGHTEST * len(largest)))).values.clamp(min=1e-6)
    return srgb_from_linear(linear.clamp(0, 1)).rot90(look.turns, (-2, -1))


def develop(winner: Path, folder: Path, into: Path) -> Iterator[Path]:
    """Develop every raw file directly in `folder`, and yield what was written.

    Raises ValueError naming the file or folder that is at fault, before anything is written where one cannot be read or
    a file would be overwritten.
    """
    model = load_winner(winner, XTrans).model
    written = png_for_each(raw_files(folder), into)
    for path in written:
        raf.read(path)  # what cannot be read is told before anything is written
    into.mkdir(parents=True, exist_ok=True)
    for path, to in written.items():
        raw = raf.read(path)
        made = picture(demosaiced(model, raw.mosaic_1HW), raw.gain_3, look_of(path))
        Image.fromarray(as_uint8(made).permute(1, 2, 0).numpy()).save(to)
        yield to


def raw_files(folder: Path) -> list[Path]:
    """By name. Raises ValueError where there is no folder or no raw file in it."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in raf.SUFFIXES) if folder.is_dir() else []
    if not found:
        raise ValueError(f"{folder} must be a folder that holds raw files ({', '.join(sorted(raf.SUFFIXES))})")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    files = ("raws", "a folder of raw files")
    work("objectives.xtrans.develop", __doc__.splitlines()[0], files, "where NAME.png go", develop, arguments)


if __name__ == "__main__":
    main()
