"""Methods to compare with: interpolation, the best linear filter, Markesteijn's algorithm as the network's base has it,
and LibRaw's demosaicers; and, as a reference, a published network that is forty times larger.

LibRaw runs on the same tiles, written as DNG files (dng.py). It refuses small frames, so sixty-four tiles lie side by
side in one. Without the optional dependency `raw` its rows are missing, and a check says so. Every method is given the
white balance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import torch
from torch import Tensor

from hpo import REFERENCE, Split, generator
from objectives.xtrans import cfa, data, gharbi, lmmse, loss, model, raf
from objectives.xtrans.data import TILE, Batch
from objectives.xtrans.light import BALANCED, per_channel
from objectives.xtrans.loss import Demosaic
from objectives.xtrans.scenes import Source, load_scenes

FIT_CROPS, FIT_SIZE = 320, 60  # number and side of the crops that the linear filter is fitted to
AHEAD = 40  # tiles of a split that LibRaw demosaics together, before they are asked for
SIDE_BY_SIDE = 8
PLAIN = "normalised convolution"


def methods(source: Source, gain: tuple[float, float, float]) -> dict[str, Demosaic]:
    """Every method that can run here, by name; `missing_methods` names the others."""
    kernel = linear_filter(source)
    of_balanced: dict[str, Callable[[Tensor], Tensor]] = {
        PLAIN: partial(_interpolate, base="nc"),
        "colour differences": partial(_interpolate, base="nc_diff"),
        "best linear filter 7x7": partial(lmmse.apply_filter, kernel=kernel),
        "markesteijn 1, ours": partial(_interpolate, base="markesteijn"),
        "markesteijn 3, ours": partial(_interpolate, base="markesteijn3"),
    }
    if raf.installed():
        tiles = TileSource(source, gain)
        for name in raf.ALGORITHMS:
            of_balanced[name] = partial(libraw_tiles, method=name, source=tiles)
    if gharbi.installed():
        of_balanced["Gharbi 2016, pretrained" + REFERENCE] = gharbi.demosaic
    return {name: partial(_apply_balanced, method) for name, method in of_balanced.items()}


def _interpolate(balanced_B1SS: Tensor, base: str) -> Tensor:
    colours_B3SS = cfa.masks(*balanced_B1SS.shape[-2:]).expand(len(balanced_B1SS), -1, -1, -1)
    return model.interpolate(balanced_B1SS, colours_B3SS, base)


def missing_methods() -> str:
    """The methods that are not installed, and how to install them; empty where all are."""
    missing = []
    if not raf.installed():
        missing.append(f"LibRaw ({', '.join(raf.ALGORITHMS)})")
    if not gharbi.installed():
        missing.append("the published network")
    return f"{' and '.join(missing)}: not installed; {raf.INSTALL}" if missing else ""


@lru_cache(maxsize=4)
def linear_filter(source: Source) -> Tensor:
    """The best linear filter of balanced light on what the network learns from: crops of the training scenes."""
    rng = generator("xtrans", "linear filter")
    batch = data.random_crops(
        load_scenes("train", source), FIT_CROPS, FIT_SIZE, rng, gain=BALANCED, augment=data.Augment()
    )
    return lmmse.fit_to_pictures(list(batch.target_B3SS))


def _apply_balanced(method: Callable[[Tensor], Tensor], batch: Batch) -> Tensor:
    """Apply a method that needs white-balanced mosaics, and undo the balance."""
    return method(_balance(batch).cpu()).to(batch.gain_B3.device) * per_channel(batch.gain_B3)


def _balance(batch: Batch) -> Tensor:
    return model.balanced(batch.mosaic_B1SS, batch.cfa_B3SS, per_channel(batch.gain_B3))


# -- LibRaw ----------------------------------------------------------------------------------------------------------
class TileSource(NamedTuple):
    """Where the tiles of val and test come from."""

    scenes: Source
    gain: tuple[float, float, float]

    def first_tiles(self, split: Split) -> Batch:
        count = min(AHEAD, data.count_tiles(split, self.scenes))
        return data.tiles(split, count, self.scenes, self.gain)


def libraw_tiles(tiles_B1SS: Tensor, method: str, source: TileSource) -> Tensor:
    """rgb_B3SS of white-balanced tiles. The tiles of val and test are demosaiced once, all together."""
    known = _demosaic_ahead(method, source) if tiles_B1SS.shape[-1] == TILE else {}
    new = [index for index, tile in enumerate(tiles_B1SS) if _key(tile) not in known]
    rgb_by_index = dict(zip(new, _run(tiles_B1SS[new], method), strict=True))
    outputs = [
        rgb_by_index[index] if index in rgb_by_index else known[_key(tile)] for index, tile in enumerate(tiles_B1SS)
    ]
    return torch.stack(outputs)


@lru_cache(maxsize=8)
def _demosaic_ahead(method: str, source: TileSource) -> dict[bytes, Tensor]:
    """The output of a method for the first tiles of val and test and for their patterns, by the tiles' content."""
    batches = [source.first_tiles("val"), source.first_tiles("test")]
    batches += [loss.carried_patterns(batch) for batch in batches]
    tiles = {_key(tile): tile for batch in batches for tile in _balance(batch)}
    return dict(zip(tiles, _run(torch.stack(list(tiles.values())), method), strict=True))


def _run(tiles_B1SS: Tensor, method: str) -> Iterator[Tensor]:
    """Demosaic the tiles in frames of at least 8 x 8, which LibRaw accepts; a tile's side must be a multiple of 6."""
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
