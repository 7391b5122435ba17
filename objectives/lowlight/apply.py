"""Brighten a user's own photographs with an exported network; reads PNG, JPEG, BMP or TIFF, and writes PNG.

    python -m objectives.lowlight.apply runs/lowlight/winner PHOTOGRAPHS OUT

Each picture is brightened as a whole and keeps its size: the network's result depends on the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image

from hpo import load_winner
from objectives.common.colour import as_uint8
from objectives.common.command import work
from objectives.common.files import image_files, png_for_each, read_image
from objectives.lowlight.task import LowLight


@torch.no_grad()
def apply(winner: Path, folder: Path, into: Path) -> Iterator[Path]:
    """Brighten every picture directly in `folder`, and yield the path of each file that is written.

    Raises ValueError naming the file or folder, before anything is written, for a file that cannot be read, for the
    export of another task, and if a file would be overwritten.
    """
    model = load_winner(winner, LowLight).model
    outputs = png_for_each(image_files(folder), into)
    for path in outputs:
        read_image(path)  # raises before anything is written
    into.mkdir(parents=True, exist_ok=True)
    for path, output in outputs.items():
        brightened_3HW = model(read_image(path)[None]).enhanced_B3HW[0]
        Image.fromarray(as_uint8(brightened_3HW).permute(1, 2, 0).numpy()).save(output)
        yield output


def main(arguments: Sequence[str] | None = None) -> None:
    files = ("photographs", "a folder of dark pictures")
    out = "the folder for NAME.png; it is made if needed"
    work("objectives.lowlight.apply", __doc__.splitlines()[0], files, out, apply, arguments)


if __name__ == "__main__":
    main()
