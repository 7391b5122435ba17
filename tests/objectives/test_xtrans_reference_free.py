"""Scores without a reference, on pictures whose faults are planted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from objectives.common.colour import srgb_from_linear
from objectives.xtrans import cfa, reference_free
from objectives.xtrans.light import RAW, per_channel
from objectives.xtrans.scenes import Source, load_scenes

GAIN = torch.tensor(RAW)
ONES = torch.ones(3)


def _noise(side: int = 120) -> Tensor:
    return 0.5 + 0.01 * torch.randn(3, side, side, generator=torch.Generator().manual_seed(0))


def _grid(side: int, amplitude: float) -> Tensor:
    """Locked to the colour that each pixel measures."""
    masks = cfa.masks(side, side)
    return amplitude * (masks - masks.mean((1, 2), keepdim=True))


def test_a_planted_grid_is_found_and_the_control_stays_quiet() -> None:
    clean, control = reference_free.grid_db(_noise())
    planted, planted_control = reference_free.grid_db(_noise() + _grid(120, 0.01))
    assert abs(clean) < 2
    assert planted > 10
    assert abs(control) < 2
    assert abs(planted_control) < 2


def test_a_method_that_finds_the_scene_agrees_with_itself_and_one_that_adds_a_grid_does_not() -> None:
    """Planted: a method that knows the flat light, and one that adds a grid to it. The second picture has its grid at
    another phase, so the disagreement is the difference of the two grids, in closed form."""
    flat = torch.full((3, 60, 60), 0.5)

    def right(mosaic_1HW: Tensor) -> Tensor:
        return flat[:, : mosaic_1HW.shape[1], : mosaic_1HW.shape[2]]

    def with_grid(mosaic_1HW: Tensor) -> Tensor:
        return right(mosaic_1HW) + _grid(60, 0.02)[:, : mosaic_1HW.shape[1], : mosaic_1HW.shape[2]]

    assert reference_free.remosaic_db(right(flat[:1]), right, ONES) == 100.0
    decibels = []
    for down, across in reference_free.SHIFTS:
        first, second = _grid(60, 0.02)[:, down:, across:], _grid(60, 0.02)[:, : 60 - down, : 60 - across]
        error = srgb_from_linear(0.5 + first) - srgb_from_linear(0.5 + second)
        decibels.append(float(-10 * torch.log10(error[:, 12:-12, 12:-12].square().mean())))
    assert reference_free.remosaic_db(with_grid(flat[:1]), with_grid, ONES) == pytest.approx(
        sum(decibels) / 4, abs=1e-3
    )


def test_a_blurred_picture_is_less_sharp() -> None:
    picture = _noise()
    blurred = torch.nn.functional.avg_pool2d(picture[None], 3, stride=1, padding=1)[0]
    assert reference_free.sharpness(blurred, ONES) < 0.5 * reference_free.sharpness(picture, ONES)


def test_samples_that_were_changed_are_measured() -> None:
    """Closed form: 0.03 more light at every pixel is an error of 0.03."""
    picture = _noise()
    mosaic = cfa.mosaic(picture[None])[0]
    assert reference_free.sample_error(picture, mosaic) == 0.0
    assert reference_free.sample_error(picture + 0.03, mosaic) == pytest.approx(0.03, rel=1e-4)


def test_markesteijn_has_more_grid_and_agrees_less_with_itself_than_the_truth() -> None:
    """Judge: the true picture, as a method that knows it. Through a sensor of unequal gains."""
    truth = load_scenes("val", Source())[0].views_3HW[0][:, :144, :144] * per_channel(GAIN)
    mosaic = cfa.mosaic(truth[None])[0]
    scores = reference_free.score(reference_free.markesteijn(GAIN), mosaic, GAIN)
    assert 25 < scores.remosaic_db < 60
    assert scores.sample_error < 1e-6
    assert abs(scores.grid_odd_db) < 2.5
    assert scores.sharpness < reference_free.sharpness(truth, GAIN)


def test_the_middle_of_a_sensor_begins_at_a_tile() -> None:
    """Planted: each pixel knows its place."""
    places = torch.arange(1000.0)[:, None].expand(1000, 900)[None]
    cut = reference_free.middle(places)
    assert cut.shape == (1, 768, 768)
    assert int(cut[0, 0, 0]) % 6 == 0
    assert torch.equal(reference_free.middle(places[:, :90, :90]), places[:, :90, :90])
