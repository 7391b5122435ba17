"""Sixteen scenes and three textures in linear light, and the split that each belongs to.

Six scenes are photographs that ship inside scikit-image and scikit-learn, ten are panoramas of real light, of which
views are taken. Four scenes always choose, and the other twelve judge in turn: a fold tests on two of them and trains
on the other ten. So an interval over the folds speaks of scenes. The textures add colours to training alone.

Shapes: rgb_3HW, linear light; 1 is white in the picture in good light, and what is brighter is kept.
"""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor

from hpo import Split
from objectives.common import panoramas, photographs
from objectives.common.colour import luma
from objectives.common.exposure import grey_gain
from objectives.common.panoramas import PANORAMAS

EVERYDAY = ("astronaut", "chelsea", "china", "coffee", "flower", "rocket")
TEXTURES = ("hubble", "ihc", "retina")
VALIDATION = ("coffee", "chelsea", "lebombo", "potsdamer_platz")  # two photographs, a room and a street
TEST = (  # of each fold
    ("china", "venice_sunset"),
    ("rocket", "st_fagans_interior"),
    ("astronaut", "forest_slope"),
    ("flower", "empty_warehouse_01"),
    ("kiara_1_dawn", "studio_small_03"),
    ("rooitou_park", "dikhololo_night"),
)
SCENES = (*EVERYDAY, *PANORAMAS)
NUMBERS = {name: number for number, name in enumerate((*SCENES, *TEXTURES))}

FOV = 75.0  # degrees: about what a telephone's main camera sees
VIEW_SIZE = 224  # pixels a side: as many as the panorama has over FOV
DARKEST = 1e-4  # share of the view's mean below which the luminance of a pixel counts as this


def scenes_of(split: Split, fold: int) -> tuple[str, ...]:
    """Names of the scenes, and for training of the textures, of a split. Raises ValueError for an unknown fold."""
    if not 0 <= fold < len(TEST):
        raise ValueError(f"task.fold must be 0 to {len(TEST) - 1}; got {fold!r}")
    if split == "val":
        return VALIDATION
    if split == "test":
        return TEST[fold]
    return (*(name for name in SCENES if name not in (*VALIDATION, *TEST[fold])), *TEXTURES)


@lru_cache(maxsize=4)
def views(name: str) -> tuple[Tensor, ...]:
    """The views of a scene: five of a panorama, and the whole photograph. Do not change them in place.

    Raises ValueError that names what is missing, where the file of a scene is not installed.
    """
    if name not in PANORAMAS:
        return (photographs.linear(name),)
    return tuple(map(exposed, panoramas.around(name, fov=FOV, size=VIEW_SIZE)))


def exposed(light_3HW: Tensor) -> Tensor:
    """The view as bright as a camera would make it: the geometric mean of its luminance is middle grey."""
    luminance = luma(light_3HW)
    return light_3HW * grey_gain(luminance, least=DARKEST * float(luminance.mean()))
