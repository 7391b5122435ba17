"""The photographs that ship inside installed packages, by name, each pinned by the sha256 of its file.

Nothing is downloaded: a file that is missing or differs is an error that names it. Shapes: rgb_3HW, float32.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from torch import Tensor

from objectives.common.colour import linear_from_srgb
from objectives.common.files import read_image
from objectives.common.packaged import PackagedFile

PHOTOGRAPHS = {
    "astronaut": PackagedFile(
        "skimage",
        "data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "public domain (NASA)",
    ),
    "chelsea": PackagedFile(
        "skimage", "data/chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb", "CC0"
    ),
    "coffee": PackagedFile(
        "skimage", "data/coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7", "CC0"
    ),
    "rocket": PackagedFile(
        "skimage",
        "data/rocket.jpg",
        "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        "public domain (SpaceX)",
    ),
    "hubble": PackagedFile(
        "skimage",
        "data/hubble_deep_field.jpg",
        "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
        "public domain (NASA)",
    ),
    "retina": PackagedFile(
        "skimage", "data/retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6", "CC0"
    ),
    "ihc": PackagedFile(
        "skimage",
        "data/ihc.png",
        "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
        "no known restrictions",
    ),
    "motorcycle": PackagedFile(
        "skimage",
        "data/motorcycle_left.png",
        "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
        "Middlebury 2014 stereo data; no licence stated: read it where it is installed, do not redistribute",
    ),
    "china": PackagedFile(
        "sklearn",
        "datasets/images/china.jpg",
        "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29",
        "CC BY 2.0, by danielbuechele (flickr.com/photos/danielbuechele/6061409035)",
    ),
    "flower": PackagedFile(
        "sklearn",
        "datasets/images/flower.jpg",
        "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638",
        "CC BY 2.0, by vultilion (flickr.com/photos/vultilion/6056698931)",
    ),
}


def path_of(name: str) -> Path:
    """The file of a photograph.

    Raises ValueError for an unknown name, a package that is not installed, and a file that is missing or whose content
    is not the pinned one.
    """
    if name not in PHOTOGRAPHS:
        raise ValueError(f"unknown photograph {name!r}; known: {', '.join(PHOTOGRAPHS)}")
    return PHOTOGRAPHS[name].checked(f"photograph {name!r}")


def srgb(name: str) -> Tensor:
    """A photograph in its sRGB encoding, rgb_3HW in [0, 1]. The tensor is shared: do not change it in place."""
    return _srgb(name)


def linear(name: str) -> Tensor:
    """A photograph as linear light, rgb_3HW in [0, 1]."""
    return linear_from_srgb(srgb(name))


def origin(name: str) -> str:
    """Content hash of a photograph, for `Task.origins`."""
    path_of(name)
    return PHOTOGRAPHS[name].sha256


@cache
def _srgb(name: str) -> Tensor:
    return read_image(path_of(name))
