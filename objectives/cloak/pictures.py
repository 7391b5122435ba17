"""What a reader would rather look at: photographs before and after, what was changed, and what it bought."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from hpo.task import Chart, Picture
from objectives.cloak.baseline import Method
from objectives.cloak.data import Batch
from objectives.cloak.encoders import calibration
from objectives.cloak.model import Cloaked, applied
from objectives.common.colour import as_uint8, round8

if TYPE_CHECKING:
    from objectives.cloak.task import Cloaking

ROWS = 4
NOISE_SHOWN, WARP_SHOWN = 4.0, 2.0  # how many times too large changes are drawn
MIN_SIDE = 192  # small photographs are shown enlarged, pixel by pixel
RIVAL = "noise, as visible"


def pictures(
    task: Cloaking, model: nn.Module, batches: list[Batch], methods: dict[str, Method]
) -> Iterator[Picture | Chart]:
    """A row for each of the first photographs, and one chart of them all."""
    device = next(model.parameters()).device
    whole = Batch(*(torch.cat([batch[field] for batch in batches]).to(device) for field in range(3)))
    with torch.no_grad():
        made = model(whole.photo_B3SS, whole.number_B)
        rival = torch.stack([methods[RIVAL](photo) for photo in whole.photo_B3SS])
        scores, rival_scores = task.image_scores(made.image_B3SS, whole), task.image_scores(rival, whole)
    for row in range(min(ROWS, len(whole.photo_B3SS))):
        yield _row(row, whole, made, rival, scores, rival_scores)
    yield Chart(
        "Match and visible change",
        _scatter(task, scores, rival_scores).to_json(),
        f"Each point is a photograph. Below the line the judge no longer matches it; left of the other line "
        f"the change is within the limit. Judge: {task.judge}, after JPEG; visible change: {task.perceptual}.",
    )


def _row(
    row: int, whole: Batch, made: Cloaked, rival: Tensor, scores: dict[str, Tensor], rival_scores: dict[str, Tensor]
) -> Picture:
    photo, image = whole.photo_B3SS[row], made.image_B3SS[row]
    panels = {
        "original": photo,
        "protected": image,
        f"change x {NOISE_SHOWN:g}": 0.5 + NOISE_SHOWN * (round8(image) - photo),
        f"warp x {WARP_SHOWN:g}": _warped_lines(made.flow_B2SS[row]),
        RIVAL: rival[row],
    }
    matched, seen = (
        [float(found[name][row]) for found in (scores, rival_scores)] for name in ("match_jpeg", "visible_max")
    )
    caption = (
        f"match with the original, by the judge after JPEG: protected {matched[0]:.2f}, {RIVAL} "
        f"{matched[1]:.2f}; visible change {seen[0]:.3f} and {seen[1]:.3f}"
    )
    return Picture(f"Photograph {row}", {name: _pixels(panel) for name, panel in panels.items()}, caption)


def _warped_lines(flow_2SS: Tensor) -> Tensor:
    """A lattice as the exaggerated warp bends it."""
    side = flow_2SS.shape[-1]
    every, at = max(6, side // 16), torch.arange(side, device=flow_2SS.device)
    lines = (at % every == 0).float()
    lattice = (1 - 0.8 * torch.maximum(lines[:, None], lines[None])).expand(1, 3, -1, -1)
    return applied(lattice, torch.zeros_like(lattice), WARP_SHOWN * flow_2SS[None])[0]


def _scatter(task: Cloaking, scores: dict[str, Tensor], rival_scores: dict[str, Tensor]) -> go.Figure:
    figure = go.Figure(layout={"xaxis_title": f"visible change ({task.perceptual})", "yaxis_title": "match after JPEG"})
    for name, found in (("protected", scores), (RIVAL, rival_scores)):
        figure.add_scatter(x=found["visible_max"].tolist(), y=found["match_jpeg"].tolist(), mode="markers", name=name)
    figure.add_hline(calibration(task.judge).match_threshold, line_dash="dot")
    figure.add_vline(task.visible_limit, line_dash="dot")
    return figure


def _pixels(rgb_3SS: Tensor) -> np.ndarray:
    pixels_SS3 = as_uint8(rgb_3SS.float().cpu()).permute(1, 2, 0).numpy()
    times = -(-MIN_SIDE // pixels_SS3.shape[0])
    return pixels_SS3.repeat(times, 0).repeat(times, 1)
