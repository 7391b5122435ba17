"""Render frames with a path tracer, and write them as files that a study trains on.

    python -m objectives.hdr.render OUT

OUT gets the folders train, val and test, each with the folders warp, ref, hole, occluder and motion (frames.py). Each
of the three has panoramas of its own, and twelve scenes of four frames. It needs mitsuba and the panoramas.

    hpo run hdr --data OUT                                            trains on them, and judges by them
    python -m objectives.hdr.apply runs/hdr/winner OUT/test FILLED    fills the holes of the test frames
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from hpo import made_once
from objectives.common.light import write_light
from objectives.hdr.frames import SPLITS
from objectives.hdr.rendered import FRAMES, scene_frames
from objectives.hdr.splits import MIN_SIZE, lights
from objectives.hdr.warp import MOTION_UNIT, Frame


def render(out: Path, *, scenes: int, size: int) -> Iterator[str]:
    """Write the frames of `scenes` scenes for each split, and yield a line about each scene.

    OUT is there only when it is whole; a scene that was rendered before on this machine is not rendered again. Raises
    ValueError if OUT exists, for a size or a number of scenes that is too small, and where mitsuba or the panoramas are
    not installed.
    """
    if out.exists():
        raise ValueError(f"{out} is there already and is not overwritten; name another folder")
    if size < MIN_SIZE or scenes < 1:
        raise ValueError(f"--size must be at least {MIN_SIZE} and --scenes at least 1; got {size} and {scenes}")
    unfinished = out.with_name(out.name + ".unfinished")
    for split in SPLITS:
        names = lights(split, fold=0)
        for scene in range(scenes):
            panorama = names[scene % len(names)]
            arrays = made_once(scene_frames, panorama, scene // len(names), size)
            for place in range(FRAMES):
                frame = Frame(*(torch.from_numpy(np.array(arrays[field][place])) for field in Frame._fields))
                write_frame(unfinished / split, f"scene{scene:03d}-{scene * FRAMES + place:04d}", frame)
            yield f"{split}: scene {scene:03d} under {panorama}"
    unfinished.rename(out)


def write_frame(folder: Path, name: str, frame: Frame) -> None:
    """Write a frame as OpenEXR files of that name, one in each of the folders warp, ref, hole, occluder and motion."""
    moved_2SS = frame.motion_2SS * MOTION_UNIT
    pictures = {
        "warp": frame.warped_3SS,
        "ref": frame.target_3SS,
        "hole": frame.hole_1SS.float().expand(3, -1, -1),
        "occluder": frame.occluder_1SS.float().expand(3, -1, -1),
        "motion": torch.cat([moved_2SS, torch.zeros_like(moved_2SS[:1])]),
    }
    for kind, picture_3SS in pictures.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        write_light(folder / kind / f"{name}.exr", picture_3SS)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m objectives.hdr.render", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="the folder for train, val and test; it must not exist")
    parser.add_argument("--scenes", type=int, default=12, help="scenes for each of the three (12)")
    parser.add_argument("--size", type=int, default=64, help="pixels a side (64)")
    options = parser.parse_args(arguments)
    try:
        for line in render(options.out, scenes=options.scenes, size=options.size):
            print(line, flush=True)
    except (ValueError, OSError) as error:
        raise SystemExit(f"{parser.prog}: {error}") from None


if __name__ == "__main__":
    main()
