"""A user's own frames: the folders, the files of each frame, and the split of each frame.

The folder holds three folders: the light warped from the frame before (warp, warped, warp_hole), the rendered light
(ref, target, gt) and the holes (hole, holes, mask, bistro/correct). Two more are read where they are there: where the
foreground landed (occluder, foreground: a mask), and how far each pixel moved to its place (motion, mv, velocity: to
the right in the first channel, down in the second one, in pixels). Files of one frame share the last whole number in
their names: warped_hole-0012.exr, ref-0012.exr, hole-0012.exr. What stands before that number in the name of the
rendered file names the sequence.

The frames are split into blocks of consecutive numbers, because a frame and the next one are nearly the same; from 20
frames on, one frame is left out between two blocks. A folder that holds the folders train, val and test is split so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from hpo import Split
from objectives.common.data_folder import names_in, require_folder
from objectives.common.files import content_hash
from objectives.common.light import MASK_SUFFIXES, SUFFIXES

FOLDERS = {
    "warp": ("warp", "warped", "warp_hole"),
    "ref": ("ref", "target", "gt"),
    "hole": ("hole", "holes", "mask", "bistro/correct"),
}
LAYERS = {"occluder": ("occluder", "foreground"), "motion": ("motion", "mv", "velocity")}  # may be missing
SPLITS: tuple[Split, ...] = ("train", "val", "test")
HELD_OUT = 0.15  # share of the frames, at least one, for val and again for test
GAP_FROM = 20  # frames: a shorter sequence has none to leave out between two blocks
SHOWN = 5  # numbers of incomplete frames that are listed
_NUMBER = re.compile(r"\d+")


class LayerFiles(NamedTuple):
    """The files of what a renderer knows of a frame beside its light; None for what is not known."""

    occluder: Path | None = None
    motion: Path | None = None


NOT_KNOWN = LayerFiles()


class FrameFiles(NamedTuple):
    """The files of one frame, with hashes of their content: new content makes new examples."""

    number: int
    warp: Path
    ref: Path
    hole: Path
    layers: LayerFiles
    sequence: int  # frames of one sequence have the same number
    ref_sha256: str
    rest_sha256: str  # of the other files


@dataclass(frozen=True)
class FrameSequence:
    """A user's frames, in order, split into blocks."""

    train: tuple[FrameFiles, ...]
    val: tuple[FrameFiles, ...]
    test: tuple[FrameFiles, ...]
    incomplete: tuple[int, ...]  # numbers of the frames that lack a file

    def of(self, split: Split) -> tuple[FrameFiles, ...]:
        """The frames of a split."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    def __str__(self) -> str:
        counts = f"{len(self.train)} train, {len(self.val)} val and {len(self.test)} test frames"
        if not self.incomplete:
            return counts
        numbers = ", ".join(str(number) for number in self.incomplete[:SHOWN])
        more = ", ..." if len(self.incomplete) > SHOWN else ""
        return f"{counts}; incomplete: {numbers}{more}"


def read_sequence(folder: str | Path) -> FrameSequence:
    """The frames in a folder.

    Raises ValueError naming the folder and the cause: a folder that is missing, a number that two files share, fewer
    than three complete frames, or a split without one.
    """
    return _read_sequence(str(Path(folder).resolve()))


def frame_files(folder: Path, kinds: Iterable[str] = tuple(FOLDERS)) -> dict[str, dict[int, Path]]:
    """Kind -> number -> file; also for each kind of LAYERS whose folder is there.

    Raises ValueError naming the folder that is missing or holds no such file.
    """
    require_folder(folder)
    known = [kind for kind, names in LAYERS.items() if any((folder / name).is_dir() for name in names)]
    return {kind: _numbered_files(_child(folder, kind), _suffixes(kind)) for kind in (*kinds, *known)}


def layer_files(files: Mapping[str, Mapping[int, Path]], number: int) -> LayerFiles:
    """What `frame_files` has of a frame's layers and motion."""
    return LayerFiles(*(files.get(kind, {}).get(number) for kind in LAYERS))


@lru_cache(maxsize=4)
def _read_sequence(folder: str) -> FrameSequence:
    if all((Path(folder) / split).is_dir() for split in SPLITS):
        return _split_by_user(Path(folder))
    frames, incomplete = _complete_frames(Path(folder), at_least=3, use="for train, val and test")
    held_out = max(1, round(HELD_OUT * len(frames)))
    gap = 1 if len(frames) >= GAP_FROM else 0
    val_start = len(frames) - 2 * held_out
    test_start = len(frames) - held_out
    return FrameSequence(
        train=frames[: val_start - gap],
        val=frames[val_start : test_start - gap],
        test=frames[test_start:],
        incomplete=incomplete,
    )


def _split_by_user(folder: Path) -> FrameSequence:
    parts = {split: _complete_frames(folder / split, at_least=1, use=f"for {split}") for split in SPLITS}
    frames = {split: part[0] for split, part in parts.items()}
    return FrameSequence(**frames, incomplete=tuple(number for part in parts.values() for number in part[1]))


def _complete_frames(folder: Path, *, at_least: int, use: str) -> tuple[tuple[FrameFiles, ...], tuple[int, ...]]:
    """The frames that have all their files, and the numbers of those that lack one."""
    files = frame_files(folder)
    numbers = [set(numbered) for numbered in files.values()]
    complete = sorted(set.intersection(*numbers))
    incomplete = sorted(set.union(*numbers) - set(complete))
    if len(complete) < at_least:
        raise ValueError(
            f"--data {folder} must hold at least {_count_of(at_least)}, {use}; got {len(complete)}"
            f" ({len(incomplete)} others lack one of {', '.join(files)})"
        )
    names = {number: _sequence_name(files["ref"][number]) for number in complete}
    sequences = sorted(set(names.values()))
    frames = (_hashed(number, files, sequences.index(names[number])) for number in complete)
    return tuple(frames), tuple(incomplete)


def _count_of(frames: int) -> str:
    return "1 complete frame" if frames == 1 else f"{frames} complete frames"


def _hashed(number: int, files: Mapping[str, Mapping[int, Path]], sequence: int) -> FrameFiles:
    warp, ref, hole = (files[kind][number] for kind in ("warp", "ref", "hole"))
    layers = layer_files(files, number)
    rest = [warp, hole, *(path for path in layers if path is not None)]
    return FrameFiles(number, warp, ref, hole, layers, sequence, content_hash([ref]), content_hash(rest))


def _sequence_name(ref: Path) -> str:
    """What stands before the last number in the name of a file: "shot3-" of shot3-0012.exr."""
    return ref.stem[: list(_NUMBER.finditer(ref.stem))[-1].start()]


def _suffixes(kind: str) -> frozenset[str]:
    return MASK_SUFFIXES if kind in ("hole", "occluder") else SUFFIXES


def _child(root: Path, kind: str) -> Path:
    choices = (FOLDERS | LAYERS)[kind]
    for name in choices:
        if (root / name).is_dir():
            return root / name
    raise ValueError(f"--data {root} must hold a folder {' or '.join(choices)}; found: {names_in(root)}")


def _numbered_files(folder: Path, suffixes: frozenset[str]) -> dict[int, Path]:
    files: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        numbers = _NUMBER.findall(path.stem)
        is_hidden = path.name.startswith(".")  # as the companion of a file that macOS writes beside it
        if path.suffix.lower() not in suffixes or not numbers or is_hidden:
            continue
        first = files.setdefault(int(numbers[-1]), path)
        if first != path:
            raise ValueError(f"{folder}: {first.name} and {path.name} have the same number")
    if not files:
        raise ValueError(f"{folder} holds no file with a number in its name that ends in {', '.join(sorted(suffixes))}")
    return files
