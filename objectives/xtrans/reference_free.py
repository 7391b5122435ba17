"""Scores of a demosaiced picture without its truth, for one's own raw files.

    python -m objectives.xtrans.reference_free runs/xtrans/winner RAWS

prints them for every raw file in a folder, of the network and of Markesteijn's three passes. None of them says alone
that a picture is right: a blurred one agrees with itself and has no grid, and a noisy one is sharp. Read them together,
and as a difference between methods on the same file.

Shapes: rgb_3HW white-balanced linear light, mosaic_1HW the same at phase (0, 0).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from torch import Tensor
from torch.nn import functional as F

from hpo import load_winner
from objectives.common.colour import luma
from objectives.common.image_scores import psnr_db
from objectives.xtrans import cfa, markesteijn, raf, spectrum
from objectives.xtrans.develop import demosaic_in_strips, raw_files
from objectives.xtrans.light import per_channel, to_display
from objectives.xtrans.loss import laplacian
from objectives.xtrans.model import Demosaicer, balanced
from objectives.xtrans.task import XTrans

SHIFTS = ((0, 3), (1, 0), (0, 1), (1, 1))  # where the filter falls anew: red for blue, and greens on other pixels
BORDER = 12  # pixels at each side that are not judged
SIDE = 960  # pixels a side of the middle of a file that the command judges
Method = Callable[[Tensor], Tensor]  # mosaic_1HW at phase (0, 0) -> rgb_3HW


class Scores(NamedTuple):
    """What can be said of a picture without its truth."""

    remosaic_db: float  # higher is better: how well the method agrees with itself
    grid_db: float  # how far a 6 x 6 grid stands out of the picture's finest detail; 0 is none
    control_db: float  # the same where no grid can be: what the picture's own texture gives
    sharpness: float  # Laplacian variance as displayed: larger is sharper, or noisier
    sample_error: float  # RMS difference from the measured samples; 0 where the method keeps them


def scores(method: Method, mosaic_1HW: Tensor) -> Scores:
    """All scores of what a method makes of a mosaic."""
    rgb = method(mosaic_1HW)
    even, odd = grid_db(rgb)
    return Scores(remosaic_db(rgb, method), even, odd, sharpness(rgb), sample_error(rgb, mosaic_1HW))


def remosaic_db(rgb_3HW: Tensor, method: Method) -> float:
    """How well a method finds a picture again that it made: PSNR in dB for a peak of 1, a mean over the SHIFTS.

    The picture is shifted, so that other pixels measure other colours, mosaiced and demosaiced again. What the filter's
    place put into it does not come again; what the scene put into it does.
    """
    decibels = []
    for down, across in SHIFTS:
        shifted = rgb_3HW[:, down:, across:]
        again = method(cfa.mosaic(shifted[None])[0])
        inside = (slice(None), slice(BORDER, -BORDER), slice(BORDER, -BORDER))
        decibels.append(float(psnr_db(again[inside][None], shifted[inside][None])))
    return sum(decibels) / len(decibels)


def grid_db(rgb_3HW: Tensor) -> tuple[float, float]:
    """How far the frequencies of the 6 x 6 tile stand out of the picture's finest detail, in dB, and the control.

    The detail is the picture less its mean over 5 x 5. At least 72 pixels a side are needed.
    """
    detail = rgb_3HW - F.avg_pool2d(rgb_3HW[None], 5, stride=1, padding=2, count_include_pad=False)[0]
    inside = detail[None, :, BORDER:-BORDER, BORDER:-BORDER]  # twelve is two tiles: still phase (0, 0)
    return spectrum.grid_db(spectrum.power(inside).sum(0))


def sharpness(rgb_3HW: Tensor) -> float:
    """Laplacian variance of the displayed brightness, which lies in [0, 1]."""
    brightness = luma(to_display(rgb_3HW[None], rgb_3HW.new_ones(1, 3)))
    return float(laplacian(brightness[..., BORDER:-BORDER, BORDER:-BORDER]).var())


def sample_error(rgb_3HW: Tensor, mosaic_1HW: Tensor) -> float:
    """RMS difference between the picture and the samples it was made from."""
    return float((cfa.mosaic(rgb_3HW[None])[0] - mosaic_1HW).square().mean().sqrt())


# -- the command -----------------------------------------------------------------------------------------------------
def middle(mosaic_1HW: Tensor) -> Tensor:
    """The middle of a large mosaic, at phase (0, 0)."""
    top, left = (max(0, side - SIDE) // 2 // cfa.SIDE * cfa.SIDE for side in mosaic_1HW.shape[-2:])
    return mosaic_1HW[:, top : top + SIDE, left : left + SIDE]


def methods_of(winner: Path, gain_3: Tensor) -> dict[str, Method]:
    """The network and Markesteijn's algorithm, for the white-balanced mosaics of a sensor with these gains."""
    model = cast(Demosaicer, load_winner(winner, XTrans).model)

    def network(light_1HW: Tensor) -> Tensor:
        weight = (cfa.masks(*light_1HW.shape[-2:]) * per_channel(gain_3)).sum(0, keepdim=True)
        return demosaic_in_strips(model, light_1HW * weight, gain_3) / per_channel(gain_3)

    return {"network": network, "Markesteijn": lambda light_1HW: markesteijn.demosaic(light_1HW[None], 3)[0]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for every raw file and method."""
    parser = argparse.ArgumentParser(
        prog="python -m objectives.xtrans.reference_free",
        description="Scores without a reference: your own raw files, by an exported network and by Markesteijn.",
    )
    parser.add_argument("winner", type=Path, help="an exported winner's folder")
    parser.add_argument("raws", type=Path, help="a folder of raw files")
    options = parser.parse_args(arguments)
    print(f"{'file':30} {'method':12} remosaic dB  grid dB  control dB  sharpness  sample error")
    for path in raw_files(options.raws):
        raw = raf.read(path)
        light = middle(raw.mosaic_1HW)
        light = balanced(light[None], cfa.masks(*light.shape[-2:])[None], per_channel(raw.gain_3[None]))[0]
        for name, method in methods_of(options.winner, raw.gain_3).items():
            row = scores(method, light)
            print(
                f"{path.name:30} {name:12} {row.remosaic_db:11.2f} {row.grid_db:8.1f} {row.control_db:11.1f} "
                f"{row.sharpness:10.4f} {row.sample_error:13.5f}"
            )


if __name__ == "__main__":
    main()
