"""Develop your own raw files (RAF, or DNG with the X-Trans filter) with an exported network, and write PNG files.

    python -m objectives.xtrans.develop runs/xtrans/winner RAWS OUT

The network reconstructs the colours. White balance, colour matrix, brightness and tone curve are the plain ones that
LibRaw (dcraw) uses without a profile, so that networks can be compared; a camera's own look is not imitated. Needs the
optional dependency `raw`.
Shapes: H, W pixels of the sensor, cropped to phase (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hpo import load_winner
from objectives.common.colour import as_uint8, srgb_from_linear
from objectives.common.command import work
from objectives.common.files import png_for_each
from objectives.xtrans import cfa, raf
from objectives.xtrans.light import per_channel
from objectives.xtrans.model import Demosaicer
from objectives.xtrans.task import XTrans

ROWS, MARGIN = 480, 60  # of a strip, and of its overlap: multiples of 12, beyond the receptive field of every network
BRIGHTEST = 0.99  # the quantile of a picture's light that becomes white
TURNS = {3: 2, 5: 1, 6: 3}  # LibRaw's flip: quarter turns, counter-clockwise


class Look(NamedTuple):
    """How a file says that its light is to be displayed."""

    srgb_of_sensor_33: Tensor  # of white-balanced light; rows sum to 1
    turns: int  # quarter turns, counter-clockwise


@torch.no_grad()
def demosaic_in_strips(model: Demosaicer, mosaic_1HW: Tensor, gain_3: Tensor) -> Tensor:
    """Sensor light, rgb_3HW: what the network makes of the whole mosaic, computed strip by strip to save memory."""
    height, width = mosaic_1HW.shape[-2:]
    known_3HW = cfa.masks(height, width)
    unit = model.unit(mosaic_1HW[None], known_3HW[None], gain_3[None])
    strips = []
    for top in range(0, height, ROWS):
        above = min(top, MARGIN)
        rows = slice(top - above, top + ROWS + MARGIN)
        strip = model(mosaic_1HW[None, :, rows], known_3HW[None, :, rows], gain_3[None], unit)
        strips.append(strip[0, :, above : above + ROWS])
    return torch.cat(strips, 1)


def read_look(path: Path) -> Look:
    """The turn and the colour matrix that the file holds or LibRaw knows for the camera. Without a matrix the sensor's
    own colours are taken."""
    import rawpy

    with rawpy.imread(str(path)) as raw:
        matrix_33 = torch.from_numpy(np.array(raw.color_matrix[:, :3]))
        turns = TURNS.get(raw.sizes.flip, 0)
    return Look(matrix_33 if matrix_33.any() else torch.eye(3), turns)


def render(light_3HW: Tensor, gain_3: Tensor, look: Look, *, bright: bool = True) -> Tensor:
    """Sensor light as srgb_3HW in [0, 1].

    Light above the sensor's white is white. `bright` scales the light so that the brightest hundredth is white too.
    """
    balanced = (light_3HW / per_channel(gain_3)).clamp(0, 1)
    linear = torch.einsum("oc,chw->ohw", look.srgb_of_sensor_33, balanced)
    if bright:
        largest = linear.amax(0).flatten()
        linear = linear / largest.kthvalue(max(1, round(BRIGHTEST * len(largest)))).values.clamp(min=1e-6)
    return srgb_from_linear(linear.clamp(0, 1)).rot90(look.turns, (-2, -1))


def develop(winner: Path, folder: Path, into: Path) -> Iterator[Path]:
    """Develop every raw file directly in `folder`, and yield the path of each PNG that was written.

    Raises ValueError that names the file or folder at fault. Where a file cannot be read, or one would be overwritten,
    it is raised before anything is written.
    """
    model = cast(Demosaicer, load_winner(winner, XTrans).model)
    targets = png_for_each(raw_files(folder), into)
    for path in targets:
        raf.read(path)  # a file that cannot be read is reported before anything is written
    into.mkdir(parents=True, exist_ok=True)
    for path, target in targets.items():
        raw = raf.read(path)
        light_3HW = demosaic_in_strips(model, raw.mosaic_1HW, raw.gain_3)
        srgb_3HW = render(light_3HW, raw.gain_3, read_look(path))
        Image.fromarray(as_uint8(srgb_3HW).permute(1, 2, 0).numpy()).save(target)
        yield target


def raw_files(folder: Path) -> list[Path]:
    """The raw files directly in a folder, by name. Raises ValueError where there is no folder or no raw file in it."""
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    raws = [path for path in paths if path.suffix.lower() in raf.SUFFIXES]
    if not raws:
        raise ValueError(f"{folder} must be a folder that holds raw files ({', '.join(sorted(raf.SUFFIXES))})")
    return raws


def main(arguments: Sequence[str] | None = None) -> None:
    """Exit code 1 and one line where a file or folder is wrong."""
    summary = "Develop your own raw files (RAF, or DNG with the X-Trans filter) with an exported network."
    files = ("raws", "a folder of raw files")
    work("objectives.xtrans.develop", summary, files, "the folder for the PNG files", develop, arguments)


if __name__ == "__main__":
    main()
