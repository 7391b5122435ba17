"""Pictures for the report: photographs before and after, what was changed, and what that achieved.

Shapes: B photographs, 3 RGB, S pixels a side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from hpo import Chart, Picture
from objectives.cloak.baseline import Method
from objectives.cloak.data import Batch
from objectives.cloak.model import Cloaked, apply_change
from objectives.common.batches import joined
from objectives.common.colour import round8
from objectives.common.pictures import pixels

ROWS = 4  # photographs that are shown
NOISE_SHOWN, WARP_SHOWN = 4.0, 2.0  # changes are drawn this many times too large
MIN_SIDE = 192  # smaller photographs are enlarged, pixel by pixel
RIVAL = "noise, as visible"


@dataclass(frozen=True)
class Judgement:
    """How images are scored, and the limits that the chart shows."""

    scores: Callable[[Tensor, Batch], Mapping[str, Tensor]]  # of each image, [B]
    judge: str
    perceptual: str
    visible_limit: float


class Version(NamedTuple):
    """The photographs as one method changed them, and their scores."""

    image_B3SS: Tensor
    scores: Mapping[str, Tensor]


@torch.no_grad()
def pictures(
    model: nn.Module, batches: Sequence[Batch], rival: Method, judgement: Judgement
) -> Iterator[Picture | Chart]:
    """A row for each of the first photographs, and one chart of all of them."""
    device = next(model.parameters()).device
    whole = joined(batches, device)
    cloaked: Cloaked = model(whole.photo_B3SS, whole.number_B)
    rival_B3SS = torch.stack([rival(photo) for photo in whole.photo_B3SS])
    changed = Version(cloaked.image_B3SS, judgement.scores(cloaked.image_B3SS, whole))
    noisy = Version(rival_B3SS, judgement.scores(rival_B3SS, whole))
    for row in range(min(ROWS, len(whole.photo_B3SS))):
        yield _row(row, whole.photo_B3SS[row], cloaked.flow_B2QQ[row], changed, noisy)
    yield _chart(judgement, changed, noisy)


def _row(row: int, photo_3SS: Tensor, flow_2QQ: Tensor, changed: Version, noisy: Version) -> Picture:
    image_3SS = changed.image_B3SS[row]
    panels = {
        "original": photo_3SS,
        "changed": image_3SS,
        f"change x {NOISE_SHOWN:g}": 0.5 + NOISE_SHOWN * (round8(image_3SS) - photo_3SS),
        f"warp x {WARP_SHOWN:g}": _warped_lattice(flow_2QQ),
        RIVAL: noisy.image_B3SS[row],
    }
    separation, rival_separation = (float(version.scores["separation_jpeg"][row]) for version in (changed, noisy))
    visible, rival_visible = (float(version.scores["visible_max"][row]) for version in (changed, noisy))
    caption = (
        f"Separation from the original, by the judge after JPEG: changed {separation:.2f}, {RIVAL} "
        f"{rival_separation:.2f}; above 1 it no longer matches. Visible change: {visible:.3f} and {rival_visible:.3f}."
    )
    return Picture(f"Photograph {row}", {name: _enlarged(panel) for name, panel in panels.items()}, caption)


def _warped_lattice(flow_2QQ: Tensor) -> Tensor:
    """A lattice, bent by the exaggerated warp."""
    side = flow_2QQ.shape[-1]
    spacing = max(6, side // 16)
    lines = (torch.arange(side, device=flow_2QQ.device) % spacing == 0).float()
    lattice = (1 - 0.8 * torch.maximum(lines[:, None], lines[None])).expand(1, 3, -1, -1)
    return apply_change(lattice, torch.zeros_like(lattice), WARP_SHOWN * flow_2QQ[None])[0]


def _chart(judgement: Judgement, changed: Version, noisy: Version) -> Chart:
    axes = {"xaxis_title": f"visible change ({judgement.perceptual})", "yaxis_title": "separation after JPEG"}
    figure = go.Figure(layout=axes)
    for name, version in (("changed", changed), (RIVAL, noisy)):
        visible, separation = version.scores["visible_max"], version.scores["separation_jpeg"]
        figure.add_scatter(x=visible.tolist(), y=separation.tolist(), mode="markers", name=name)
    figure.add_hline(1.0, line_dash="dot")
    figure.add_vline(judgement.visible_limit, line_dash="dot")
    return Chart(
        "Separation and visible change",
        figure.to_json(),
        f"Each point is a photograph. Above the horizontal line it is no longer matched by {judgement.judge}, after "
        "JPEG; left of the vertical line the change is within the limit. Visible change: "
        f"{judgement.perceptual}.",
    )


def _enlarged(rgb_3SS: Tensor) -> np.ndarray:
    factor = -(-MIN_SIDE // rgb_3SS.shape[-1])
    return pixels(rgb_3SS).repeat(factor, 0).repeat(factor, 1)
