"""A user's own photographs as the data of a study.

A subfolder holds the photographs of one person, and a folder without subfolders those of one person, the user. For face
matchers a photograph must hold exactly one face; the others are left out, and named.

Shapes: N photographs, 3 RGB, S pixels a side of a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from objectives.cloak.data import Part, Photographs, checked_size, frame_of
from objectives.cloak.faces import FaceCount, Framed, the_face
from objectives.common import files
from objectives.common.colour import as_uint8
from objectives.common.crops import resized

TEST_SHARE = 0.5  # of the photographs, or of the persons


@dataclass(frozen=True)
class Own:
    """One photograph of the user's."""

    path: Path
    sha256: str
    person: str  # the subfolder; "" where all photographs are in one folder

    @property
    def independent(self) -> str:
        """Equal for photographs that are no independent examples: those of a person, or where there is one, copies."""
        return self.person or self.sha256


@dataclass(frozen=True)
class Split:
    """A folder's photographs by part, and those that are left out."""

    val: tuple[Own, ...]
    test: tuple[Own, ...]
    left_out: tuple[str, ...]  # name and reason


def load_own(folder: str, part: Part, size: int, count: int, *, with_faces: bool = False) -> Photographs:
    """`count` of the user's photographs of a part. Where there are fewer, they repeat, each with its own start.

    Raises ValueError with what is wrong with the folder or a file in it.
    """
    split = split_folder(folder, with_faces=with_faces)
    photographs = split.val if part == "val" else split.test
    return read_photographs(tuple(photographs[index % len(photographs)] for index in range(count)), size, with_faces)


def split_folder(folder: str, *, with_faces: bool = False) -> Split:
    """A user's photographs by part.

    A hash of the content decides, so a new file moves no other file, and copies of a file are in one part. With
    subfolders a hash of a person's files decides, and all photographs of a person are in one part.

    Raises ValueError where there are fewer than two different photographs, or persons, that can be used.
    """
    photographs, left_out = _usable(_different(Path(folder)), with_faces)
    groups: dict[str, list[Own]] = {}
    for photograph in photographs:
        groups.setdefault(photograph.independent, []).append(photograph)
    if len(groups) < 2:
        reasons = f"; left out: {'; '.join(left_out)}" if left_out else ""
        raise ValueError(
            f"--data {folder} must hold at least 2 different photographs, one for validation and one for test, or 2 "
            f"subfolders with photographs; got {len(groups)}{reasons}"
        )
    ordered = sorted(groups.values(), key=lambda group: min(photograph.sha256 for photograph in group))
    firsts = [min(photograph.sha256 for photograph in group) for group in ordered]
    test_count = sum(int(sha256[:8], 16) < TEST_SHARE * 2**32 for sha256 in firsts)
    test_count = min(max(1, test_count), len(ordered) - 1)
    test, val = ordered[:test_count], ordered[test_count:]
    return Split(_flat(val), _flat(test), left_out)


def read_photographs(photographs: tuple[Own, ...], size: int, with_faces: bool) -> Photographs:
    """The photographs: framed around the face, or squeezed to a square, as an encoder of whole photographs does."""
    return _read(photographs, checked_size(size), with_faces)


@lru_cache(maxsize=4)
def _usable(photographs: tuple[Own, ...], with_faces: bool) -> tuple[tuple[Own, ...], tuple[str, ...]]:
    """The photographs that can be used, and why the others cannot."""
    usable: list[Own] = []
    left_out: list[str] = []
    for photograph in photographs:
        try:
            if with_faces:
                the_face(files.read_image(photograph.path), photograph.path.name)
            usable.append(photograph)
        except FaceCount as reason:
            left_out.append(str(reason))
    return tuple(usable), tuple(left_out)


def _different(folder: Path) -> tuple[Own, ...]:
    """One photograph for each content in a folder and its subfolders."""
    paths = files.image_files(folder)
    persons = {path: path.relative_to(folder).parts[0] if path.parent != folder else "" for path in paths}
    several = len(set(persons.values())) > 1
    by_hash: dict[str, Own] = {}
    for path, person in persons.items():
        sha256 = files.content_hash([path])
        by_hash.setdefault(sha256, Own(path, sha256, person if several else ""))
    return tuple(by_hash.values())


@lru_cache(maxsize=4)
def _read(photographs: tuple[Own, ...], size: int, with_faces: bool) -> Photographs:
    frames = {photograph: _frame(photograph, size, with_faces) for photograph in dict.fromkeys(photographs)}
    return Photographs(
        torch.stack([as_uint8(frames[photograph].rgb_3SS) for photograph in photographs]),
        torch.stack([frames[photograph].points_52 for photograph in photographs]),
        tuple(photograph.path.name for photograph in photographs),
        tuple(photograph.sha256 for photograph in photographs),
        tuple(photograph.person for photograph in photographs),
        tuple(photograph.independent for photograph in photographs),
    )


def _frame(photograph: Own, size: int, with_faces: bool) -> Framed:
    image = files.read_image(photograph.path)
    if with_faces:
        return frame_of(the_face(image, photograph.path.name).points_52, image, size)
    return Framed(resized(image, size), torch.zeros(5, 2))


def _flat(groups: Sequence[Sequence[Own]]) -> tuple[Own, ...]:
    return tuple(photograph for group in groups for photograph in group)
