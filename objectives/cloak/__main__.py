"""python -m objectives.cloak FOLDER OUT: protect the photographs in a folder of your own before you post them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from objectives.cloak.encoders import encoder_identity
from objectives.cloak.protect import Protected, Settings, load_settings, protect, protected_of, write_report
from objectives.cloak.task import Cloaking
from objectives.common.command import follow, printable
from objectives.common.folder import Made
from objectives.common.perceptual import BACKENDS

SIZE = 256  # from a much smaller working size, stretched noise shows as blotches
SUMMARY = "Protect the photographs in a folder of your own before you post them."


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
    print(f"{'photograph':30} {'match':>7} {'as JPEG':>8} {'visible':>8} {'limit':>7}")
    ending = follow(protect(options.folder, options.out, settings, device=options.device), _line)
    if ending.made:
        _report(options.out, settings, [protected_of(made) for made in ending.made])
    if ending.exit_code:
        print("The photographs that are named as failed or skipped, and those that were not reached, are NOT changed.")
    return ending.exit_code


def _report(out: Path, settings: Settings, results: list[Protected]) -> None:
    report = write_report(out, settings, results)
    protected = sum(result.protected for result in results)
    print(f"{protected} of {len(results)} no longer match the original.")
    print(
        f"The match was measured by {settings.task.judge}, which was not attacked. This says nothing about any other "
        "encoder."
    )
    print(report)


def _settings(options: argparse.Namespace) -> Settings:
    """The settings of the card or the defaults, with the options that were given. Raises ValueError for bad ones."""
    settings = load_settings(options.card) if options.card else Settings(Cloaking(size=SIZE))
    given = {name: getattr(options, name) for name in ("critic", "judge", "perceptual")}
    task = replace(settings.task, **{name: value for name, value in given.items() if value})
    if encoder_identity(task.critic) == encoder_identity(task.judge):
        raise ValueError(
            f"--judge must be another encoder than the critic, {task.critic}: scores by the encoder that was attacked "
            "are too good"
        )
    return replace(settings, task=task, size=options.size, steps=options.steps or settings.steps)


def _line(made: Made) -> str:
    result = protected_of(made)
    verdict = "protected" if result.protected else "STILL MATCHES"
    figures = f"{result.match:7.2f} {result.match_jpeg:8.2f} {result.visible:8.3f} {result.visible_limit:7.3f}"
    return f"{result.source[:30]:30} {figures}  {verdict}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m objectives.cloak", description=SUMMARY)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="your own photographs")
    parser.add_argument("out", type=Path, metavar="OUT", help="where the PNG files go; no file is ever overwritten")
    parser.add_argument("--card", type=Path, metavar="DIR", help="take the settings of a winner: runs/cloak/winner")
    parser.add_argument("--size", type=int, help=f"working size in pixels a side  [the card's, or {SIZE}]")
    parser.add_argument("--steps", type=int, help="steps for each photograph  [the card's, or 60]")
    parser.add_argument("--critic", help="the encoder to protect from: tinyface or siglip:DIR")
    parser.add_argument("--judge", help="the encoder that measures the match: tinyface-wide or siglip:DIR")
    parser.add_argument("--perceptual", choices=BACKENDS, help="what measures the visible change")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    return parser


if __name__ == "__main__":
    sys.exit(main())
