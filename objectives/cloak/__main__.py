"""python -m objectives.cloak FOLDER OUT: protect the photographs in a folder of one's own before posting them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from objectives.cloak.encoders import identity_of
from objectives.cloak.protect import Protected, Settings, protect, settings_of, write_report
from objectives.cloak.task import Cloaking
from objectives.common.perceptual import BACKENDS

SIZE = 256  # stretched from much less, noise becomes blotches
NOTE = "Measured against {judge}, which the photographs were not fitted to. It says nothing of any other encoder."


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: written; 2: bad input."""
    given = _parser().parse_args(arguments)
    try:
        return _run(given)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(given: argparse.Namespace) -> int:
    settings = settings_of(given.card) if given.card else Settings(Cloaking(size=SIZE))
    changes = {name: value for name in ("critic", "judge", "perceptual") if (value := getattr(given, name))}
    settings = replace(
        settings, task=replace(settings.task, **changes), size=given.size, steps=given.steps or settings.steps
    )
    if identity_of(settings.task.critic) == identity_of(settings.task.judge):
        raise ValueError(
            f"--judge must be another encoder than the one protected from, {settings.task.critic}: scores "
            "by the encoder that was attacked flatter"
        )
    found: list[Protected] = []
    for one in protect(given.folder, given.out, settings, device=given.device):
        if not found:
            print(f"{'photograph':30} {'match':>7} {'as JPEG':>8} {'visible':>8} {'limit':>7}")
        found.append(one)
        print(_line(one), flush=True)
    report = write_report(given.out, settings, found)
    protected = sum(one.protected for one in found)
    print(f"{protected} of {len(found)} no longer match. {NOTE.format(judge=settings.task.judge)}\n{report}")
    return 0


def _line(one: Protected) -> str:
    verdict = "protected" if one.protected else "STILL MATCHES"
    figures = f"{one.match:7.2f} {one.match_jpeg:8.2f} {one.visible:8.3f} {one.visible_limit:7.3f}"
    return f"{one.source[:30]:30} {figures}  {verdict}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m objectives.cloak", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="your own photographs")
    parser.add_argument("out", type=Path, metavar="OUT", help="where the protected ones go, as PNG; never overwrites")
    parser.add_argument("--card", type=Path, metavar="DIR", help="settings that a promotion found: runs/cloak/winner")
    parser.add_argument("--size", type=int, help=f"working size in pixels a side  [the card's, or {SIZE}]")
    parser.add_argument("--steps", type=int, help="steps for each photograph  [the card's, or 60]")
    parser.add_argument("--critic", help="encoder to protect from: tinyface or siglip:DIR")
    parser.add_argument("--judge", help="encoder to judge by: tinyface-wide or siglip:DIR")
    parser.add_argument("--perceptual", choices=BACKENDS, help="what measures the visible change")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    return parser


if __name__ == "__main__":
    sys.exit(main())
