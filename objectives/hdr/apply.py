"""Fill a user's frames with an exported network: EXR in, EXR out.

    python -m objectives.hdr.apply runs/hdr/winner FRAMES OUT

FRAMES holds the folders warp and hole (frames.py names their variants); OUT gets one filled-NUMBER.exr a frame, 32-bit
float, in the light's own scale. Outside holes, and the ring that the network may touch around them, it is as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hpo.trial.artifact import load_winner
from objectives.common.command import work
from objectives.hdr.data import Batch, log_light
from objectives.hdr.files import write_light
from objectives.hdr.fill import filled
from objectives.hdr.frames import Sight, frame_files, look
from objectives.hdr.task import HDR, predicted


@torch.no_grad()
def filled_frame(task: HDR, model: nn.Module, sight: Sight) -> Tensor:
    """The whole frame with its holes filled, rgb_3HW, at least 0, in the scale that it had in its file."""
    warped, hole = sight.warped_3HW[None], sight.hole_1HW[None]
    unknown = torch.zeros(1, 3, *hole.shape[-2:])  # no layers, no motion
    base_log = filled(task.base, log_light(warped), ~hole)
    out = predicted(model, Batch(warped, hole.float(), unknown[:, :1], unknown[:, 1:], base_log, warped))
    return out.light_B3HW[0].clamp(min=0) / sight.gain


def apply(winner: Path, folder: Path, into: Path) -> Iterator[Path]:
    """Fill every frame that has a warped file and a hole file, and yield what was written.

    Raises ValueError naming the folder or the file that is at fault, where the exported task is another one, and where
    a file would be overwritten.
    """
    task, model = load_winner(winner, HDR)
    files = frame_files(folder, ("warp", "hole"))
    numbers = sorted(set(files["warp"]) & set(files["hole"]))
    if not numbers:
        raise ValueError(f"{folder}: no warped file shares its number with a hole file")
    written = {number: into / f"filled-{number:04d}.exr" for number in numbers}
    there = [path for path in written.values() if path.exists()]
    if there:
        raise ValueError(f"{there[0]} is there already, and nothing is overwritten; name another folder")
    into.mkdir(parents=True, exist_ok=True)
    for number, path in written.items():
        write_light(path, filled_frame(task, model, look(files["warp"][number], files["hole"][number], None)))
        yield path


def main(arguments: Sequence[str] | None = None) -> None:
    files = ("frames", "a folder that holds warp and hole")
    work("objectives.hdr.apply", __doc__.splitlines()[0], files, "where filled-NUMBER.exr go", apply, arguments)


if __name__ == "__main__":
    main()
