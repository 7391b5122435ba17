"""Scores without a reference, on pictures whose faults are planted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from objectives.xtrans import XTrans, cfa, dng, raf, reference_free
from objectives.xtrans.light import RAW, per_channel
from objectives.xtrans.scenes import Source, load_scenes
from tests.objectives.exported import exported


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

    assert reference_free.remosaic_db(right(flat[:1]), right) == 100.0
    decibels = []
    for down, across in reference_free.SHIFTS:
        shifted = _grid(60, 0.02)[:, down:, across:]
        error = (shifted - _grid(60, 0.02)[:, : 60 - down, : 60 - across])[:, 12:-12, 12:-12]
        decibels.append(float(-10 * torch.log10(error.square().mean())))
    assert reference_free.remosaic_db(with_grid(flat[:1]), with_grid) == pytest.approx(sum(decibels) / 4, abs=1e-3)


def test_a_blurred_picture_is_less_sharp() -> None:
    picture = _noise()
    blurred = torch.nn.functional.avg_pool2d(picture[None], 3, stride=1, padding=1)[0]
    assert reference_free.sharpness(blurred) < 0.5 * reference_free.sharpness(picture)


def test_samples_that_were_changed_are_measured() -> None:
    """Closed form: 0.03 more light at every pixel is an error of 0.03."""
    picture = _noise()
    mosaic = cfa.mosaic(picture[None])[0]
    assert reference_free.sample_error(picture, mosaic) == 0.0
    assert reference_free.sample_error(picture + 0.03, mosaic) == pytest.approx(0.03, rel=1e-4)


@pytest.mark.skipif(not raf.installed(), reason="LibRaw is NOT tested: pip install 'hpo[raw]'")
def test_the_command_scores_every_raw_file_by_both_methods(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(reference_free, "SIDE", 96)
    raws = tmp_path / "raws"
    raws.mkdir()
    view_3HW = load_scenes("val", Source())[0].views_3HW[0][:, :129, :129]
    light = view_3HW.repeat(1, 4, 4) * per_channel(torch.tensor(RAW))
    codes = (cfa.mosaic(light[None])[0, 0] * 65535).round().numpy()
    dng.write(raws / "a.dng", codes, neutral=RAW)
    reference_free.main([str(exported(tmp_path / "winner", XTrans())), str(raws)])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:2] for row in rows] == [["a.dng", "network"], ["a.dng", "Markesteijn"]]
    assert all(float(row[2]) > 20 for row in rows)
