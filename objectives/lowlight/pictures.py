"""Pictures for the report: whole views that were not trained on, with the best classical method and the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hpo import Picture, generator
from objectives.common.colour import round8, srgb_from_linear
from objectives.common.crops import shrunk
from objectives.common.pictures import evenly_spaced, pixels
from objectives.common.rivals import NETWORK
from objectives.lowlight import loss
from objectives.lowlight.baseline import Enhance
from objectives.lowlight.camera import darken
from objectives.lowlight.data import read_pair
from objectives.lowlight.pairs import Pair
from objectives.lowlight.scenes import NUMBERS, views

LONGEST = 448  # pixels of the longer side of a picture
MOST_PAIRS = 12  # of a user's pairs, evenly spaced


class View(NamedTuple):
    """A whole view, dark and bright, sRGB-encoded."""

    title: str
    low_3HW: Tensor
    high_3HW: Tensor


def views_of_scenes(numbers: Sequence[int]) -> Iterator[View]:
    """Every view of the scenes with these numbers: five of a panorama, and the whole photograph."""
    names = {number: name for name, number in NUMBERS.items()}
    for name in (names[number] for number in numbers):
        shown = views(name)
        for index, light_3HW in enumerate(shown):
            light_3HW = shrunk(light_3HW, LONGEST)
            low_3HW = darken(light_3HW[None], generator("lowlight", "pictures", name, index))[0]
            title = f"{name}, view {index + 1} of {len(shown)}" if len(shown) > 1 else name
            yield View(title, low_3HW, round8(srgb_from_linear(light_3HW.clamp(0, 1))))


def views_of_pairs(pairs: Sequence[Pair]) -> Iterator[View]:
    """The middle of up to MOST_PAIRS of a user's pairs, at their own resolution: shrinking would remove the noise."""
    for pair in (pairs[row] for row in evenly_spaced(len(pairs), MOST_PAIRS)):
        both_6HW = read_pair(pair)
        height, width = both_6HW.shape[-2:]
        top, left = max(0, (height - LONGEST) // 2), max(0, (width - LONGEST) // 2)
        middle_6HW = both_6HW[:, top : top + LONGEST, left : left + LONGEST]
        yield View(pair.high.name, middle_6HW[:3], middle_6HW[3:])


def drawn(model: nn.Module, shown: Sequence[View], rival: str, enhance: Enhance) -> Iterator[Picture]:
    """The best, the median and the worst of the views by the network's score. `enhance` is the best classical method,
    and `rival` its name."""
    made = [_enhanced(model, view.low_3HW) for view in shown]
    scores = [_scores(made_3HW, view.high_3HW)["score"] for made_3HW, view in zip(made, shown, strict=True)]
    ranked = sorted(range(len(shown)), key=lambda row: -scores[row])
    places = {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}
    for place, row in places.items():
        view = shown[row]
        panels = {
            "input": view.low_3HW,
            rival: enhance(view.low_3HW, view.high_3HW),
            NETWORK: made[row],
            "target": view.high_3HW,
        }
        quality = [_quality(name, panel, view.high_3HW) for name, panel in panels.items() if name != "target"]
        yield Picture(
            title=f"{view.title}: the {place} of {len(shown)} views by the network's score",
            panels={name: pixels(panel) for name, panel in panels.items()},
            caption="; ".join(quality),
        )


def _enhanced(model: nn.Module, low_3HW: Tensor) -> Tensor:
    device = next(model.parameters()).device
    with torch.no_grad():
        enhanced: Tensor = model(low_3HW[None].to(device)).enhanced_B3HW[0].float().cpu()
    return enhanced


def _scores(rgb_3HW: Tensor, target_3HW: Tensor) -> dict[str, float]:
    scores = loss.image_scores(rgb_3HW[None], target_3HW[None], "pged")
    return {name: float(score) for name, score in scores.items()}


def _quality(name: str, rgb_3HW: Tensor, target_3HW: Tensor) -> str:
    scores = _scores(rgb_3HW, target_3HW)
    return f"{name}: score {scores['score']:.1f}, {scores['psnr_db']:.1f} dB"
