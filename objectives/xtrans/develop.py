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

import torch
from PIL import Image
from torch import Tensor, nn

from hpo import load_winner
from objectives.common.colour import as_uint8
from objectives.common.command import work
from objectives.common.files import png_for_each
from objectives.xtrans import cfa, raf
from objectives.xtrans.look import read_look, render
from objectives.xtrans.model import light_unit
from objectives.xtrans.task import XTrans

ROWS, MARGIN = 480, 60  # of a strip, and of its overlap: multiples of 12, beyond the receptive field of every network


@torch.no_grad()
def demosaic_in_strips(model: nn.Module, mosaic_1HW: Tensor) -> Tensor:
    """Sensor light, rgb_3HW: what the network makes of the whole mosaic, computed strip by strip to save memory."""
    height, width = mosaic_1HW.shape[-2:]
    known_3HW = cfa.masks(height, width)
    unit = light_unit(mosaic_1HW[None], known_3HW[None])
    strips = []
    for top in range(0, height, ROWS):
        above = min(top, MARGIN)
        rows = slice(top - above, top + ROWS + MARGIN)
        strip = model(mosaic_1HW[None, :, rows], known_3HW[None, :, rows], unit)
        strips.append(strip[0, :, above : above + ROWS])
    return torch.cat(strips, 1)


def develop(winner: Path, folder: Path, into: Path) -> Iterator[Path]:
    """Develop every raw file directly in `folder`, and yield the path of each PNG that was written.

    Raises ValueError that names the file or folder at fault. Where a file cannot be read, or one would be overwritten,
    it is raised before anything is written.
    """
    model = load_winner(winner, XTrans).model
    targets = png_for_each(raw_files(folder), into)
    for path in targets:
        raf.read(path)  # a file that cannot be read is reported before anything is written
    into.mkdir(parents=True, exist_ok=True)
    for path, target in targets.items():
        raw = raf.read(path)
        light_3HW = demosaic_in_strips(model, raw.mosaic_1HW)
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
