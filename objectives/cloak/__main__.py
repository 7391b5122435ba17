"""python -m objectives.cloak FOLDER OUT: change photographs of your own, so that face matchers no longer match them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from objectives.cloak.encoders import TINY, names_in
from objectives.cloak.matchers import MATCHERS
from objectives.cloak.own_folder import protect, write_report
from objectives.cloak.protect import SIZE, STEPS, Settings, load_settings
from objectives.cloak.task import Cloaking
from objectives.common.command import follow, printable
from objectives.common.folder import Made
from objectives.common.perceptual import BACKENDS

SUMMARY = "Change photographs of your own before you post them, so that face matchers no longer match them."
BOTH = "+".join(MATCHERS)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: all photographs are written; 1: some are not, and are named; 2: bad input; 130: Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except (ValueError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    settings = _settings(options)
    ending = follow(protect(options.folder, options.out, settings, device=options.device), _line)
    if ending.made:
        print(conclusion([face for made in ending.made for face in made.facts["faces"]], settings))
        print(write_report(options.out, settings, ending.made))
    if ending.exit_code:
        print("The photographs that are named as failed or skipped, and those that were not reached, are NOT changed.")
    return ending.exit_code


def _settings(options: argparse.Namespace) -> Settings:
    """The settings of the card or the defaults, with the options that were given. Raises ValueError for bad ones."""
    settings = load_settings(options.card) if options.card else Settings(Cloaking(critic=BOTH, size=SIZE))
    given = {name: getattr(options, name) for name in ("critic", "judge", "perceptual", "size")}
    given = {name: value for name, value in given.items() if value}
    if settings.task.with_faces:  # a study attacks one of them and asks the other; here the other is attacked too
        given = {"critic": BOTH, "size": SIZE} | given
    if given.get("critic") in TINY:
        given = {"judge": next(name for name in TINY if name != given["critic"])} | given
    task = replace(settings.task, **given)
    if not task.with_faces and task.judge in names_in(task.critic):
        raise ValueError(
            f"--judge must be another encoder than the critic, {task.critic}: scores by the encoder that was attacked "
            "are too good"
        )
    return replace(settings, task=task, steps=options.steps or settings.steps)


def _line(made: Made) -> str:
    """A line for each face."""
    faces = made.facts["faces"]
    lines = []
    for number, face in enumerate(faces, 1):
        which = f" face {number} of {len(faces)}" if len(faces) > 1 else ""
        by_encoder = "  ".join(_separations(measured) for measured in face["measured"])
        lost = "" if face["found_again"] else "  (the detector no longer finds the face)"
        lines.append(f"{made.job.name}{which}: visible {face['visible']:.3f}  {by_encoder}  {_verdict(face)}{lost}")
    return "\n".join(lines)


def _separations(measured: Mapping[str, Any]) -> str:
    others = ""
    if measured["others"] is not None:
        others = f" (others {measured['others_before']:.2f} -> {measured['others']:.2f})"
    return f"{measured['encoder']} {measured['original']:.2f}{others}"


def _verdict(face: Mapping[str, Any]) -> str:
    unmatched = [measured["encoder"] for measured in face["measured"] if not _matches(measured)]
    still = [measured["encoder"] for measured in face["measured"] if _matches(measured)]
    if not still:
        return f"no longer matched by {', '.join(unmatched)}"
    return f"STILL MATCHED by {', '.join(still)}"


def _matches(measured: Mapping[str, Any]) -> bool:
    return measured["original"] <= 1 or (measured["others"] is not None and measured["others"] <= 1)


def conclusion(faces: Sequence[Mapping[str, Any]], settings: Settings) -> str:
    """What the figures say, and what they do not say."""
    encoders = " or ".join(settings.encoders)
    unmatched = sum(not any(_matches(measured) for measured in face["measured"]) for face in faces)
    attacked = names_in(settings.task.critic)
    unseen = [name for name in settings.encoders if name not in attacked]
    if unseen:
        about = f"{' and '.join(unseen)} was not attacked, and so stands for a matcher that was not tried."
    else:
        about = f"{' and '.join(attacked)} were attacked, so no unseen judge is left."
    return (
        "Separations are after JPEG, in units of each matcher's threshold: above 1 it does not match.\n"
        f"{unmatched} of {len(faces)} faces are no longer matched by {encoders}. {about} "
        "Another matcher may still match them."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m objectives.cloak", description=SUMMARY)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="your own photographs, one person a folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="where the PNG files go; no file is ever overwritten")
    parser.add_argument("--card", type=Path, metavar="DIR", help="take the settings of a winner: runs/cloak/winner")
    parser.add_argument("--size", type=int, help=f"working size in pixels a side  [{SIZE} for face matchers]")
    parser.add_argument("--steps", type=int, help=f"steps for each face  [the card's, or {STEPS}]")
    parser.add_argument("--critic", help=f"the encoders to attack: dlib, sface, {BOTH}, tinyface, siglip:DIR  [{BOTH}]")
    parser.add_argument("--judge", help="with tinyface or siglip:DIR: the encoder that measures, such as tinyface-wide")
    parser.add_argument("--perceptual", choices=BACKENDS, help="what measures the visible change")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    return parser


if __name__ == "__main__":
    sys.exit(main())
