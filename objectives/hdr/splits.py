"""Which panoramas, photographs or frames are in which split, and the examples that are made of them."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

from hpo import Split, made_once
from objectives.common import panoramas
from objectives.common.scenes import origin
from objectives.hdr import frames, rendered, scenes
from objectives.hdr.data import Examples, assembled
from objectives.hdr.patches import make_from_frames

Scenes = Literal["both", "composed", "rendered"]
SCENES: tuple[Scenes, ...] = ("both", "composed", "rendered")
MIN_SIZE = 32
PHOTOGRAPHS = (
    "astronaut",
    "chelsea",
    "china",
    "coffee",
    "flower",
    "rocket",
)  # 8 bits are not light: for training alone
CHOOSING = ("lebombo", "potsdamer_platz")  # the panoramas of the validation split: one indoors, one outdoors
JUDGING = (  # the panoramas of the test split, by fold
    ("forest_slope", "studio_small_03", "venice_sunset"),
    ("dikhololo_night", "empty_warehouse_01", "rooitou_park"),
    ("kiara_1_dawn", "st_fagans_interior"),
)
SOURCES = (*panoramas.PANORAMAS, *PHOTOGRAPHS)  # Batch.source_B counts them


def examples(
    split: Split, size: int, count: int, *, scenes: Scenes, fold: int, base: str, folder: str | None
) -> Examples:
    """`count` examples of `size` pixels a side, the same at every call.

    Raises ValueError if the size is too small, for whatever is wrong with a user's folder, and where the panoramas, or
    the path tracer, are not installed.
    """
    if size < MIN_SIZE:
        raise ValueError(f"hdr: size must be at least {MIN_SIZE} pixels a side; got {size}")
    if folder is None:
        return _made(split, size, count, scenes, fold, base)
    return _cut(frames.read_sequence(folder).of(split), split, size, count, base)


def lights(split: Split, fold: int) -> tuple[str, ...]:
    """The panoramas of a split. Those that neither choose nor judge in this fold are for training."""
    held_out = {"val": CHOOSING, "test": JUDGING[fold]}
    if split != "train":
        return held_out[split]
    return tuple(name for name in panoramas.PANORAMAS if name not in (*CHOOSING, *JUDGING[fold]))


def textures(split: Split, fold: int) -> tuple[str, ...]:
    """What composed frames of a split are cut from."""
    return (*lights(split, fold), *PHOTOGRAPHS) if split == "train" else lights(split, fold)


def origins(split: Split, *, fold: int, folder: str | None) -> set[str]:
    """Content hashes of the panoramas and photographs, or of the user's rendered frames, that the examples of a split
    come from."""
    if folder is not None:
        return {frame.ref_sha256 for frame in frames.read_sequence(folder).of(split)}
    return {origin(name) for name in textures(split, fold)}


@lru_cache(maxsize=6)
def _made(split: Split, size: int, count: int, kind: Scenes, fold: int, base: str) -> Examples:
    """Composed examples first, then rendered ones."""
    names, shown = lights(split, fold), textures(split, fold)
    share = {"both": 0.5, "composed": 0.0, "rendered": 1.0}[kind]
    by_tracer = round(share * count)
    parts = []
    if by_tracer < count:
        arrays = made_once(scenes.make, shown, split, size, count - by_tracer)
        parts.append(_numbered(arrays, shown, rendered=0))
    if by_tracer:
        parts.append(_numbered(rendered.make(names, size, by_tracer), names, rendered=1))
    return assembled({name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, base)


def _numbered(arrays: dict[str, np.ndarray], names: tuple[str, ...], rendered: int) -> dict[str, np.ndarray]:
    """The arrays, with the sources numbered as in SOURCES."""
    numbers = np.array([SOURCES.index(name) for name in names])
    source = numbers[arrays["source"]]
    return {**arrays, "source": source, "rendered": np.full(len(source), rendered)}


@lru_cache(maxsize=6)
def _cut(user_frames: tuple[frames.FrameFiles, ...], split: Split, size: int, count: int, base: str) -> Examples:
    arrays = made_once(make_from_frames, user_frames, split, size, count)
    return assembled({**arrays, "rendered": np.ones(count, np.int64)}, base)
