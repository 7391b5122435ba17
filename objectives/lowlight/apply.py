"""Brighten a user's own photographs with an exported network: any pictures that files.py reads, written as PNG.

    python -m objectives.lowlight.apply runs/lowlight/winner PHOTOGRAPHS OUT

Each picture keeps its size. Subfolders are mirrored in OUT, nothing is overwritten, and a run that was stopped goes on
with the same command.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from hpo import load_winner
from objectives.common.command import settings_of, work
from objectives.common.files import read_image, write_png
from objectives.common.folder import Job, Result, carry_out, plan_folder
from objectives.common.listing import why_not_picture
from objectives.lowlight.model import CurveBlendNet
from objectives.lowlight.task import LowLight
from objectives.lowlight.tiles import brighten


def apply(winner: Path, folder: Path, into: Path) -> Iterator[Result]:
    """Brighten every picture in `folder` and its subfolders: what is skipped, then what became of each picture.

    Raises ValueError naming the file or folder, before anything is written, for the export of another task, a folder
    without a picture, and if a file would be overwritten.
    """
    model = cast(CurveBlendNet, load_winner(winner, LowLight).model)
    plan = plan_folder(folder, into, why_not_picture)

    def make(job: Job, output: Path) -> None:
        write_png(brighten(model, read_image(job.inputs[0])), output)

    yield from carry_out(plan, settings_of("lowlight.apply", winner), make)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: every picture is brightened; 1: some are not, and are named; 130: stopped by Ctrl-C."""
    files = ("photographs", "a folder of dark pictures")
    out = "the folder for NAME.png; it is made if needed"
    return work("objectives.lowlight.apply", __doc__.splitlines()[0], files, out, apply, arguments)


if __name__ == "__main__":
    sys.exit(main())
