"""Loss terms, and scores with their units.

Nothing is clipped in the loss or in psnr_lin: light above 1 counts. Shapes: B batch, 3 RGB, S pixels a side; sensor
light is linear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from objectives.common.colour import luma
from objectives.common.image_scores import psnr_db, ssim
from objectives.xtrans import spectrum, torture
from objectives.xtrans.data import BORDER, TILE, Batch, seen_through
from objectives.xtrans.light import other_gain, seen, spread
from objectives.xtrans.model import interpolated

CUT = 6  # pixels at each side of a training crop that are not learned from
SPACES = ("lin", "sqrt")
EACH_TORTURE = 2  # patterns of each kind
TORTURE_DB = 60.0  # at most: some methods are exact on straight lines, and a mean would be made of that
HIGHLIGHT = 4.0  # times the light, to see what becomes of highlights: two stops
WELL_ABOVE = 1.25  # white: just above it an error alone may fall below
CHROMA = ((-0.169, -0.331, 0.5), (0.5, -0.419, -0.081))  # Rec. ITU-R BT.601
Demosaic = Callable[[Batch], Tensor]  # to rgb_B3SS in the sensor's scale; it looks at the target only to be scored


class Weights(NamedTuple):
    """Of the loss terms, and the space that they compare in."""

    gradient: float = 0.1
    chroma: float = 0.05
    ssim: float = 0.0
    space: str = "lin"


# -- terms -----------------------------------------------------------------------------------------------------------
def terms(rgb: Tensor, target: Tensor, weights: Weights) -> dict[str, Tensor]:
    """The weighted terms by name, of the middle of each crop. One whose weight is 0 is a zero that was not computed."""
    made, wanted = (compared(inner(x, CUT), weights.space) for x in (rgb.float(), target))
    compute: dict[str, tuple[float, Callable[[], Tensor]]] = {
        "l1": (1.0, lambda: (made - wanted).abs().mean()),
        "gradient": (weights.gradient, lambda: gradients(made - wanted).abs().mean()),
        "chroma": (weights.chroma, lambda: high_chroma(made - wanted).abs().mean()),
        "ssim": (weights.ssim, lambda: (1 - ssim(made, wanted)).mean()),
    }
    return {name: weight * of() if weight else target.new_zeros(()) for name, (weight, of) in compute.items()}


def compared(light: Tensor, space: str) -> Tensor:
    """Light as the loss sees it: as it is, or its root, where shadows count for more."""
    return light if space == "lin" else torch.sqrt(light.clamp(min=0) + 1e-3)


def gradients(x_B3SS: Tensor) -> Tensor:
    """Sobel / 8, across and down, where it fits. Linear: of a difference it is the difference."""
    smooth, slope = x_B3SS.new_tensor([1.0, 2.0, 1.0]) / 4, x_B3SS.new_tensor([-1.0, 0.0, 1.0]) / 2
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None]
    return F.conv2d(x_B3SS.flatten(0, 1)[:, None], kernels)


def high_chroma(x_B3SS: Tensor) -> Tensor:
    """Cb and Cr less their Gaussian mean over 5 x 5, sigma 1.25, where it fits: false colour is fine colour."""
    chroma = torch.einsum("kc,bcij->bkij", x_B3SS.new_tensor(CHROMA), x_B3SS).flatten(0, 1)[:, None]
    taps = torch.exp(-(torch.arange(-2.0, 3.0, device=x_B3SS.device) ** 2) / (2 * 1.25**2))
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    return inner(chroma, 2) - F.conv2d(chroma, kernel[None, None].to(x_B3SS.dtype))


# -- scores ----------------------------------------------------------------------------------------------------------
def judged(demosaic: Demosaic, batches: Iterable[Batch], *, probes: bool) -> dict[str, float]:
    """Scores of a method on tiles, each in its middle. Those of a tile are means over the tiles:

    psnr_lin         dB, linear, for a peak of 1: the goal
    lead_db          psnr_lin above that of normalised convolution on the same tile
    psnr_srgb        dB, of what a screen shows: white balanced, clipped, sRGB;  ssim_srgb: likewise

    Those of all tiles together, for they divide or look for what repeats:

    grid_even_db, grid_odd_db   how far a 6 x 6 grid stands out of the error; odd is its null
    grid_fold                   the grid's own size, 1e-3 of white, RMS
    sharpness_ratio             Laplacian variance, of the method over that of the target; above 1.1 is ringing
    torture_psnr                dB, linear, each at most 60, a mean over 26 fixed patterns

    With `probes` too: offdomain_psnr_srgb, offdomain_grid_db (the same tiles through the other sensor), hdr_headroom
    and hdr_lost (two stops more light: what is made of light above 1.25, and the share of it that falls below 1), and
    scale_error (how far from proportional the method is).
    """
    batches = list(batches)
    found = _Tally()
    for batch in batches:
        made = demosaic(batch)
        found.add(made, batch)
        if probes:
            found.probe(made, batch, demosaic)
    if batches[0].mosaic_B1SS.shape[-1] != TILE:
        return found.scores()  # crops that are learned by heart
    return found.scores() | {"torture_psnr": torture_scores(demosaic, batches[0]).mean().item()}


def tile_scores(made: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Of each tile, [B]."""
    rgb, target = inner(made.float(), BORDER), inner(batch.target_B3SS, BORDER)
    shown, wanted = seen(rgb, batch.gain_B3), seen(target, batch.gain_B3)
    plain = inner(interpolated(batch.mosaic_B1SS, batch.cfa_B3SS, "nc"), BORDER)
    linear = psnr_db(rgb, target)
    return {
        "psnr_lin": linear,
        "lead_db": linear - psnr_db(plain, target),
        "psnr_srgb": psnr_db(shown, wanted),
        "ssim_srgb": ssim(shown, wanted),
    }


def torture_scores(demosaic: Demosaic, like: Batch) -> Tensor:
    """Linear PSNR (dB) of the fixed patterns, as the sensor of the batch sees them."""
    patterns = torture_batch(like)
    return tile_scores(demosaic(patterns), patterns)["psnr_lin"].clamp(max=TORTURE_DB)


def torture_batch(like: Batch) -> Batch:
    rgb = torture.fixed(TILE, EACH_TORTURE)
    patterns = seen_through(rgb, like.gain_B3[:1].cpu().expand(len(rgb), 3))
    return Batch(*(field.to(like.target_B3SS) for field in patterns))


def inner(x: Tensor, border: int) -> Tensor:
    return x[..., border:-border, border:-border]


def laplacian(x_B1SS: Tensor) -> Tensor:
    middle = x_B1SS[..., 1:-1, 1:-1]
    return x_B1SS[..., 1:-1, :-2] + x_B1SS[..., 1:-1, 2:] + x_B1SS[..., :-2, 1:-1] + x_B1SS[..., 2:, 1:-1] - 4 * middle


class _Tally:
    """Sums over tiles."""

    def __init__(self) -> None:
        self.tiles: dict[str, list[Tensor]] = {}
        self.power, self.off_power, self.fold = (torch.zeros((), dtype=torch.float64) for _ in range(3))
        self.sums: Counter[str] = Counter()
        self.scale_error = 0.0

    def add(self, made: Tensor, batch: Batch) -> None:
        self._keep(tile_scores(made, batch))
        error = inner(made.float() - batch.target_B3SS, BORDER).cpu()
        self.power = self.power + spectrum.power(error)
        self.fold = self.fold + spectrum.fold(error).sum(0)
        made_luma, luma_ = (
            laplacian(luma(seen(inner(x.float(), BORDER), batch.gain_B3))) for x in (made, batch.target_B3SS)
        )
        self.sums.update(
            sharp=float(made_luma.var((1, 2, 3)).sum()), target_sharp=float(luma_.var((1, 2, 3)).sum()), count=len(made)
        )

    def probe(self, made: Tensor, batch: Batch, demosaic: Demosaic) -> None:
        balanced, gain = batch.target_B3SS / spread(batch.gain_B3), other_gain(batch.gain_B3)
        other = Batch(*(field.to(balanced) for field in seen_through(balanced.cpu(), gain.cpu())))
        through = demosaic(other)
        self._keep({"offdomain_psnr_srgb": tile_scores(through, other)["psnr_srgb"]})
        self.off_power = self.off_power + spectrum.power(inner(through.float() - other.target_B3SS, BORDER).cpu())
        bright = inner(demosaic(batch._replace(mosaic_B1SS=HIGHLIGHT * batch.mosaic_B1SS)).float(), BORDER)
        truth = HIGHLIGHT * inner(batch.target_B3SS, BORDER)
        error = (bright / HIGHLIGHT - inner(made.float(), BORDER)).abs().max()
        self.scale_error = max(self.scale_error, float(error))
        above = truth > WELL_ABOVE
        self.sums.update(
            light=float(bright[above].sum()),
            true_light=float(truth[above].sum()),
            lost=int((bright[above] <= 1).sum()),
            above=int(above.sum()),
            probed=len(made),
        )

    def scores(self) -> dict[str, float]:
        found = {name: float(torch.cat(parts).double().mean()) for name, parts in self.tiles.items()}
        sums = self.sums
        if self.power.any():  # tiles are large enough for a block
            found["grid_even_db"], found["grid_odd_db"] = spectrum.grid_db(self.power)
        fold = self.fold / sums["count"]
        found["grid_fold"] = float(1e3 * (fold - fold.mean((1, 2), keepdim=True)).square().mean().sqrt())
        found["sharpness_ratio"] = sums["sharp"] / max(1e-12, sums["target_sharp"])
        if sums["probed"]:
            if self.off_power.any():
                found["offdomain_grid_db"] = spectrum.grid_db(self.off_power)[0]
            found["scale_error"] = self.scale_error
            found["hdr_headroom"] = sums["light"] / sums["true_light"] if sums["above"] else 1.0
            found["hdr_lost"] = sums["lost"] / max(1, sums["above"])
        return found

    def _keep(self, scores: dict[str, Tensor]) -> None:
        for name, values in scores.items():
            self.tiles.setdefault(name, []).append(values.cpu())
