"""Brighten a user's own photographs with an exported network: PNG, JPEG, BMP or TIFF in, PNG out.

    python -m objectives.lowlight.apply runs/lowlight/winner PHOTOGRAPHS OUT

Each picture is brightened whole and at its own size: what the network does depends on the picture as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from hpo.trial.artifact import load_winner
from objectives.common.colour import as_uint8
from objectives.common.command import work
from objectives.common.files import image_files, png_for_each, read_image
from objectives.lowlight.task import LowLight


@torch.no_grad()
def apply(winner: Path, folder: Path, into: Path) -> Iterator[Path]:
    """Brighten every picture directly in `folder`, and yield what was written.

    Raises ValueError naming the file or folder that is at fault, before anything is written where one cannot be read or
    a file would be overwritten.
    """
    model = load_winner(winner, LowLight).model
    written = png_for_each(image_files(folder), into)
    for path in written:
        read_image(path)  # what cannot be read is told before anything is written
    into.mkdir(parents=True, exist_ok=True)
    for path, to in written.items():
        brightened_3HW = model(read_image(path)[None]).enhanced_B3HW[0]
        Image.fromarray(as_uint8(brightened_3HW).permute(1, 2, 0).numpy()).save(to)
        yield to


def main(arguments: Sequence[str] | None = None) -> None:
    files = ("photographs", "a folder of dark pictures")
    work("objectives.lowlight.apply", __doc__.splitlines()[0], files, "where NAME.png go", apply, arguments)


if __name__ == "__main__":
    main()
