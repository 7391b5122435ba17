"""Develop your own raw files (RAF, or DNG with the X-Trans filter) with an exported network, and write PNG files.

    python -m objectives.xtrans.develop runs/xtrans/winner RAWS OUT

The network reconstructs the colours; look.py shows them as LibRaw does. Subfolders are mirrored in OUT, nothing is
overwritten, and a run that was stopped goes on with the same command. Scores without a reference (reference_free.py)
are printed for each file, with Markesteijn's in brackets. OUT/hpo-record.jsonl keeps them, with the levels, gains and
colour matrix that were used. Needs the optional dependency `raw`.
Shapes: H, W pixels of the sensor, cropped to phase (0, 0).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from hpo import load_winner
from objectives.common.colour import as_uint8
from objectives.common.command import settings_of, work
from objectives.common.files import write_png
from objectives.common.folder import Job, Made, Result, carry_out, plan_folder
from objectives.common.formats import RAW_SUFFIXES
from objectives.common.walk import Skipped
from objectives.xtrans import cfa, raf, reference_free
from objectives.xtrans.look import Look, read_look, render
from objectives.xtrans.model import Demosaicer
from objectives.xtrans.task import XTrans

ROWS, MARGIN = 480, 60  # of a strip, and of its overlap: multiples of 12, beyond the receptive field of every network


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


def develop(winner: Path, folder: Path, into: Path) -> Iterator[Result]:
    """Develop every raw file in `folder` and its subfolders: what is skipped, then what became of each file.

    A file that cannot be read fails by itself. Raises ValueError naming the file or folder, before anything is written,
    for the export of another task, a folder without a raw file, and if a file would be overwritten.
    """
    raf.require_installed("developing raw files")
    model = cast(Demosaicer, load_winner(winner, XTrans).model)
    plan = plan_folder(folder, into, why_not_raw)

    def make(job: Job, output: Path) -> Mapping[str, Any]:
        (path,) = job.inputs
        raw, look = raf.read(path), read_look(path)
        srgb_3HW = render(demosaic_in_strips(model, raw.mosaic_1HW, raw.gain_3), raw.gain_3, look)
        write_png(as_uint8(srgb_3HW), output)
        return _sidecar(raw, look) | _scores(model, raw)

    yield from carry_out(plan, settings_of("xtrans.develop", winner), make)


def why_not_raw(path: Path) -> Skipped | None:
    """None for a file that should be a raw file of an X-Trans sensor by its name; else why it is skipped."""
    suffix = path.suffix.lower()
    if suffix in raf.SUFFIXES:
        return None
    if suffix in RAW_SUFFIXES:
        return Skipped(path, "raw files of cameras without the X-Trans filter")
    return Skipped(path, "no raw files", expected=True)


def line(made: Made) -> str:
    """The output of a file and its scores."""
    own, theirs = (made.facts[method] for method in ("network", "markesteijn"))
    return (
        f"{made.output}  re-mosaic {own['remosaic_db']:.1f} dB ({theirs['remosaic_db']:.1f}), "
        f"grid {own['grid_db']:+.1f} dB ({theirs['grid_db']:+.1f}), "
        f"sharpness {own['sharpness']:.2f} ({theirs['sharpness']:.2f})"
    )


def _sidecar(raw: raf.Raw, look: Look) -> dict[str, Any]:
    """How a file was developed: plain JSON values, which the folder's record keeps."""
    import rawpy

    return {
        "camera": raw.camera,
        "black": list(raw.black),
        "white": raw.white,
        "gain": raw.gain_3.tolist(),
        "lightest": float(raw.mosaic_1HW.max()),
        "matrix": look.srgb_of_sensor_33.tolist(),
        "matrix_source": look.matrix_source,
        "flip": look.flip,
        "libraw": ".".join(map(str, rawpy.libraw_version)),
    }


def _scores(model: Demosaicer, raw: raf.Raw) -> dict[str, Any]:
    """Scores without a reference, of the network and of Markesteijn, on the middle of the sensor."""
    mosaic_1HW = reference_free.middle(raw.mosaic_1HW)
    methods: dict[str, reference_free.Demosaic] = {
        "network": lambda mosaic_1HW: demosaic_in_strips(model, mosaic_1HW, raw.gain_3),
        "markesteijn": reference_free.markesteijn(raw.gain_3),
    }
    scores = {name: reference_free.score(method, mosaic_1HW, raw.gain_3) for name, method in methods.items()}
    return {name: asdict(each) for name, each in scores.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every raw file is developed; 1: some are not, and are named; 130: stopped by Ctrl-C."""
    summary = "Develop your own raw files (RAF, or DNG with the X-Trans filter) with an exported network."
    files = ("raws", "a folder of raw files")
    return work("objectives.xtrans.develop", summary, files, "the folder for the PNG files", develop, arguments, line)


if __name__ == "__main__":
    sys.exit(main())
