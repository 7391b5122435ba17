"""Pictures for the report: tiles before and after, the error, its spectrum, and every method's scores.

Shapes: rgb [B, 3, H, W], sensor light; pixels [H, W, 3], uint8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpo import Chart, Picture
from objectives.common.batches import example, joined
from objectives.common.colour import as_uint8
from objectives.common.pictures import evenly_spaced
from objectives.common.rivals import NETWORK, Scores, best_rival
from objectives.xtrans import loss, torture
from objectives.xtrans.baseline import PLAIN
from objectives.xtrans.data import BORDER, Batch, model_inputs
from objectives.xtrans.light import per_channel, to_display
from objectives.xtrans.loss import Demosaic, inner

SHOWN_TILES, SHOWN_PATTERNS = 5, 2
ENLARGED = 4
ERROR_GAIN = 8.0  # an error of 1/16 of white is drawn as bright as can be


@torch.no_grad()
def draw_pictures(
    model: nn.Module, batches: Sequence[Batch], baselines: Mapping[str, Demosaic], missing: str
) -> Iterator[Picture | Chart]:
    """The scores of all methods, tiles from the worst to the best, the worst patterns, and the error's spectrum.

    `missing` names the methods that are not installed.
    """
    device = next(model.parameters()).device
    model = model.cpu()
    tiles = joined(batches)
    methods: dict[str, Demosaic] = {NETWORK: lambda batch: model(*model_inputs(batch)), **baselines}
    scores = {name: loss.summary(loss.method_columns(method, tiles, probes=False)) for name, method in methods.items()}
    rival = best_rival(scores, "psnr_lin")
    yield methods_chart(scores, len(tiles.gain_B3), missing)
    patterns = loss.all_patterns(tiles)
    yield patterns_chart({name: loss.pattern_scores(methods[name], patterns) for name in (NETWORK, rival)})
    yield spectrum_picture({name: methods[name](tiles) for name in (NETWORK, rival, PLAIN)}, tiles, scores)
    shown = {NETWORK: methods[NETWORK], rival: methods[rival]}
    yield from _tile_pictures(shown, tiles)
    yield from _pattern_pictures(shown, tiles)
    model.to(device)


def _tile_pictures(methods: Mapping[str, Demosaic], tiles: Batch) -> Iterator[Picture]:
    """Some tiles, spread evenly from the network's worst to its best."""
    order = loss.tile_scores(methods[NETWORK](tiles), tiles)["psnr_lin"].argsort().tolist()
    for row in (order[place] for place in evenly_spaced(len(order), SHOWN_TILES)):
        yield tile_picture(methods, example(tiles, row), f"Tile {row}")


def _pattern_pictures(methods: Mapping[str, Demosaic], tiles: Batch) -> Iterator[Picture]:
    """The patterns on which the network is worst."""
    patterns = loss.all_patterns(tiles)
    kinds = list(torture.KINDS)
    for row in loss.pattern_scores(methods[NETWORK], patterns).argsort()[:SHOWN_PATTERNS].tolist():
        yield tile_picture(methods, example(patterns, row), f"Pattern: {kinds[row % len(kinds)]}")


def tile_picture(methods: Mapping[str, Demosaic], tile: Batch, title: str) -> Picture:
    """One tile: the mosaic, each method's output above its error with the network last, and the truth."""
    names = [name for name in methods if name != NETWORK] + [NETWORK]
    outputs = {name: methods[name](tile) for name in names}
    panels = {"mosaic": _panel(tile.mosaic_B1SS * tile.cfa_B3SS, tile, None)}
    for name, rgb in outputs.items():
        panels[name] = _panel(rgb, tile, rgb - tile.target_B3SS)
    panels["truth"] = _panel(tile.target_B3SS, tile, torch.zeros_like(tile.target_B3SS))
    decibels = {name: loss.tile_scores(rgb, tile)["psnr_lin"].item() for name, rgb in outputs.items()}
    values = ", ".join(f"{name} {value:.1f} dB" for name, value in decibels.items())
    return Picture(title, panels, f"{values}, linear. Below: the error times {ERROR_GAIN:g}; grey is no error.")


def spectrum_picture(outputs: Mapping[str, Tensor], tiles: Batch, scores: Scores) -> Picture:
    """The error's power at every frequency, zero in the middle: a grid shows as bright points on a lattice of 6 x 6."""
    panels, values = {}, []
    for name, rgb in outputs.items():
        power = torch.fft.fftshift(loss.error_power(rgb, tiles).sum(0))
        decades = torch.log10(power.clamp(min=1e-12))
        low, high = torch.quantile(decades, 0.02), torch.quantile(decades, 0.998)
        shade = ((decades - low) / (high - low)).clamp(0, 1).float()
        panels[name] = _enlarged(as_uint8(shade).expand(3, -1, -1))
        values.append(f"{name} {scores[name]['grid_even_db']:+.1f} dB (control {scores[name]['grid_odd_db']:+.1f})")
    return Picture(
        "Does the error repeat every 6 pixels?",
        panels,
        "Spectrum of the error, each panel in its own range. How far the frequencies of the 6 x 6 tile stand out: "
        f"{', '.join(values)}.",
    )


def methods_chart(scores: Scores, count: int, missing: str) -> Chart:
    """The PSNR of every method on `count` tiles, and the network's lead over each."""
    kinds = {"linear": "psnr_lin", "as displayed": "psnr_srgb", "patterns, linear": "torture_psnr"}
    names = sorted(scores, key=lambda name: scores[name]["psnr_lin"])
    figure = go.Figure()
    for kind, score in kinds.items():
        values = [scores[name][score] for name in names]
        figure.add_bar(name=kind, x=names, y=values, text=[f"{value:.1f}" for value in values])
    lowest = min(scores[name][score] for name in names for score in kinds.values())
    figure.update_layout(
        height=380, showlegend=True, barmode="group", yaxis_title="PSNR (dB)", yaxis_range=[max(0, lowest - 3), None]
    )
    leads = [_lead(scores, name) for name in scores if name != NETWORK]
    caption = f"{count} tiles. The network's lead in dB over: {'; '.join(leads)}. A reference is a far larger network."
    if missing:
        caption += f" Not compared: {missing}."
    return Chart("Every method", figure.to_json(), caption)


def _lead(scores: Scores, rival: str) -> str:
    linear, displayed = (scores[NETWORK][score] - scores[rival][score] for score in ("psnr_lin", "psnr_srgb"))
    return f"{rival} {linear:+.2f} linear and {displayed:+.2f} as displayed"


def patterns_chart(decibels: Mapping[str, Tensor]) -> Chart:
    """The PSNR of some methods on each kind of pattern."""
    kinds = list(torture.KINDS)
    figure = go.Figure()
    for name, values in decibels.items():
        figure.add_bar(name=name, x=kinds, y=values.view(-1, len(kinds)).mean(0).tolist())
    figure.update_layout(height=340, showlegend=True, barmode="group", yaxis_title="linear PSNR (dB)")
    return Chart("Patterns by kind", figure.to_json(), "Fixed patterns that no training crop contains.")


def _panel(rgb: Tensor, tile: Batch, error: Tensor | None) -> np.ndarray:
    """The middle of a tile, enlarged, above its error; white where there is no error to show."""
    image = to_display(inner(rgb, BORDER), tile.gain_B3)[0]
    if error is None:
        below = torch.ones_like(image)
    else:
        below = (0.5 + ERROR_GAIN * inner(error / per_channel(tile.gain_B3), BORDER)[0]).clamp(0, 1)
    return _enlarged(as_uint8(torch.cat([image, below], 1)))


def _enlarged(pixels_3HW: Tensor) -> np.ndarray:
    """Enlarged without smoothing, so that single pixels can be seen."""
    return F.interpolate(pixels_3HW[None].float(), scale_factor=float(ENLARGED))[0].byte().permute(1, 2, 0).numpy()
