"""Pictures and charts for the report: exposure brackets, every method by kind of hole, and the overflow by cap.

Shapes: light [B, 3, H, W] or [3, H, W], linear; pixels [H, W, 3], uint8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from hpo import Chart, Picture
from objectives.common.batches import example, joined, parts_of
from objectives.common.colour import luma, srgb_from_linear
from objectives.common.columns import columns_over
from objectives.common.exposure import grey_gain
from objectives.common.pictures import evenly_spaced, pixels
from objectives.common.rivals import NETWORK, Scores, best_rival
from objectives.hdr import baseline, loss, parallax
from objectives.hdr.data import EPS, Batch
from objectives.hdr.loss import TOO_BRIGHT
from objectives.hdr.model import HARD_CLAMP, predict

STOPS = (-4, 0, 3)  # exposures of a bracket, around a middle grey
HOLE_COLOUR = (0.85, 0.1, 0.6)
COMPOSED, RENDERED, REAL = "composed", "rendered", "real parallax"
SHOWN = 3  # examples of each set that get an exposure bracket
SCORING_BATCH = 16
CAPS = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0)
OLD_CAP = 19.2  # 1.2 x 16: exp(19.2) = 2.2e8
SCORE = "score"  # by which the best rival is chosen
KINDS_OF_HOLE = {"all holes": "psnr_mu_hole", "cracks": "psnr_mu_crack", "disocclusions": "psnr_mu_disocc"}


@torch.no_grad()
def drawn(model: nn.Module, batches: Sequence[Batch], *, base: str, cap: float) -> Iterator[Picture | Chart]:
    """Methods by kind of hole, on the composed and rendered frames of the test split and on real parallax; overflow by
    cap; exposure brackets of all three.

    `base` is the method that fills holes before the network, `cap` the bound of its residual.
    """
    device = next(model.parameters()).device
    model = model.cpu()
    test = joined(batches)
    candidates = {
        COMPOSED: Batch(*(field[test.rendered_B == 0] for field in test)),
        RENDERED: Batch(*(field[test.rendered_B == 1] for field in test)),
        REAL: parallax.examples(test.hole_B1SS.shape[-1], base),
    }
    sets = {name: batch for name, batch in candidates.items() if len(batch.hole_B1SS)}
    scores = {name: method_scores(model, batch) for name, batch in sets.items()}
    for name, batch in sets.items():
        yield methods_chart(name, scores[name], len(batch.hole_B1SS))
    yield overflow_chart(test, cap, max(methods[NETWORK]["overflow_rate"] for methods in scores.values()))
    for name, batch in sets.items():
        rival = best_rival(scores[name], SCORE)
        for row in rows_by_gain(model, batch, SHOWN):
            yield exposure_bracket(model, example(batch, row), rival, f"{name} {row}")
    model.to(device)


def method_scores(model: nn.Module, batch: Batch) -> Scores:
    """The scores of the network and of every classical method."""
    parts = parts_of(batch, SCORING_BATCH)
    by_method = {name: partial(baseline.method_scores, method) for name, method in baseline.methods().items()}
    by_method = {NETWORK: partial(loss.model_scores, model), **by_method}
    return {name: loss.measured_means(columns_over(method, parts)) for name, method in by_method.items()}


def rows_by_gain(model: nn.Module, batch: Batch, count: int) -> list[int]:
    """`count` rows, evenly spaced from the example with the smallest gain to the one with the largest."""
    gains = torch.cat([loss.model_scores(model, part)["gain_db"] for part in parts_of(batch, 1)])
    order = gains.argsort().tolist()
    return [order[place] for place in evenly_spaced(len(order), count)]


# -- brackets --------------------------------------------------------------------------------------------------------
def exposure_bracket(model: nn.Module, example: Batch, rival: str, title: str) -> Picture:
    """One example: the input, the fill of the rival method, the network's, and the rendered light, each at the
    exposures of STOPS from top to bottom. Holes of the input are painted over."""
    hole_1HW = example.hole_B1SS[0] > 0.5
    light = {
        "input": example.warped_B3SS,
        rival: baseline.filled_light(baseline.methods()[rival], example),
        NETWORK: predict(model, example).light_B3HW,
        "rendered": example.target_B3SS,
    }
    gain = float(grey_gain(luma(example.target_B3SS), least=EPS))
    panels = {
        name: exposures(light_B3HW[0], gain, hole_1HW if name == "input" else None)
        for name, light_B3HW in light.items()
    }
    references = loss.score_references(example)
    quality = {name: loss.light_scores(light[name], *references)["psnr_mu_hole"].item() for name in (rival, NETWORK)}
    stops = ", ".join(f"{stop:+d}" for stop in STOPS)
    psnr = ", ".join(f"{name} {value:.1f} dB" for name, value in quality.items())
    caption = f"From top to bottom {stops} stops. mu-law PSNR in the holes: {psnr}."
    return Picture(f"Exposures, {title}", panels, caption)


def exposures(light_3HW: Tensor, gain: float, hole_1HW: Tensor | None = None) -> np.ndarray:
    """The picture at each exposure, one below the other, with `hole_1HW` painted over."""
    rows = []
    for stop in STOPS:
        rgb = srgb_from_linear((light_3HW * gain * 2.0**stop).clamp(0, 1))
        if hole_1HW is not None:
            rgb = torch.where(hole_1HW, torch.tensor(HOLE_COLOUR).view(3, 1, 1), rgb)
        rows += [rgb, torch.ones(3, 2, rgb.shape[-1])]
    return pixels(torch.cat(rows[:-1], 1))


# -- charts ----------------------------------------------------------------------------------------------------------
def methods_chart(set_name: str, scores: Scores, count: int) -> Chart:
    """mu-law PSNR of every method, by kind of hole."""
    figure = go.Figure()
    for kind, score in KINDS_OF_HOLE.items():
        values = [method.get(score) for method in scores.values()]
        labels = ["" if value is None else f"{value:.1f}" for value in values]
        figure.add_bar(name=kind, x=list(scores), y=values, text=labels)
    figure.update_layout(height=360, showlegend=True, yaxis_title="mu-law PSNR in holes (dB)", barmode="group")
    rival = best_rival(scores, SCORE)
    lead = scores[NETWORK]["psnr_mu_hole"] - scores[rival]["psnr_mu_hole"]
    return Chart(
        f"Every method, {set_name}",
        figure.to_json(),
        f"{count} examples. Lead of the network over the best classical method, {rival}: {lead:+.2f} dB. mu-law "
        f"PSNR of whole pictures: network {scores[NETWORK]['psnr_mu']:.2f} dB, {rival} "
        f"{scores[rival]['psnr_mu']:.2f} dB.",
    )


def overflow_chart(batch: Batch, cap: float, network_rate: float) -> Chart:
    """How much light overflows with random residuals, by the cap that bounds them: the state before training."""
    figure = go.Figure()
    caps = [*CAPS, OLD_CAP]
    for output_spread in (0.1, 0.3, 1.0):
        figure.add_scatter(
            x=caps,
            y=[100 * overflow_share(batch, bound, output_spread) for bound in caps],
            mode="lines+markers",
            name=f"outputs of spread {output_spread:g}",
        )
    for bound in (cap, OLD_CAP):
        figure.add_vline(x=bound, line={"width": 1, "dash": "dot"})
    figure.update_layout(
        height=320, showlegend=True, xaxis_title="cap of the log residual", yaxis_title="hole pixels that overflow (%)"
    )
    return Chart(
        "Overflow by cap",
        figure.to_json(),
        f"Share of hole pixels above {TOO_BRIGHT:g} times the target's largest value if cap x tanh(output) "
        f"is random, without a clamp. Dotted: the cap of this task, {cap:g} (a factor of at most {np.exp(cap):.3g}), "
        f"and {OLD_CAP:g} ({np.exp(OLD_CAP):.1e}); the hard clamp is at {HARD_CLAMP:g}. Largest "
        f"overflow rate of the trained network on a set: {network_rate:.2g}.",
    )


def overflow_share(batch: Batch, cap: float, output_spread: float) -> float:
    """Share of hole pixels that overflow if cap x tanh(output) is added to the filled picture; outputs are normal."""
    noise = torch.randn(batch.base_log_B3SS.shape, generator=torch.Generator().manual_seed(0))
    light = torch.exp(batch.base_log_B3SS + cap * torch.tanh(output_spread * noise))
    overflows = light > TOO_BRIGHT * batch.target_B3SS.amax((1, 2, 3), keepdim=True)
    return float(overflows[(batch.hole_B1SS > 0.5).expand_as(overflows)].float().mean())
