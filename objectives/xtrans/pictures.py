"""What a reader would rather look at: tiles before and after, the error, its spectrum, and every method's scores.

Shapes: rgb [B, 3, H, W], sensor light; pixels [H, W, 3], uint8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo.task import REFERENCE, Chart, Picture
from objectives.common.colour import as_uint8
from objectives.xtrans import baseline, loss, spectrum, torture
from objectives.xtrans.data import BORDER, Batch
from objectives.xtrans.light import seen, spread
from objectives.xtrans.loss import Demosaic, inner

if TYPE_CHECKING:
    from objectives.xtrans.task import XTrans

NETWORK = "network"
SHOWN, ENLARGED = 5, 4
ERROR_GAIN = 8.0  # an error of 1/16 of white is as bright as can be


@torch.no_grad()
def drawn(task: XTrans, model: nn.Module, batches: Sequence[Batch]) -> Iterator[Picture | Chart]:
    """Every method's scores, tiles from the worst to the best, patterns, and the error's spectrum at the tile."""
    device = next(model.parameters()).device
    model = model.cpu()
    whole = Batch(*(torch.cat(fields).cpu() for fields in zip(*batches, strict=True)))
    methods: dict[str, Demosaic] = {NETWORK: lambda batch: model(batch.mosaic_B1SS, batch.cfa_B3SS), **task.methods()}
    scores = {name: loss.judged(method, [whole], probes=False) for name, method in methods.items()}
    rival = best_rival(scores)
    yield methods_chart(scores, len(whole.gain_B3))
    yield torture_chart({name: loss.torture_scores(methods[name], whole) for name in (NETWORK, rival)})
    yield spectrum_picture({name: methods[name](whole) for name in (NETWORK, rival, baseline.PLAIN)}, whole, scores)
    order = loss.tile_scores(methods[NETWORK](whole), whole)["psnr_lin"].argsort()
    places = torch.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().long().unique()
    for row in order[places].tolist():
        yield tile_picture(methods, rival, Batch(*(field[row : row + 1] for field in whole)), f"tile {row}")
    patterns = loss.torture_batch(whole)
    kinds = list(torture.KINDS)
    for row in loss.torture_scores(methods[NETWORK], whole).argsort()[:2].tolist():
        one = Batch(*(field[row : row + 1] for field in patterns))
        yield tile_picture(methods, rival, one, f"pattern: {kinds[row % len(kinds)]}")
    model.to(device)


def best_rival(scores: dict[str, dict[str, float]]) -> str:
    rivals = [name for name in scores if name != NETWORK and not name.endswith(REFERENCE)]
    return max(rivals, key=lambda name: scores[name]["psnr_lin"])


def tile_picture(methods: dict[str, Demosaic], rival: str, one: Batch, title: str) -> Picture:
    """A tile as the sensor saw it, as two methods make it, the truth, and below each what is wrong with it."""
    made = {rival: methods[rival](one), NETWORK: methods[NETWORK](one)}
    samples = one.mosaic_B1SS * one.cfa_B3SS
    panels = {"mosaic": _stacked(samples, one, None)}
    panels |= {name: _stacked(rgb, one, rgb - one.target_B3SS) for name, rgb in made.items()}
    panels["truth"] = _stacked(one.target_B3SS, one, torch.zeros_like(one.target_B3SS))
    words = [f"{name} {loss.tile_scores(rgb, one)['psnr_lin'].item():.1f} dB" for name, rgb in made.items()]
    return Picture(
        title[0].upper() + title[1:],
        panels,
        f"{', '.join(words)}, linear. Below: the error times {ERROR_GAIN:g}, grey is none.",
    )


def spectrum_picture(made: dict[str, Tensor], whole: Batch, scores: dict[str, dict[str, float]]) -> Picture:
    """The error's power at every frequency, zero in the middle: a grid shows as bright points on a lattice of 6 x 6."""
    panels, words = {}, []
    for name, rgb in made.items():
        power = torch.fft.fftshift(spectrum.power(inner(rgb - whole.target_B3SS, BORDER)))
        decades = torch.log10(power.clamp(min=1e-12))
        low, high = torch.quantile(decades, 0.02), torch.quantile(decades, 0.998)
        shade = ((decades - low) / (high - low)).clamp(0, 1).float()
        panels[name] = _large(as_uint8(shade).expand(3, -1, -1))
        words.append(f"{name} {scores[name]['grid_even_db']:+.1f} dB (null {scores[name]['grid_odd_db']:+.1f})")
    return Picture(
        "Does the error repeat with the 6 x 6 tile?",
        panels,
        f"Spectrum of the error, each panel in its own range. How far the tile's frequencies stand out: "
        f"{', '.join(words)}.",
    )


def methods_chart(scores: dict[str, dict[str, float]], count: int) -> Chart:
    kinds = {"linear": "psnr_lin", "as seen": "psnr_srgb", "patterns, linear": "torture_psnr"}
    names = sorted(scores, key=lambda name: scores[name]["psnr_lin"])
    figure = go.Figure()
    for kind, score in kinds.items():
        values = [scores[name][score] for name in names]
        figure.add_bar(name=kind, x=names, y=values, text=[f"{value:.1f}" for value in values])
    lowest = min(scores[name][score] for name in names for score in kinds.values())
    figure.update_layout(
        height=380, showlegend=True, barmode="group", yaxis_title="PSNR (dB)", yaxis_range=[max(0, lowest - 3), None]
    )
    ours = scores[NETWORK]
    leads = [
        f"{name} {ours['psnr_lin'] - found['psnr_lin']:+.2f} linear and "
        f"{ours['psnr_srgb'] - found['psnr_srgb']:+.2f} as seen"
        for name, found in scores.items()
        if name != NETWORK
    ]
    absent = f" Not compared: {baseline.missing()}." if baseline.missing() else ""
    return Chart(
        "Every method",
        figure.to_json(),
        f"{count} tiles. The network's lead (dB) over: {'; '.join(leads)}. A reference is a far larger "
        f"network.{absent}",
    )


def torture_chart(found: dict[str, Tensor]) -> Chart:
    kinds = list(torture.KINDS)
    figure = go.Figure()
    for name, values in found.items():
        figure.add_bar(name=name, x=kinds, y=values.view(-1, len(kinds)).mean(0).tolist())
    figure.update_layout(height=340, showlegend=True, barmode="group", yaxis_title="linear PSNR (dB)")
    return Chart("Patterns by kind", figure.to_json(), "Fixed patterns that no training crop shows.")


def _stacked(rgb: Tensor, one: Batch, error: Tensor | None) -> np.ndarray:
    """The middle of a tile, enlarged, above its error."""
    rows = [seen(inner(rgb, BORDER), one.gain_B3)[0]]
    if error is not None:
        rows.append((0.5 + ERROR_GAIN * inner(error / spread(one.gain_B3), BORDER)[0]).clamp(0, 1))
    else:
        rows.append(torch.ones_like(rows[0]))
    return _large(as_uint8(torch.cat(rows, 1)))


def _large(pixels_3HW: Tensor) -> np.ndarray:
    """Enlarged without smoothing: pixels are what is looked at."""
    return F.interpolate(pixels_3HW[None].float(), scale_factor=float(ENLARGED))[0].byte().permute(1, 2, 0).numpy()
