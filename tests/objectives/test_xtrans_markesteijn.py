"""Markesteijn's demosaicing: what is exact in closed form, and how near it comes to LibRaw's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from objectives.common.image_scores import psnr_db
from objectives.xtrans import cfa, markesteijn, raf
from objectives.xtrans.model import interpolate
from objectives.xtrans.scenes import Source, load_scenes

SIDE = 516  # LibRaw refuses smaller frames
needs_raw = pytest.mark.skipif(not raf.installed(), reason="LibRaw is NOT tested: pip install 'hpo[raw]'")


@pytest.fixture(scope="module")
def frame() -> Tensor:
    """A photograph, mirrored to the size of a frame."""
    rgb = next(scene for scene in load_scenes("val", Source()) if scene.name == "coffee").views_3HW[0][:, :172, :258]
    wide = torch.cat([rgb, rgb.flip(-1)], -1)
    return torch.cat([wide, wide.flip(-2), wide], -2)


def _psnr(rgb_3HW: Tensor, target_3HW: Tensor) -> float:
    inside = (slice(None), slice(12, -12), slice(12, -12))
    return float(psnr_db(rgb_3HW[inside][None], target_3HW[inside][None]))


@pytest.mark.parametrize("passes", [1, 3])
def test_flat_light_comes_back_and_so_does_grey_that_changes_evenly(passes: int) -> None:
    """Closed forms: interpolation along every direction is exact on both."""
    flat = torch.tensor([0.2, 0.7, 0.4]).view(1, 3, 1, 1).expand(1, 3, 50, 53)
    assert torch.allclose(markesteijn.demosaic(cfa.mosaic(flat), passes), flat, atol=1e-5)
    ramp = torch.linspace(0.1, 0.9, 60).expand(1, 3, 48, 60)
    made = markesteijn.demosaic(cfa.mosaic(ramp), passes)
    assert torch.allclose(made[..., 12:-12, 12:-12], ramp[..., 12:-12, 12:-12], atol=2e-3)


@pytest.mark.parametrize("passes", [1, 3])
def test_samples_are_kept_and_four_times_the_light_gives_four_times_the_picture(passes: int) -> None:
    rgb = torch.rand(2, 3, 47, 53, generator=torch.Generator().manual_seed(0))
    made = markesteijn.demosaic(cfa.mosaic(rgb), passes)
    measured = cfa.masks(47, 53).expand_as(rgb) > 0.5
    assert torch.equal(made[measured], rgb[measured])
    assert torch.equal(markesteijn.demosaic(4 * cfa.mosaic(rgb), passes), 4 * made)


def test_an_edge_of_grey_stays_grey_where_plain_interpolation_colours_it() -> None:
    """A slanted edge: the directions along it find no change. Judged by how far the colours of a pixel lie apart."""
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(60.0), indexing="ij")
    edge = (0.1 + 0.8 * torch.sigmoid(columns - rows)).expand(1, 3, 60, 60)
    mosaic = cfa.mosaic(edge)

    def colour(rgb: Tensor) -> float:
        return float((rgb.amax(1) - rgb.amin(1))[..., 12:-12, 12:-12].max())

    plain = colour(interpolate(mosaic, cfa.masks(60, 60)[None], "nc"))
    assert colour(markesteijn.demosaic(mosaic, 3)) < plain / 3


@needs_raw
@pytest.mark.parametrize("passes", [1, 3])
def test_a_photograph_is_as_near_the_truth_as_libraw_makes_it(passes: int, frame: Tensor) -> None:
    """Judge: LibRaw's own Markesteijn. It weighs changes in CIELab, so the pictures are near and not equal."""
    theirs = raf.run_libraw(cfa.mosaic(frame)[0], f"markesteijn {passes}")
    ours = markesteijn.demosaic(cfa.mosaic(frame[None]), passes)[0]
    assert _psnr(ours, frame) == pytest.approx(_psnr(theirs, frame), abs=0.4)
    assert _psnr(ours, theirs) > _psnr(theirs, frame) + 4
