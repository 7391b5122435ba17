"""Loss terms, and scores with their units.

Nothing is clipped in the loss or in psnr_lin: light above 1 counts. Shapes: B batch, 3 RGB, S pixels a side; sensor
light is linear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hpo import Columns, means
from objectives.common.colour import luma
from objectives.common.image_scores import psnr_db, ssim
from objectives.xtrans import cfa, spectrum, torture
from objectives.xtrans.data import BORDER, TILE, Batch, simulate_sensor
from objectives.xtrans.light import other_gain, per_channel, to_display
from objectives.xtrans.model import interpolate

CUT = 6  # pixels at each side of a training crop that the loss leaves out
SPACES = ("lin", "sqrt")
MAX_PATTERN_DB = 60.0  # some methods are exact on straight lines, and would dominate a mean without this limit
HIGHLIGHT = 4.0  # factor on the light for the test of highlights: two stops
WELL_ABOVE = 1.25  # times white: just above white, an error alone may fall below it
CHROMA = ((-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # Rec. ITU-R BT.601
MEANS = ("psnr_lin", "lead_db", "psnr_srgb", "ssim_srgb", "torture_psnr", "offdomain_psnr_srgb")  # over the tiles
Demosaic = Callable[[Batch], Tensor]  # to rgb_B3SS in the sensor's scale; a method does not read the target


class Weights(NamedTuple):
    """Weights of the loss terms, and the space in which they compare."""

    gradient: float = 0.1
    chroma: float = 0.05
    ssim: float = 0.0
    space: str = "lin"


# -- terms -----------------------------------------------------------------------------------------------------------
def terms(rgb: Tensor, target: Tensor, weights: Weights) -> dict[str, Tensor]:
    """The weighted terms by name, of the middle of each crop. A term with weight 0 is 0 and is not computed."""
    output = in_space(inner(rgb.float(), CUT), weights.space)
    truth = in_space(inner(target, CUT), weights.space)
    compute: dict[str, tuple[float, Callable[[], Tensor]]] = {
        "l1": (1.0, lambda: (output - truth).abs().mean()),
        "gradient": (weights.gradient, lambda: gradients(output - truth).abs().mean()),
        "chroma": (weights.chroma, lambda: high_chroma(output - truth).abs().mean()),
        "ssim": (weights.ssim, lambda: (1 - ssim(output, truth)).mean()),
    }
    zero = target.new_zeros(())
    return {name: weight * term() if weight else zero for name, (weight, term) in compute.items()}


def in_space(light: Tensor, space: str) -> Tensor:
    """Light as the loss compares it: as it is ("lin"), or its square root, which gives shadows more weight."""
    return light if space == "lin" else torch.sqrt(light.clamp(min=0) + 1e-3)


def gradients(x_B3SS: Tensor) -> Tensor:
    """Sobel / 8, across and down, where the filter fits. Linear: the gradient of a difference is the difference."""
    smooth = x_B3SS.new_tensor([1.0, 2.0, 1.0]) / 4
    slope = x_B3SS.new_tensor([-1.0, 0.0, 1.0]) / 2
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None]
    return F.conv2d(x_B3SS.flatten(0, 1)[:, None], kernels)


def high_chroma(x_B3SS: Tensor) -> Tensor:
    """Fine detail of Cb and Cr, where false colours show: each less its Gaussian mean over 5 x 5, sigma 1.25."""
    chroma = torch.einsum("kc,bcij->bkij", x_B3SS.new_tensor(CHROMA), x_B3SS).flatten(0, 1)[:, None]
    taps = torch.exp(-(torch.arange(-2.0, 3.0, device=x_B3SS.device) ** 2) / (2 * 1.25**2))
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    return inner(chroma, 2) - F.conv2d(chroma, kernel[None, None].to(x_B3SS.dtype))


# -- scores ----------------------------------------------------------------------------------------------------------
def method_columns(demosaic: Demosaic, batch: Batch, *, probes: bool) -> dict[str, Tensor]:
    """What each tile came to with a method: its scores, and what `summary` makes the scores of all tiles from.

    Crops of the overfit check are smaller: no block of the spectrum fits into them, and they carry no pattern.
    """
    output = demosaic(batch)
    columns = tile_scores(output, batch) | _error_columns(output, batch)
    if probes:
        columns |= _other_sensor_columns(batch, demosaic) | _highlight_columns(output, batch, demosaic)
    if batch.mosaic_B1SS.shape[-1] == TILE:
        columns["torture_psnr"] = pattern_scores(demosaic, carried_patterns(batch))
    return columns


def summary(columns: Columns) -> dict[str, float]:
    """The scores of tiles from their columns. Means over the tiles:

    psnr_lin         dB, linear, for a peak of 1: the goal
    lead_db          psnr_lin above what normalised convolution makes of the target's own samples
    psnr_srgb        dB, as displayed: white-balanced, clipped, sRGB
    ssim_srgb        SSIM, as displayed
    torture_psnr     dB, linear, at most 60, of a fixed pattern: each tile carries one of 26, in turn

    Scores of all tiles together, because they are ratios or look for what repeats:

    grid_even_db     how far a 6 x 6 grid stands out of the error's spectrum
    grid_odd_db      the same where no grid can be: the control
    grid_fold        the grid's own size, 1e-3 of white, RMS
    sharpness_ratio  Laplacian variance of the output over that of the target; above 1.1 is ringing

    Of a network also:

    offdomain_psnr_srgb, offdomain_grid_db   the same tiles through the other sensor, under this one's white balance
    hdr_headroom     with two stops more light: output light over true light, where the true light is above 1.25
    hdr_lost         the share of those pixels where the output is at most 1
    scale_error      how far the method is from proportional: of the worst tile
    """
    scores = means({name: column for name, column in columns.items() if name in MEANS})
    fold = columns["fold"].mean(0)
    scores["grid_fold"] = float(1e3 * (fold - fold.mean((1, 2), keepdim=True)).square().mean().sqrt())
    scores["sharpness_ratio"] = float(columns["sharpness"].sum() / columns["target_sharpness"].sum().clamp(min=1e-12))
    if "power" in columns and columns["power"].any():
        scores["grid_even_db"], scores["grid_odd_db"] = spectrum.grid_db(columns["power"].sum(0))
    if "offdomain_power" in columns and columns["offdomain_power"].any():
        scores["offdomain_grid_db"] = spectrum.grid_db(columns["offdomain_power"].sum(0))[0]
    if "scale_error" in columns:
        above = int(columns["above"].sum())
        scores["scale_error"] = float(columns["scale_error"].max())
        scores["hdr_headroom"] = float(columns["light"].sum() / columns["true_light"].sum()) if above else 1.0
        scores["hdr_lost"] = int(columns["lost"].sum()) / max(1, above)
    return scores


def tile_scores(output: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The scores of each tile, [B]."""
    rgb, target = inner(output.float(), BORDER), inner(batch.target_B3SS, BORDER)
    displayed = to_display(rgb, batch.gain_B3)
    displayed_target = to_display(target, batch.gain_B3)
    colours = cfa.masks(*batch.target_B3SS.shape[-2:]).to(target).expand_as(batch.target_B3SS)
    plain = inner(interpolate(cfa.mosaic(batch.target_B3SS), colours, "nc"), BORDER)
    linear = psnr_db(rgb, target)
    return {
        "psnr_lin": linear,
        "lead_db": linear - psnr_db(plain, target),
        "psnr_srgb": psnr_db(displayed, displayed_target),
        "ssim_srgb": ssim(displayed, displayed_target),
    }


def pattern_scores(demosaic: Demosaic, patterns: Batch) -> Tensor:
    """Linear PSNR (dB) on each pattern, [B]."""
    return tile_scores(demosaic(patterns), patterns)["psnr_lin"].clamp(max=MAX_PATTERN_DB)


def carried_patterns(batch: Batch) -> Batch:
    """The pattern that each tile carries, through the sensor of the tile, on its device."""
    return _patterns(batch.pattern_B, batch.gain_B3)


def all_patterns(like: Batch) -> Batch:
    """The 26 scored patterns as tiles, through the sensor of the batch's first tile, on its device."""
    number_B = torch.arange(len(torture.fixed(TILE)), device=like.gain_B3.device)
    return _patterns(number_B, like.gain_B3[:1].expand(len(number_B), 3))


def _patterns(number_B: Tensor, gain_B3: Tensor) -> Batch:
    patterns = simulate_sensor(torture.fixed(TILE)[number_B.cpu()], gain_B3.cpu())
    return Batch(*(field.to(gain_B3.device) for field in patterns))


def inner(x: Tensor, border: int) -> Tensor:
    """The middle: `border` pixels are cut off at each side."""
    return x[..., border:-border, border:-border]


def laplacian(x_B1SS: Tensor) -> Tensor:
    """The sum of the four neighbours less four times the pixel, where it fits."""
    middle = x_B1SS[..., 1:-1, 1:-1]
    return x_B1SS[..., 1:-1, :-2] + x_B1SS[..., 1:-1, 2:] + x_B1SS[..., :-2, 1:-1] + x_B1SS[..., 2:, 1:-1] - 4 * middle


def error_power(output: Tensor, batch: Batch) -> Tensor:
    """[B, 48, 48]: the power spectrum of each tile's error."""
    return spectrum.power(inner(output.float() - batch.target_B3SS, BORDER))


def _error_columns(output: Tensor, batch: Batch) -> dict[str, Tensor]:
    """What the error repeats, and how sharp output and target are."""
    columns = {
        "fold": spectrum.fold(inner(output.float() - batch.target_B3SS, BORDER)),
        "sharpness": _sharpness(output, batch),
        "target_sharpness": _sharpness(batch.target_B3SS, batch),
    }
    return columns | ({"power": error_power(output, batch)} if _has_block(batch) else {})


def _other_sensor_columns(batch: Batch, demosaic: Demosaic) -> dict[str, Tensor]:
    """The method on the same tiles through the other sensor, while the camera records this one's white balance.

    With the right one nothing would change for a method that balances first.
    """
    balanced = batch.target_B3SS / per_channel(batch.gain_B3)
    simulated = simulate_sensor(balanced.cpu(), other_gain(batch.gain_B3).cpu())
    other = Batch(*(field.to(balanced.device) for field in simulated))
    output = demosaic(other._replace(gain_B3=batch.gain_B3))
    columns = {"offdomain_psnr_srgb": tile_scores(output, other)["psnr_srgb"]}
    return columns | ({"offdomain_power": error_power(output, other)} if _has_block(batch) else {})


def _highlight_columns(output: Tensor, batch: Batch, demosaic: Demosaic) -> dict[str, Tensor]:
    """The method on the same tiles with more light: sums and counts of the pixels well above white."""
    bright = inner(demosaic(batch._replace(mosaic_B1SS=HIGHLIGHT * batch.mosaic_B1SS)).float(), BORDER)
    truth = HIGHLIGHT * inner(batch.target_B3SS, BORDER)
    above = truth > WELL_ABOVE
    return {
        "scale_error": (bright / HIGHLIGHT - inner(output.float(), BORDER)).abs().amax((1, 2, 3)),
        "light": torch.where(above, bright, 0).sum((1, 2, 3), dtype=torch.float64),
        "true_light": torch.where(above, truth, 0).sum((1, 2, 3), dtype=torch.float64),
        "lost": ((bright <= 1) & above).sum((1, 2, 3)),
        "above": above.sum((1, 2, 3)),
    }


def _has_block(batch: Batch) -> bool:
    """Whether a block of the spectrum fits into what is scored of a tile."""
    return batch.target_B3SS.shape[-1] - 2 * BORDER >= spectrum.BLOCK


def _sharpness(rgb: Tensor, batch: Batch) -> Tensor:
    """Laplacian variance of the displayed brightness of each tile, [B]."""
    brightness = luma(to_display(inner(rgb.float(), BORDER), batch.gain_B3))
    return laplacian(brightness).var((1, 2, 3))
