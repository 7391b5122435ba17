"""Charts of single scenes: MUSIC spectra of several covariances, and estimates beside sources.

Shapes: B scenes, K = k_max sources, G grid points.
"""

from __future__ import annotations

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from hpo import Chart
from objectives.common.batches import example
from objectives.ris.chart_style import CLASSICAL_COLOUR, GREEDY_COLOUR, LEGEND_BELOW
from objectives.ris.covariance import truth
from objectives.ris.data import Batch
from objectives.ris.estimator import scan, signal_basis
from objectives.ris.features import dictionary, points
from objectives.ris.metrics import Judged
from objectives.ris.pipeline import Pipeline

QUANTILES = {"better than 90 %": 0.1, "median": 0.5, "worse than 90 %": 0.9}  # of OSPA: the scenes that are drawn


def spectra_chart(pipeline: Pipeline, model: nn.Module, batch: Batch, judged: Judged) -> Chart:
    """MUSIC spectra of one scene: of R_samp, R_pred, R_blend and R_true."""
    ranked = _ranked_rows(judged)
    row = ranked[len(ranked) // 2]
    scene = example(batch, row)
    sight = pipeline.sight(model, scene.z)
    covariances = {
        "R_samp": sight.samp,
        "R_pred": sight.pred,
        "R_blend": pipeline.blend(sight),
        "R_true": truth(scene, pipeline.sense(scene.z.device)),
    }
    figure = make_subplots(
        2,
        2,
        subplot_titles=list(covariances),
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        vertical_spacing=0.1,
    )
    for index, cov in enumerate(covariances.values()):
        _draw_spectrum(figure, index, pipeline, cov, scene)
    figure.update_xaxes(title="u", row=2)
    figure.update_yaxes(title="v", col=1)
    figure.update_layout(height=480, margin={"t": 40})
    coherent = ", sources 1 and 2 coherent" if bool(scene.coherent[0]) else ""
    return Chart(
        "MUSIC spectra of one scene",
        figure.to_json(),
        f"1 / (1 - ||U_s^H b||^2) over direction, at the best range. Circles are the {int(scene.source_count[0])} true "
        f"sources; SNR {float(scene.snr_db[0]):.1f} dB{coherent}. The scene has the median OSPA of those with the most "
        "sources.",
    )


def spectrum_db(pipeline: Pipeline, cov: Tensor, count_B: Tensor) -> Tensor:
    """MUSIC spectrum (dB) of the first scene over (v, u), the highest over the planes."""
    grid = pipeline.method.grid
    basis = signal_basis(cov[:1].to(torch.complex128), count_B[:1], pipeline.k_max)
    height = scan(basis, dictionary(pipeline.surface, grid, cov.device, torch.float64))[0]
    best = height.unflatten(0, (grid.planes, grid.nv, grid.nu)).amax(0)
    return (-10 * (1 - best).clamp_min(1e-6).log10()).cpu()


def scenes_chart(judged: Judged, r_max: float) -> Chart:
    """A good, a median and a bad scene among those with the most sources."""
    ranked = _ranked_rows(judged)
    rows = [ranked[round(share * (len(ranked) - 1))] for share in QUANTILES.values()]
    titles = [
        f"{name}<br>OSPA {float(judged.ospa_m[row]):.2f} m at {round(float(judged.snr_db[row]))} dB"
        for name, row in zip(QUANTILES, rows, strict=True)
    ]
    figure = make_subplots(
        2,
        len(rows),
        subplot_titles=titles,
        shared_xaxes=True,
        shared_yaxes=True,
        vertical_spacing=0.08,
    )
    for column, row in enumerate(rows, 1):
        for line in (1, 2):  # elevation, range
            _draw_places(figure, judged.true[row], line, column, "source", "circle-open", CLASSICAL_COLOUR)
            _draw_places(figure, judged.estimated[row], line, column, "estimate", "x-thin-open", GREEDY_COLOUR)
    figure.update_xaxes(title="azimuth (deg)", row=2, range=[-62, 62])
    figure.update_yaxes(title="elevation (deg)", row=1, col=1, range=[-32, 32])
    figure.update_yaxes(range=[0, 1.1 * r_max], row=2)
    figure.update_yaxes(title="range (m)", row=2, col=1)
    figure.update_layout(height=520, showlegend=True, legend=LEGEND_BELOW, margin={"t": 52})
    caption = "Scenes with the most sources: azimuth and elevation above, azimuth and range below."
    return Chart("Three scenes", figure.to_json(), caption)


def _draw_spectrum(figure: go.Figure, index: int, pipeline: Pipeline, cov: Tensor, scene: Batch) -> None:
    """A spectrum and the true sources in the subplot of this index."""
    grid = pipeline.method.grid
    at = points(grid, torch.device("cpu"), torch.float64)[: grid.nv * grid.nu]
    place = {"row": index // 2 + 1, "col": index % 2 + 1}
    figure.add_heatmap(
        z=spectrum_db(pipeline, cov, scene.source_count).tolist(),
        x=at[: grid.nu, 0].tolist(),
        y=at[:: grid.nu, 1].tolist(),
        colorscale="Viridis",
        zmin=0,
        zmax=20,
        showscale=index == 0,
        colorbar={"title": "dB"},
        **place,
    )
    true = scene.q[0, : int(scene.source_count[0])].cpu()
    figure.add_scatter(
        x=true[:, 0].tolist(),
        y=true[:, 1].tolist(),
        mode="markers",
        showlegend=False,
        marker={"symbol": "circle-open", "size": 14, "color": "white", "line": {"width": 2}},
        **place,
    )


def _draw_places(
    figure: go.Figure, place_K3: Tensor, line: int, column: int, name: str, symbol: str, colour: str
) -> None:
    """Places (deg, deg, m) over azimuth: elevation in line 1, range in line 2."""
    present = place_K3[~place_K3.isnan().any(-1)].cpu()
    figure.add_scatter(
        x=present[:, 0].tolist(),
        y=present[:, line].tolist(),
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=column == 1 and line == 1,
        row=line,
        col=column,
        marker={"symbol": symbol, "color": colour, "size": 12, "line": {"width": 2}},
    )


def _ranked_rows(judged: Judged) -> list[int]:
    """Rows of the scenes with the most sources, by OSPA, best first."""
    rows = (judged.source_count == judged.source_count.max()).nonzero()[:, 0]
    return rows[judged.ospa_m[rows].argsort()].tolist()
