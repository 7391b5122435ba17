"""The scenes that the data comes from, in white-balanced linear light, and which of them teach, choose and judge.

By default they are photographs, shrunk by area mean in linear light, which removes the traces of their own camera's
demosaicing and of JPEG; and views of panoramas of real light, which were never demosaiced on this grid, sharpened or
rounded to 8 bits. A user's own folder holds raw files, which a classical demosaicer converts, or pictures; each file is
a scene.

A scene belongs to one split only. Some always choose, in validation; the others judge in turn, fold by fold, and teach
in all other folds. Shapes: 3 RGB, H, W pixels; 1 is white.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hpo import Split, made_once
from objectives.common import files, panoramas, photographs
from objectives.common.colour import linear_from_srgb
from objectives.common.exposure import grey_gain
from objectives.common.scenes import origin
from objectives.xtrans import raf
from objectives.xtrans.light import area_mean
from objectives.xtrans.own_files import OwnFile, is_raw, split_own_files

FOLDS = 3
CHOOSE = ("coffee", "flower", "lebombo", "kiara_1_dawn")  # always validation
JUDGE = (  # in turn: every third in a fold
    "china",
    "astronaut",
    "rocket",
    "chelsea",
    "motorcycle",  # the left view alone: the right view shows the same scene
    "forest_slope",
    "potsdamer_platz",
    "st_fagans_interior",
    "empty_warehouse_01",
    "venice_sunset",
    "rooitou_park",
    "studio_small_03",
    "dikhololo_night",
)
TEACH = ("ihc", "hubble", "retina")  # no everyday scenes: always training, and rarely
RARELY = 0.25  # how often a crop is taken from one of these, where a scene has 1
FIELD = 72.0  # degrees: the five views around meet at the horizon and do not overlap
VIEW = 288  # pixels a side before shrinking by `down`; at half of that no detail is invented
MIN_LIGHT = 1e-6
MIN_SIDE = 72  # pixels of a user's picture after shrinking: a tile must fit


@dataclass(frozen=True)
class Source:
    """Where scenes come from, and which of them judge."""

    down: int = 2  # pictures are shrunk by this factor; raw files by at least 4
    folder: str | None = None  # of the user's own files; None: the bundled scenes
    fold: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.fold < FOLDS:
            raise ValueError(f"task.fold must be 0 to {FOLDS - 1}; got {self.fold!r}")


class Scene(NamedTuple):
    """Pictures of one place, in white-balanced linear light."""

    name: str
    number: int  # of its own, whatever the split and the fold
    views_3HW: tuple[Tensor, ...]
    gain_3: Tensor | None  # of its own sensor; None where unknown: the task's gain is used
    weight: float  # how often a crop is taken from it


def load_scenes(split: Split, source: Source) -> tuple[Scene, ...]:
    """The scenes of a split, in memory. Raises ValueError with what is wrong with a user's folder, or not installed."""
    if source.folder is None:
        return tuple(_load_bundled(name, source.down) for name in names_of(split, source.fold))
    own_files = split_own_files(source.folder, source.fold, FOLDS)
    _check_own(source.folder, tuple(file for part in own_files.values() for file in part), source.down)
    return _load_own(own_files[split], source.down)


def names_of(split: Split, fold: int) -> tuple[str, ...]:
    """Names of the bundled scenes of a split."""
    test = JUDGE[fold::FOLDS]
    if split == "train":
        return tuple(name for name in JUDGE if name not in test) + TEACH
    return CHOOSE if split == "val" else test


def origins(split: Split, source: Source) -> set[str]:
    """Content hashes of the files that a split comes from."""
    if source.folder is None:
        return {origin(name) for name in names_of(split, source.fold)}
    return {file.sha256 for file in split_own_files(source.folder, source.fold, FOLDS)[split]}


# -- bundled ---------------------------------------------------------------------------------------------------------
@lru_cache(maxsize=64)
def _load_bundled(name: str, down: int) -> Scene:
    make = make_views if name in panoramas.PANORAMAS else make_photograph
    views = tuple(torch.from_numpy(np.array(view)) for view in made_once(make, name, down))
    number = (*CHOOSE, *JUDGE, *TEACH).index(name)
    return Scene(name, number, views, None, RARELY if name in TEACH else 1.0)


def make_photograph(name: str, down: int) -> list[np.ndarray]:
    """A photograph in linear light, shrunk."""
    return [area_mean(linear_from_srgb(photographs.srgb(name).double()), down).float().numpy()]


def make_views(name: str, down: int) -> list[np.ndarray]:
    """Views of a panorama in all directions along the horizon, each exposed by itself and clipped as a sensor clips."""
    return [exposed(view_3HW).numpy() for view_3HW in panoramas.around(name, fov=FIELD, size=VIEW // down)]


def exposed(light_3HW: Tensor) -> Tensor:
    """Light at a geometric mean of middle grey, clipped at 1."""
    return (light_3HW * grey_gain(light_3HW.mean(0), least=MIN_LIGHT)).clamp(0, 1)


# -- a user's own files ----------------------------------------------------------------------------------------------
@lru_cache(maxsize=8)
def _load_own(own_files: tuple[OwnFile, ...], down: int) -> tuple[Scene, ...]:
    return tuple(_own_scene(file.path, file.sha256, down) for file in own_files)


@lru_cache(maxsize=8)
def _check_own(folder: str, own_files: tuple[OwnFile, ...], down: int) -> None:
    """Raise ValueError that names every file that cannot be used: before a sweep, and not after it, for test files."""
    problems = []
    for file in own_files:
        try:
            _own_scene(file.path, file.sha256, down)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        listed = "\n".join(problems)
        raise ValueError(f"--data {folder}: {len(problems)} of {len(own_files)} files cannot be used:\n{listed}")


def _own_scene(path: Path, sha256: str, down: int) -> Scene:
    made = made_once(make_own, path, sha256, down)
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in made.items()}
    height, width = tensors["rgb"].shape[1:]
    if min(height, width) < MIN_SIDE:
        raise ValueError(
            f"{path}: after shrinking the picture must have at least {MIN_SIDE} pixels a side; got {width} x {height}"
        )
    return Scene(path.name, int(sha256[:8], 16), (tensors["rgb"],), tensors.get("gain"), 1.0)


def make_own(path: Path, sha256: str, down: int) -> dict[str, np.ndarray]:
    """ "rgb", a user's file in linear light, shrunk, and of a raw file "gain", its sensor's response to white.

    The content hash is there for the cache: a file that was changed is read again.
    """
    del sha256
    if is_raw(path):
        rgb_3HW, gain_3 = raf.develop(path, max(down, raf.DOWN))
        return {"rgb": rgb_3HW.numpy(), "gain": gain_3.numpy()}
    return {"rgb": area_mean(linear_from_srgb(files.read_image(path).double()), down).float().numpy()}
