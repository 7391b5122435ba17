"""Pictures for the report: a few examples with the input, the best classical method, the network and the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hpo import Picture
from objectives.common.colour import as_uint8
from objectives.lowlight import loss
from objectives.lowlight.baseline import Method
from objectives.lowlight.data import Batch

SHOWN = 6


def drawn(model: nn.Module, batches: Sequence[Batch], rival: str, method: Method) -> Iterator[Picture]:
    """Up to SHOWN examples, evenly spaced. `method` is the best classical method, and `rival` its name."""
    device = next(model.parameters()).device
    low = torch.cat([batch.low_B3SS for batch in batches]).cpu()
    high = torch.cat([batch.high_B3SS for batch in batches]).cpu()
    rows = torch.linspace(0, len(low) - 1, min(SHOWN, len(low))).round().int().unique().tolist()
    for row in rows:
        panels = {
            "input": low[row],
            rival: method(low[row], high[row]),
            "network": model(low[row : row + 1].to(device)).enhanced_B3HW[0].float().cpu(),
            "target": high[row],
        }
        quality = [f"{name} {_psnr_db(panel, high[row]):.1f} dB" for name, panel in panels.items() if name != "target"]
        pixels = {name: _pixels(panel) for name, panel in panels.items()}
        yield Picture(f"Low light, example {row}", pixels, ", ".join(quality))


def _psnr_db(rgb_3HW: Tensor, target_3HW: Tensor) -> float:
    return loss.image_scores(rgb_3HW[None], target_3HW[None], "pged")["psnr_db"].item()


def _pixels(rgb_3HW: Tensor) -> np.ndarray:
    return as_uint8(rgb_3HW).permute(1, 2, 0).numpy()
