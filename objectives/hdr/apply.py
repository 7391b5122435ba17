"""Fill the holes of a user's frames with an exported network; writes EXR files.

    python -m objectives.hdr.apply runs/hdr/winner FRAMES OUT

FRAMES holds the folders warp and hole, and where they are known occluder and motion (frames.py lists other names for
them). Without the last two a frame is filled as one whose layers are not known. OUT gets one filled-NUMBER.exr per
frame, 32-bit float, in the scale and with the windows of the input. Outside the holes and a narrow ring around them the
light is unchanged, bit by bit, and so is negative light everywhere but in holes.

Nothing is overwritten; a run that was stopped goes on with the same command.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hpo import load_winner
from objectives.common.command import settings_of, work
from objectives.common.folder import Job, Result, carry_out
from objectives.common.light import write_light
from objectives.hdr.data import Batch, fills
from objectives.hdr.frames import frame_files, layer_files
from objectives.hdr.listing import NEEDED, plan_frames
from objectives.hdr.model import predict
from objectives.hdr.reading import ScaledFrame, read_frame
from objectives.hdr.task import HDR


@torch.no_grad()
def filled_frame(task: HDR, model: nn.Module, frame: ScaledFrame) -> Tensor:
    """The whole frame with filled holes, rgb_3HW, in the scale of its file."""
    warped, hole, occluder = (field[None] for field in (frame.warped_3HW, frame.hole_1HW, frame.occluder_1HW))
    base_log, plain_log = fills(task.base, warped, hole, occluder)
    batch = Batch(
        warped_B3SS=warped,
        hole_B1SS=hole.float(),
        occluder_B1SS=occluder.float(),
        motion_B2SS=frame.motion_2HW[None],
        base_log_B3SS=base_log,
        plain_log_B3SS=plain_log,
        target_B3SS=warped,  # unknown, and never read
        source_B=torch.zeros(1, dtype=torch.int64),
        rendered_B=torch.ones(1, dtype=torch.int64),
    )
    made = predict(model, batch)
    light_3HW = made.light_B3HW[0].clamp(min=0) / frame.gain
    is_changed_3HW = frame.hole_1HW | ((made.weight_B1HW[0] > 0) & (frame.light_3HW >= 0))
    return torch.where(is_changed_3HW, light_3HW, frame.light_3HW)


def apply(winner: Path, folder: Path, into: Path) -> Iterator[Result]:
    """Fill every frame that has a warped file and a hole file: what is skipped, then what became of each frame.

    A frame that cannot be read, or has no hole, fails by itself. Raises ValueError naming the folder or file, before
    anything is written, for the export of another task, folders without a frame, and if a file would be overwritten.
    """
    task, model = load_winner(winner, HDR)
    files = frame_files(folder, NEEDED)

    def make(job: Job, output: Path) -> None:
        number = int(job.name)
        frame = read_frame(files["warp"][number], files["hole"][number], None, layer_files(files, number))
        write_light(output, filled_frame(task, model, frame), frame.windows)

    yield from carry_out(plan_frames(folder, files, into), settings_of("hdr.apply", winner), make)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every frame is filled; 1: some are not, and are named; 130: stopped by Ctrl-C."""
    files = ("frames", "a folder that holds the folders warp and hole")
    out = "the folder for filled-NUMBER.exr; it is made if needed"
    return work("objectives.hdr.apply", __doc__.splitlines()[0], files, out, apply, arguments)


if __name__ == "__main__":
    sys.exit(main())
