"""What a network must beat: interpolation, the best linear filter, LibRaw's demosaicers; and a published network that
is forty times larger, for reference.

LibRaw runs on the very tiles, as DNG files (dng.py), sixty-four side by side in one frame, for it refuses small ones.
Without the extra `raw` its rows are missing, and the task says so. Every method is given the white balance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache, partial

import torch
from torch import Tensor

from hpo.seeds import generator
from hpo.task import REFERENCE
from objectives.xtrans import cfa, data, gharbi, lmmse, loss, model, raf
from objectives.xtrans.data import TILE, Batch
from objectives.xtrans.light import spread
from objectives.xtrans.loss import Demosaic

FITTED = (320, 60)  # crops and their side, that the linear filter is fitted on
AHEAD = 128  # tiles of a split that LibRaw is shown at once
SIDE_BY_SIDE = 8
PLAIN = "normalised convolution"


def methods(down: int, folder: str | None, gain: tuple[float, float, float]) -> dict[str, Demosaic]:
    """Every method that can run here, by name; `missing` names the others."""
    kernel = linear_filter(down, folder, gain)
    found: dict[str, Demosaic] = {
        PLAIN: lambda batch: model.interpolated(batch.mosaic_B1SS, batch.cfa_B3SS, "nc"),
        "colour differences": lambda batch: model.interpolated(batch.mosaic_B1SS, batch.cfa_B3SS, "nc_diff"),
        "best linear filter 7x7": lambda batch: lmmse.filtered(batch.mosaic_B1SS, kernel),
    }
    if raf.installed():
        ahead = (down, folder, gain)
        found |= {name: partial(_balanced, partial(libraw_tiles, method=name, ahead=ahead)) for name in raf.ALGORITHMS}
    if gharbi.installed():
        found["Gharbi 2016, pretrained" + REFERENCE] = partial(_balanced, gharbi.demosaiced)
    return found


def missing() -> str:
    """What cannot be compared with here, and why; empty where all can."""
    lacking = [] if raf.installed() else [f"LibRaw ({', '.join(raf.ALGORITHMS)})"]
    lacking += [] if gharbi.installed() else ["the published network"]
    return f"{' and '.join(lacking)}: not installed; {raf.INSTALL}" if lacking else ""


@lru_cache(maxsize=4)
def linear_filter(down: int, folder: str | None, gain: tuple[float, float, float]) -> Tensor:
    """The linear filter for what the network learns from: crops of the training photographs."""
    count, size = FITTED
    of = data.photos("train", down=down, folder=folder)
    batch = data.crops(of, count, size, generator("xtrans", "linear filter"), gain=gain, augment=data.Augment())
    return lmmse.fitted(list(batch.target_B3SS))


def _balanced(method, batch: Batch) -> Tensor:
    """A method that wants the white balanced, on what a sensor saw."""
    return method(_balance(batch).cpu()).to(batch.gain_B3.device) * spread(batch.gain_B3)


def _balance(batch: Batch) -> Tensor:
    return batch.mosaic_B1SS / (batch.cfa_B3SS * spread(batch.gain_B3)).sum(1, keepdim=True)


# -- LibRaw ----------------------------------------------------------------------------------------------------------
def libraw_tiles(tiles_B1SS: Tensor, method: str, ahead: tuple) -> Tensor:
    """rgb_B3SS of white-balanced tiles. Tiles of the splits are demosaiced once, all together."""
    known = _known(method, *ahead) if tiles_B1SS.shape[-1] == TILE else {}
    made: list[Tensor | None] = [known.get(_key(tile)) for tile in tiles_B1SS]
    new = [index for index, rgb in enumerate(made) if rgb is None]
    for index, rgb in zip(new, _run(tiles_B1SS[new], method), strict=True):
        made[index] = rgb
    return torch.stack(made)


@lru_cache(maxsize=8)
def _known(method: str, down: int, folder: str | None, gain: tuple[float, float, float]) -> dict[bytes, Tensor]:
    """What a method makes of the first tiles of val and test and of the patterns, by their content."""
    batches = [
        data.tiles(split, min(AHEAD, data.room(split, down, folder)), down, folder, gain) for split in ("val", "test")
    ]
    batches += [loss.torture_batch(batch) for batch in batches]
    tiles = torch.cat([_balance(batch) for batch in batches])
    return dict(zip(map(_key, tiles), _run(tiles, method), strict=True))


def _run(tiles_B1SS: Tensor, method: str) -> Iterator[Tensor]:
    """Frames of 8 x 8 tiles or more, so large that LibRaw takes them; a tile's side must be a multiple of 6."""
    if not len(tiles_B1SS):
        return
    size = tiles_B1SS.shape[-1]
    assert size % cfa.SIDE == 0, "tiles must keep the phase of the frame"
    side = max(SIDE_BY_SIDE, math.ceil(512 / size))
    for part in tiles_B1SS.split(side**2):
        filled = part.repeat(math.ceil(side**2 / len(part)), 1, 1, 1)[: side**2, 0]
        frame = filled.view(side, side, size, size).permute(0, 2, 1, 3).reshape(side * size, side * size)
        rgb = raf.run_libraw(frame, method).view(3, side, size, side, size).permute(1, 3, 0, 2, 4).flatten(0, 1)
        yield from rgb[: len(part)]


def _key(tile: Tensor) -> bytes:
    return tile.contiguous().numpy().tobytes()
