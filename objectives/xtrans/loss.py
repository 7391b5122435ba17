"""Loss terms, and scores with their units.

Nothing is clipped in the loss or in psnr_lin: light above 1 counts. Shapes: B batch, 3 RGB, S pixels a side; sensor
light is linear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import luma
from objectives.common.image_scores import psnr_db, ssim
from objectives.xtrans import spectrum, torture
from objectives.xtrans.data import BORDER, TILE, Batch, simulate_sensor
from objectives.xtrans.light import other_gain, per_channel, to_display
from objectives.xtrans.model import interpolate

CUT = 6  # pixels at each side of a training crop that the loss leaves out
SPACES = ("lin", "sqrt")
PATTERNS_EACH = 2  # scored patterns of each kind
MAX_PATTERN_DB = 60.0  # some methods are exact on straight lines, and would dominate a mean without this limit
HIGHLIGHT = 4.0  # factor on the light for the test of highlights: two stops
WELL_ABOVE = 1.25  # times white: just above white, an error alone may fall below it
CHROMA = ((-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # Rec. ITU-R BT.601
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
def score_method(demosaic: Demosaic, batches: Iterable[Batch], *, probes: bool) -> dict[str, float]:
    """Scores of a method on tiles, of which only the middle counts. Means over the tiles:

    psnr_lin         dB, linear, for a peak of 1: the goal
    lead_db          psnr_lin above that of normalised convolution on the same tile
    psnr_srgb        dB, as displayed: white-balanced, clipped, sRGB
    ssim_srgb        SSIM, as displayed

    Scores of all tiles together, because they are ratios or look for what repeats:

    grid_even_db     how far a 6 x 6 grid stands out of the error's spectrum
    grid_odd_db      the same where no grid can be: the control
    grid_fold        the grid's own size, 1e-3 of white, RMS
    sharpness_ratio  Laplacian variance of the output over that of the target; above 1.1 is ringing
    torture_psnr     dB, linear, each at most 60, a mean over 26 fixed patterns

    With `probes` also:

    offdomain_psnr_srgb, offdomain_grid_db   the same tiles through the other sensor
    hdr_headroom     with two stops more light: output light over true light, where the true light is above 1.25
    hdr_lost         the share of those pixels where the output is at most 1
    scale_error      how far the method is from proportional
    """
    batches = list(batches)
    tally = _Tally()
    for batch in batches:
        output = demosaic(batch)
        tally.add(output, batch)
        if probes:
            tally.probe(output, batch, demosaic)
    if batches[0].mosaic_B1SS.shape[-1] != TILE:
        return tally.scores()  # crops of the overfit check
    return tally.scores() | {"torture_psnr": pattern_scores(demosaic, batches[0]).mean().item()}


def tile_scores(output: Tensor, batch: Batch) -> dict[str, Tensor]:
    """The scores of each tile, [B]."""
    rgb, target = inner(output.float(), BORDER), inner(batch.target_B3SS, BORDER)
    displayed = to_display(rgb, batch.gain_B3)
    displayed_target = to_display(target, batch.gain_B3)
    plain = inner(interpolate(batch.mosaic_B1SS, batch.cfa_B3SS, "nc"), BORDER)
    linear = psnr_db(rgb, target)
    return {
        "psnr_lin": linear,
        "lead_db": linear - psnr_db(plain, target),
        "psnr_srgb": psnr_db(displayed, displayed_target),
        "ssim_srgb": ssim(displayed, displayed_target),
    }


def pattern_scores(demosaic: Demosaic, like: Batch) -> Tensor:
    """Linear PSNR (dB) on each fixed pattern, [26], through the sensor of the batch's first tile."""
    patterns = pattern_batch(like)
    return tile_scores(demosaic(patterns), patterns)["psnr_lin"].clamp(max=MAX_PATTERN_DB)


def pattern_batch(like: Batch) -> Batch:
    """The fixed patterns as tiles, through the sensor of the batch's first tile, on its device."""
    rgb = torture.fixed(TILE, PATTERNS_EACH)
    patterns = simulate_sensor(rgb, like.gain_B3[:1].cpu().expand(len(rgb), 3))
    return Batch(*(field.to(like.target_B3SS) for field in patterns))


def inner(x: Tensor, border: int) -> Tensor:
    """The middle: `border` pixels are cut off at each side."""
    return x[..., border:-border, border:-border]


def laplacian(x_B1SS: Tensor) -> Tensor:
    """The sum of the four neighbours less four times the pixel, where it fits."""
    middle = x_B1SS[..., 1:-1, 1:-1]
    return x_B1SS[..., 1:-1, :-2] + x_B1SS[..., 1:-1, 2:] + x_B1SS[..., :-2, 1:-1] + x_B1SS[..., 2:, 1:-1] - 4 * middle


class _Tally:
    """Sums over tiles, from which the scores are made."""

    def __init__(self) -> None:
        self.tiles: dict[str, list[Tensor]] = {}
        self.power = torch.zeros((), dtype=torch.float64)
        self.offdomain_power = torch.zeros((), dtype=torch.float64)
        self.fold = torch.zeros((), dtype=torch.float64)
        self.sums: defaultdict[str, float] = defaultdict(float)
        self.scale_error = 0.0

    def add(self, output: Tensor, batch: Batch) -> None:
        """Add the output for a batch of tiles."""
        self._keep(tile_scores(output, batch))
        error = inner(output.float() - batch.target_B3SS, BORDER).cpu()
        self.power = self.power + spectrum.power(error)
        self.fold = self.fold + spectrum.fold(error).sum(0)
        self._add_sums(
            {
                "sharpness": _sharpness(output, batch),
                "target_sharpness": _sharpness(batch.target_B3SS, batch),
                "count": len(output),
            }
        )

    def probe(self, output: Tensor, batch: Batch, demosaic: Demosaic) -> None:
        """Run the method on the same tiles through the other sensor, and with more light."""
        self._probe_other_sensor(batch, demosaic)
        self._probe_highlights(output, batch, demosaic)

    def _probe_other_sensor(self, batch: Batch, demosaic: Demosaic) -> None:
        balanced = batch.target_B3SS / per_channel(batch.gain_B3)
        gain = other_gain(batch.gain_B3)
        other = Batch(*(field.to(balanced) for field in simulate_sensor(balanced.cpu(), gain.cpu())))
        output = demosaic(other)
        self._keep({"offdomain_psnr_srgb": tile_scores(output, other)["psnr_srgb"]})
        error = inner(output.float() - other.target_B3SS, BORDER).cpu()
        self.offdomain_power = self.offdomain_power + spectrum.power(error)

    def _probe_highlights(self, output: Tensor, batch: Batch, demosaic: Demosaic) -> None:
        bright = inner(demosaic(batch._replace(mosaic_B1SS=HIGHLIGHT * batch.mosaic_B1SS)).float(), BORDER)
        truth = HIGHLIGHT * inner(batch.target_B3SS, BORDER)
        difference = (bright / HIGHLIGHT - inner(output.float(), BORDER)).abs().max()
        self.scale_error = max(self.scale_error, float(difference))
        above = truth > WELL_ABOVE
        self._add_sums(
            {
                "light": float(bright[above].sum()),
                "true_light": float(truth[above].sum()),
                "lost": int((bright[above] <= 1).sum()),
                "above": int(above.sum()),
                "probed": len(output),
            }
        )

    def scores(self) -> dict[str, float]:
        """Scores whose tiles are too small, or that were not probed for, are left out."""
        scores = {name: float(torch.cat(parts).double().mean()) for name, parts in self.tiles.items()}
        sums = self.sums
        if self.power.any():  # a block of the spectrum fits into a tile
            scores["grid_even_db"], scores["grid_odd_db"] = spectrum.grid_db(self.power)
        fold = self.fold / sums["count"]
        scores["grid_fold"] = float(1e3 * (fold - fold.mean((1, 2), keepdim=True)).square().mean().sqrt())
        scores["sharpness_ratio"] = sums["sharpness"] / max(1e-12, sums["target_sharpness"])
        if sums["probed"]:
            if self.offdomain_power.any():
                scores["offdomain_grid_db"] = spectrum.grid_db(self.offdomain_power)[0]
            scores["scale_error"] = self.scale_error
            scores["hdr_headroom"] = sums["light"] / sums["true_light"] if sums["above"] else 1.0
            scores["hdr_lost"] = sums["lost"] / max(1, sums["above"])
        return scores

    def _keep(self, scores: Mapping[str, Tensor]) -> None:
        for name, values in scores.items():
            self.tiles.setdefault(name, []).append(values.cpu())

    def _add_sums(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.sums[name] += value


def _sharpness(rgb: Tensor, batch: Batch) -> float:
    """Laplacian variance of the displayed brightness, summed over the tiles."""
    brightness = luma(to_display(inner(rgb.float(), BORDER), batch.gain_B3))
    return float(laplacian(brightness).var((1, 2, 3)).sum())
