"""What a reader would rather look at: brackets of exposures, every method by kind of hole, and what overflows.

Shapes: light [B, 3, H, W] or [3, H, W], linear; pixels [H, W, 3], uint8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from hpo.task import REFERENCE, Chart, Picture
from objectives.common.colour import as_uint8, luma, srgb_from_linear
from objectives.hdr import baseline, loss, parallax
from objectives.hdr.data import Batch, log_light
from objectives.hdr.loss import TOO_BRIGHT
from objectives.hdr.model import HARD_CLAMP

if TYPE_CHECKING:
    from objectives.hdr.task import HDR

STOPS = (-4, 0, 3)  # exposures of a bracket, around a middle grey
GREY = 0.18
HOLE_COLOUR = (0.85, 0.1, 0.6)
SHOWN = 5
OLD_CAP = 19.2  # 1.2 x 16: exp(19.2) = 2.2e8
NETWORK = "network"


@torch.no_grad()
def drawn(task: HDR, model: nn.Module, batches: Sequence[Batch]) -> Iterator[Picture | Chart]:
    """Methods by kind of hole, on the test split and on real parallax; overflow by cap; brackets of both."""
    device = next(model.parameters()).device
    model = model.cpu()
    test = Batch(*(torch.cat(fields).cpu() for fields in zip(*batches, strict=True)))
    real = parallax.examples(test.hole_B1SS.shape[-1], task.base)
    sets = {"test": test} | ({"real parallax": real} if len(real.hole_B1SS) else {})
    scores = {name: compared(task, model, batch) for name, batch in sets.items()}
    for name in sets:
        yield _methods(name, scores[name], len(sets[name].hole_B1SS))
    yield overflow_chart(test, task.cap, scores["test"][NETWORK]["overflow_rate"])
    for name, batch in sets.items():
        rival = best_rival(scores[name])
        for row in spread(task, model, batch, SHOWN if name == "test" else 3):
            yield bracketed(task, model, Batch(*(field[row : row + 1] for field in batch)), rival, f"{name} {row}")
    model.to(device)


def compared(task: HDR, model: nn.Module, batch: Batch) -> dict[str, dict[str, float]]:
    """The network's scores and every classical method's."""
    parts = [Batch(*fields) for fields in zip(*(field.split(16) for field in batch), strict=True)]
    return {NETWORK: task.score(model, parts), **task.baselines(parts)}


def best_rival(scores: dict[str, dict[str, float]]) -> str:
    rivals = [name for name in scores if name != NETWORK and not name.endswith(REFERENCE)]
    return max(rivals, key=lambda name: scores[name]["score"])


def spread(task: HDR, model: nn.Module, batch: Batch, count: int) -> list[int]:
    """Rows from the example that gained least to the one that gained most, evenly between."""
    gains = torch.tensor(
        [
            task.score(model, [Batch(*(field[row : row + 1] for field in batch))])["gain_db"]
            for row in range(len(batch[0]))
        ]
    )
    places = torch.linspace(0, len(gains) - 1, min(count, len(gains))).round().long().unique()
    return gains.argsort()[places].tolist()


# -- brackets --------------------------------------------------------------------------------------------------------
def bracketed(task: HDR, model: nn.Module, example: Batch, rival: str, title: str) -> Picture:
    """One example as the network got it, as the best classical method fills it, as the network does, and as it was
    rendered: from top to bottom at the exposures of STOPS. Holes of the input are painted over."""
    from objectives.hdr.task import judged_by, predicted

    hole = example.hole_B1SS > 0.5
    classical = baseline.filled_light(baseline.methods()[rival], example)
    panels = {
        "input": example.warped_B3SS,
        rival: classical,
        NETWORK: predicted(model, example).light_B3HW,
        "rendered": example.target_B3SS,
    }
    gain = GREY / max(1e-8, float(torch.exp(log_light(luma(example.target_B3SS)).mean())))
    words = [
        f"{name} {loss.light_scores(light, *judged_by(example))['psnr_mu_hole'].item():.1f} dB"
        for name, light in panels.items()
        if name in (rival, NETWORK)
    ]
    shown = {name: exposures(light[0], gain, hole[0] if name == "input" else None) for name, light in panels.items()}
    return Picture(
        f"Exposures, {title}",
        shown,
        f"From top to bottom {', '.join(f'{stop:+d}' for stop in STOPS)} stops. mu-law PSNR in the holes: "
        f"{', '.join(words)}.",
    )


def exposures(light_3HW: Tensor, gain: float, hole_1HW: Tensor | None = None) -> np.ndarray:
    """The picture at each exposure, one below the other."""
    rows = []
    for stop in STOPS:
        rgb = srgb_from_linear((light_3HW * gain * 2.0**stop).clamp(0, 1))
        if hole_1HW is not None:
            rgb = torch.where(hole_1HW, torch.tensor(HOLE_COLOUR).view(3, 1, 1), rgb)
        rows += [rgb, torch.ones(3, 2, rgb.shape[-1])]
    return as_uint8(torch.cat(rows[:-1], 1)).permute(1, 2, 0).numpy()


# -- charts ----------------------------------------------------------------------------------------------------------
def _methods(name: str, scores: dict[str, dict[str, float]], count: int) -> Chart:
    kinds = {"all holes": "psnr_mu_hole", "cracks": "psnr_mu_crack", "disocclusions": "psnr_mu_disocc"}
    figure = go.Figure()
    for kind, score in kinds.items():
        figure.add_bar(
            name=kind,
            x=list(scores),
            y=[found.get(score) for found in scores.values()],
            text=[f"{found[score]:.1f}" if score in found else "" for found in scores.values()],
        )
    figure.update_layout(height=360, showlegend=True, yaxis_title="mu-law PSNR in holes (dB)", barmode="group")
    rival = best_rival(scores)
    ahead = scores[NETWORK]["psnr_mu_hole"] - scores[rival]["psnr_mu_hole"]
    return Chart(
        f"Every method, {name}",
        figure.to_json(),
        f"{count} examples. The network is {ahead:+.2f} dB from the best classical method, {rival}. mu-law "
        f"PSNR of whole pictures: network {scores[NETWORK]['psnr_mu']:.2f} dB, {rival} "
        f"{scores[rival]['psnr_mu']:.2f} dB. The reference trusts the scene's exact layers.",
    )


def overflow_chart(batch: Batch, cap: float, of_network: float) -> Chart:
    """What residuals that mean nothing do to the light, by what bounds them: the state before training."""
    figure = go.Figure()
    caps = [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, OLD_CAP]
    for spread_of in (0.1, 0.3, 1.0):
        figure.add_scatter(
            x=caps,
            y=[100 * overflow_share(batch, c, spread_of) for c in caps],
            mode="lines+markers",
            name=f"outputs of spread {spread_of:g}",
        )
    for at in (cap, OLD_CAP):
        figure.add_vline(x=at, line={"width": 1, "dash": "dot"})
    figure.update_layout(
        height=320, showlegend=True, xaxis_title="cap of the log residual", yaxis_title="hole pixels that overflow (%)"
    )
    return Chart(
        "Overflow by cap",
        figure.to_json(),
        f"Share of hole pixels above {TOO_BRIGHT:g} times the target's largest value where cap x tanh(output) "
        f"is random, with no clamp. Dotted: the cap used, {cap:g} (at most a factor of {np.exp(cap):.3g}) and "
        f"{OLD_CAP:g} ({np.exp(OLD_CAP):.1e}); the fail-safe clamps at {HARD_CLAMP:g}. The trained network's "
        f"overflow rate on the test split: {of_network:.2g}.",
    )


def overflow_share(batch: Batch, cap: float, spread_of: float) -> float:
    """Share of hole pixels that overflow where cap tanh(o) is added to the filled picture, o normal."""
    noise = torch.randn(batch.base_log_B3SS.shape, generator=torch.Generator().manual_seed(0))
    light = torch.exp(batch.base_log_B3SS + cap * torch.tanh(spread_of * noise))
    over = light > TOO_BRIGHT * batch.target_B3SS.amax((1, 2, 3), keepdim=True)
    return float(over[(batch.hole_B1SS > 0.5).expand_as(over)].float().mean())
