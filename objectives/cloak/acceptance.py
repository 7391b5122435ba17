"""python -m objectives.cloak.acceptance FOLDER: does the cloak hold on these portraits, and by how much?

FOLDER holds portraits with one face each, a subfolder for each person. Every portrait is changed with both matchers
attacked, with each of them attacked and the other one judging, and by changes that use no matcher. What is measured is
the picture in 8 bits after JPEG, with the face found anew. Intervals are 95 %, over persons.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from hpo import crossed_interval, derive
from objectives.cloak.encoders import critic, separation
from objectives.cloak.matchers import MATCHERS
from objectives.cloak.own import Own, split_folder
from objectives.cloak.protect import (
    SIZE,
    ChangedFace,
    Place,
    Settings,
    Vectors,
    changed_photograph,
    measure,
    places_in,
    vectors,
)
from objectives.cloak.task import Cloaking
from objectives.common import files
from objectives.common.colour import round8

MAX_VISIBLE, MAX_BLIND, MAX_SECONDS = 0.035, 0.85, 10.0
MIN_EACH = 1.2
ATTACKS = ("dlib+sface", "dlib", "sface")
MIN_MEAN = {  # separation by (attacked, judge)
    ("dlib+sface", "dlib"): 1.5,
    ("dlib+sface", "sface"): 1.9,
    ("dlib", "sface"): 0.65,
    ("sface", "dlib"): 1.0,
}


@dataclass(frozen=True)
class Portrait:
    """A portrait, and its face as the matchers see it."""

    own: Own
    rgb_3HW: Tensor
    place: Place
    vectors: Vectors


@dataclass(frozen=True)
class Row:
    """What one way of changing came to: a value for each portrait."""

    name: str
    persons: tuple[str, ...]
    faces: tuple[ChangedFace, ...]
    seconds: tuple[float, ...]  # CPU time, without measuring

    def separations(self, encoder: str, kind: str = "original") -> np.ndarray:
        """By one matcher, without the portraits that have no such figure."""
        by_encoder = [measured for face in self.faces for measured in face.measured if measured.encoder == encoder]
        values = [getattr(measured, kind) for measured in by_encoder]
        return np.array([value for value in values if value is not None])

    @property
    def visible(self) -> np.ndarray:
        return np.array([face.visible for face in self.faces])


@dataclass(frozen=True)
class Criterion:
    """Something that must hold."""

    name: str
    seen: str
    holds: bool


def read_portraits(folder: str, settings: Settings) -> tuple[Portrait, ...]:
    """The portraits in a folder. Prints which photographs are left out, and why."""
    split = split_folder(folder, with_faces=True)
    for reason in split.left_out:
        print(f"left out: {reason}")
    return tuple(_portrait(own, settings) for own in sorted((*split.val, *split.test), key=lambda own: str(own.path)))


def attacked(portraits: Sequence[Portrait], name: str, settings: Settings) -> Row:
    """The portraits changed with these matchers attacked."""
    settings = replace(settings, task=replace(settings.task, critic=name))

    def change(portrait: Portrait) -> Tensor:
        seed = derive("protect", portrait.own.sha256)
        return changed_photograph(portrait.rgb_3HW, [portrait.place], settings, seed=seed, device="cpu")

    return _row(name, portraits, change, settings)


def blind(portraits: Sequence[Portrait], settings: Settings) -> Iterator[Row]:
    """The portraits changed by each method that uses no matcher."""
    task = replace(settings.task, visible_limit=MAX_VISIBLE)
    for name, method in task.methods().items():

        def change(portrait: Portrait, method: Callable[[Tensor], Tensor] = method) -> Tensor:
            region = portrait.place.region
            return round8(region.pasted(portrait.rgb_3HW, method(region.cut(portrait.rgb_3HW))))

        yield _row(name, portraits, change, settings)


def recognised(portraits: Sequence[Portrait]) -> Iterator[Criterion]:
    """Whether the matchers tell these persons apart, before anything is changed."""
    for name in MATCHERS:
        same: list[float] = []
        different: list[float] = []
        for a, b in combinations(portraits, 2):
            pair = same if a.own.independent == b.own.independent else different
            pair.append(float(separation(critic(name), a.vectors[name], b.vectors[name])))
        apart = float(np.mean(np.array(different) > 1)) if different else 1.0
        nearest = f", nearest {min(different):.2f}" if different else ""
        seen = f"{apart:.3f} of {len(different)}{nearest}"
        yield Criterion(f"{name}: pairs of two persons apart, 0.99 of them", seen, apart >= 0.99)
        farthest = f", farthest {max(same):.2f}" if same else ""
        yield Criterion(f"{name}: pairs of one person match", f"{len(same)}{farthest}", max(same, default=0.0) < 1)


def criteria(rows: Sequence[Row], blind_rows: Sequence[Row]) -> Iterator[Criterion]:
    """What must hold of the changed portraits."""
    by_name = {row.name: row for row in rows}
    for (attack, judge), least in MIN_MEAN.items():
        mean = float(by_name[attack].separations(judge).mean())
        yield Criterion(f"{attack} attacked, {judge}: mean at least {least}", f"{mean:.2f}", mean >= least)
    both = by_name[ATTACKS[0]]
    for judge in MATCHERS:
        worst = float(both.separations(judge).min())
        yield Criterion(f"{both.name} attacked, {judge}: each at least {MIN_EACH}", f"{worst:.2f}", worst >= MIN_EACH)
    for row in rows:
        most = float(row.visible.max())
        yield Criterion(f"{row.name}: visible change, each at most {MAX_VISIBLE}", f"{most:.3f}", most <= MAX_VISIBLE)
    most = max(float(row.separations(judge).max()) for row in blind_rows for judge in MATCHERS)
    yield Criterion(f"changes without a matcher: each at most {MAX_BLIND}", f"{most:.2f}", most <= MAX_BLIND)
    seconds = max(both.seconds)
    yield Criterion(f"CPU seconds, each at most {MAX_SECONDS:g}", f"{seconds:.1f}", seconds <= MAX_SECONDS)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: everything holds; 1: something does not; 2: bad input."""
    parser = argparse.ArgumentParser("python -m objectives.cloak.acceptance", description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", metavar="FOLDER", help="portraits with one face each, a subfolder for each person")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    settings = Settings(Cloaking(critic=ATTACKS[0], size=SIZE))
    try:
        portraits = read_portraits(options.folder, settings)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{len(portraits)} portraits of {len({portrait.own.independent for portrait in portraits})} persons")
    print(HEADER)
    rows, blind_rows = [], []
    for name in ATTACKS:
        rows.append(attacked(portraits, name, settings))
        print(_line(rows[-1]), flush=True)
    for row in blind(portraits, settings):
        blind_rows.append(row)
        print(_line(row), flush=True)
    verdicts = [*recognised(portraits), *criteria(rows, blind_rows)]
    for verdict in verdicts:
        print(f"{'holds' if verdict.holds else 'FAILS'}  {verdict.name}: {verdict.seen}")
    return 0 if all(verdict.holds for verdict in verdicts) else 1


HEADER = (
    "| changed by | visible mean / worst | "
    + " | ".join(f"{name}: mean over portraits [95 % over persons], worst, no longer matched" for name in MATCHERS)
    + " | "
    + " | ".join(f"{name}: nearest other, before -> after" for name in MATCHERS)
    + " | CPU s |"
)


def _line(row: Row) -> str:
    cells = [row.name, f"{row.visible.mean():.3f} / {row.visible.max():.3f}"]
    for name in MATCHERS:
        values = row.separations(name)
        unmatched = f"{(values > 1).sum()} of {len(values)}"
        cells.append(f"{_with_interval(values, row.persons)}, {values.min():.2f}, {unmatched}")
    for name in MATCHERS:
        before, after = row.separations(name, "others_before"), row.separations(name, "others")
        cells.append(f"{before.mean():.2f} -> {after.mean():.2f}" if len(after) else "none")
    cells.append(f"{np.mean(row.seconds):.1f}")
    return f"| {' | '.join(cells)} |"


def _with_interval(values: np.ndarray, persons: Sequence[str]) -> str:
    """The mean over portraits, and a 95 % interval of Student's t over the persons' means."""
    means = [values[[person == each for each in persons]].mean() for person in dict.fromkeys(persons)]
    if len(means) < 2:
        return f"{values.mean():.2f}"
    interval = crossed_interval(np.array([means]))
    return f"{values.mean():.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _row(name: str, portraits: Sequence[Portrait], change: Callable[[Portrait], Tensor], settings: Settings) -> Row:
    faces, seconds = [], []
    for portrait in portraits:
        start = time.process_time()
        image = change(portrait)
        seconds.append(time.process_time() - start)
        others = [
            other.vectors
            for other in portraits
            if other.own.person == portrait.own.person and other.own.sha256 != portrait.own.sha256
        ]
        faces.append(measure(portrait.rgb_3HW, image, portrait.place, others, settings))
    persons = tuple(portrait.own.independent for portrait in portraits)
    return Row(name, persons, tuple(faces), tuple(seconds))


def _portrait(own: Own, settings: Settings) -> Portrait:
    photo = files.read_image(own.path)
    place = places_in(photo, settings)[0]
    return Portrait(own, photo, place, vectors(photo, place.points_52, settings))


if __name__ == "__main__":
    sys.exit(main())
