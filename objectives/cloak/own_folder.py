"""Change the photographs in a folder of one's own, one after another.

The output is PNG, so the file holds exactly the pixels that were measured, and nothing else of the original file: no
EXIF, no place, no date, no thumbnail. The photographs in one folder are taken for those of one person: each is also
measured against the others, which is what a site may hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hpo import derive, write_json
from objectives.cloak.encoders import encoder_identity, names_in
from objectives.cloak.faces import FaceCount, the_face
from objectives.cloak.protect import Settings, Vectors, changed_photograph, measure, places_in, vectors
from objectives.common import files
from objectives.common.colour import as_uint8
from objectives.common.folder import Job, Made, Result, carry_out, plan_folder
from objectives.common.listing import why_not_picture
from objectives.common.record import RECORD

REPORT = "report.json"


@dataclass(frozen=True)
class Known:
    """A photograph of the person as a site may hold it: its content, and its face as vectors of the encoders."""

    sha256: str
    vectors: Vectors


def protect(folder: Path, out: Path, settings: Settings, *, device: str = "auto") -> Iterator[Result]:
    """Change every photograph in `folder` and its subfolders, and write it to `out`, one at a time.

    The facts of each output are what encoders make of each of its faces. A photograph without a face is not written:
    its job fails. Raises ValueError where nothing in the folder can be read, or `out` holds outputs of other settings.
    """
    plan = plan_folder(folder, out, why_not_picture)
    if (out / REPORT).exists() and not (out / RECORD).exists():
        raise ValueError(f"{out / REPORT} is there already and is not overwritten; name another folder")
    by_folder: dict[Path, list[Path]] = {}
    for job in plan.jobs:
        by_folder.setdefault(job.inputs[0].parent, []).append(job.inputs[0])

    @cache
    def known(path: Path) -> Known | None:
        return _known(path, settings)

    def make(job: Job, path: Path) -> Mapping[str, Any]:
        source = job.inputs[0]
        siblings = [known(other) for other in by_folder[source.parent] if other != source]
        return _make(source, path, [sibling for sibling in siblings if sibling], settings, device)

    return carry_out(plan, _recorded(settings), make)


def seed_of(path: Path) -> int:
    """The seed of a photograph's change, which depends on its content alone."""
    return derive("protect", files.content_hash([path]))


def write_report(out: Path, settings: Settings, made: Sequence[Made]) -> Path:
    """Write the settings and every photograph's figures beside the photographs, as JSON, and return the path."""
    path = out / REPORT
    photographs = [
        {"source": result.job.name, "written": str(result.output.relative_to(out)), **result.facts} for result in made
    ]
    write_json(path, {"settings": _recorded(settings), "encoders": settings.encoders, "photographs": photographs})
    return path


def _make(source: Path, path: Path, siblings: list[Known], settings: Settings, device: str) -> Mapping[str, Any]:
    original = files.read_image(source)
    places = places_in(original, settings)
    sha256 = files.content_hash([source])
    written = changed_photograph(original, places, settings, seed=seed_of(source), device=device)
    files.write_png(as_uint8(written), path)
    others = [sibling.vectors for sibling in siblings if sibling.sha256 != sha256] if len(places) == 1 else []
    read_back = files.read_image(path)
    faces = [measure(original, read_back, place, others, settings) for place in places]
    largest = float((written - original).abs().max() * 255)  # of any pixel, in levels of 255, the warp included
    return {
        "pixels": [original.shape[2], original.shape[1]],
        "largest_change": largest,
        "faces": [asdict(face) for face in faces],
    }


def _known(path: Path, settings: Settings) -> Known | None:
    """The photograph, if it can be read and holds exactly one face. Encoders of whole photographs know no persons."""
    if not settings.task.with_faces:
        return None
    try:
        photo = files.read_image(path)
        points_52 = the_face(photo, path.name).points_52
    except FaceCount:
        return None
    except ValueError:  # its own job says what is wrong with it
        return None
    return Known(files.content_hash([path]), vectors(photo, points_52, settings))


def _recorded(settings: Settings) -> Mapping[str, Any]:
    """What the outputs depend on beside the photographs."""
    critics = [encoder_identity(name) for name in names_in(settings.task.critic)]
    task = {f"task.{name}": value for name, value in asdict(settings.task).items()}
    recipe = {f"recipe.{name}": value for name, value in asdict(settings.recipe).items()}
    return {"command": "cloak", **task, **recipe, "steps": settings.steps, "critics": critics}
