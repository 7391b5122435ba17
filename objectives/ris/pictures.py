"""The report's charts: OSPA and errors by SNR beside every classical method, then single scenes.

Shapes: B scenes, K = k_max sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from hpo import Chart
from objectives.common.batches import joined
from objectives.ris.chart_style import (
    CLASSICAL_COLOUR,
    GREEDY_COLOUR,
    INK,
    LEARNED_COLOUR,
    LEGEND_BELOW,
    REFERENCE_COLOUR,
)
from objectives.ris.comparison import LEARNED, Tables, bin_edges, compare, not_won, ospa_bins, span
from objectives.ris.data import Batch, Scenario
from objectives.ris.metrics import Bin, by_snr
from objectives.ris.pipeline import Pipeline
from objectives.ris.scene_charts import scenes_chart, spectra_chart

LINES = {  # method -> (colour, dash, width)
    LEARNED: (LEARNED_COLOUR, "solid", 3),
    "MUSIC + ML, AIC": (CLASSICAL_COLOUR, "solid", 2),
    "MVDR, AIC": (CLASSICAL_COLOUR, "dot", 2),
    "greedy ML": (GREEDY_COLOUR, "solid", 2),
    "learned count on R_samp": (LEARNED_COLOUR, "dot", 2),
    "MUSIC + ML, K known (reference)": (REFERENCE_COLOUR, "dash", 2),
}


@torch.no_grad()
def charts(pipeline: Pipeline, scenario: Scenario, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Chart]:
    """OSPA of every method by SNR, paired differences, matched errors, spectra, and scenes."""
    device = next(model.parameters()).device
    batch = joined(batches, device)
    tables = compare(pipeline, model, batch)
    edges = bin_edges(scenario)
    yield _table(tables, edges)
    yield _lines(tables, edges)
    yield _differences(tables, edges)
    yield _errors(tables, edges)
    yield spectra_chart(pipeline, model, batch, tables.learned[LEARNED])
    yield scenes_chart(tables.learned[LEARNED], pipeline.view.r_max)


def _table(tables: Tables, edges: tuple[float, ...]) -> Chart:
    """A row for each method, with colour for OSPA."""
    names = list(tables.everything)[::-1]
    rows = [ospa_bins(tables.everything[name], edges) for name in names]
    heatmap = go.Heatmap(
        z=[[snr_bin.mean for snr_bin in row] for row in rows],
        x=[span(snr_bin.low_db, snr_bin.high_db) for snr_bin in rows[0]],
        y=names,
        text=[[_cell(snr_bin) for snr_bin in row] for row in rows],
        texttemplate="%{text}",
        colorscale=[[0, "#dceafc"], [1, "#f7d9cb"]],
        showscale=False,
        zmin=0.2,
        zmax=0.6,
        xgap=2,
        ygap=2,
        textfont={"color": INK, "size": 11},
        hoverinfo="skip",
    )
    figure = go.Figure(heatmap)
    figure.update_layout(
        height=60 + 34 * len(names),
        xaxis={"side": "top"},
        yaxis={"automargin": True, "nticks": 0, "dtick": 1},
    )
    lost = "; ".join(f"{name}: {', '.join(bins)}" for name, bins in not_won(tables, edges).items())
    counts = ", ".join(str(snr_bin.scenes) for snr_bin in rows[0])
    return Chart(
        "OSPA of every method by SNR",
        figure.to_json(),
        f"Mean OSPA (m, cutoff 1 m) with 95 % bootstrap intervals; {counts} scenes. Lower is better. "
        f"Classical methods have their default settings here, and tuned ones in the table of the promotion. "
        f"References know the number of sources or the true covariance. By the 95 % interval of the paired "
        f"difference, the learned pipeline is not better than: {lost or 'none'}.",
    )


def _lines(tables: Tables, edges: tuple[float, ...]) -> Chart:
    """OSPA by SNR of the learned pipeline and of a few other methods."""
    figure = go.Figure()
    for name, (colour, dash, width) in LINES.items():
        line = {"color": colour, "dash": dash, "width": width}
        figure.add_scatter(name=name, line=line, **_means(ospa_bins(tables.everything[name], edges)))
    figure.update_layout(
        height=380,
        showlegend=True,
        xaxis_title="SNR (dB)",
        yaxis_title="OSPA (m)",
        yaxis_rangemode="tozero",
    )
    return Chart(
        "OSPA by SNR",
        figure.to_json(),
        "Means with 95 % bootstrap intervals on the same scenes. The dashed method is told the number of sources.",
    )


def _differences(tables: Tables, edges: tuple[float, ...]) -> Chart:
    """OSPA of the learned pipeline minus that of a classical method, paired."""
    figure = go.Figure()
    ours = tables.learned[LEARNED]
    for name in ("MUSIC, AIC", "MUSIC + ML, MDL", "greedy ML"):
        bins = by_snr(ours.ospa_m - tables.classical[name].ospa_m, ours.snr_db, edges)
        figure.add_scatter(name=f"minus {name}", **_means(bins))
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.update_layout(height=340, showlegend=True, xaxis_title="SNR (dB)", yaxis_title="difference in OSPA (m)")
    return Chart(
        "Learned minus classical",
        figure.to_json(),
        "Paired differences with 95 % bootstrap intervals. Below 0 the learned pipeline is better; an interval that "
        "contains 0 is a tie.",
    )


def _errors(tables: Tables, edges: tuple[float, ...]) -> Chart:
    """Median errors of matched pairs."""
    figure = make_subplots(1, 3, subplot_titles=("azimuth (deg)", "elevation (deg)", "range (m)"))
    colours = {LEARNED: LEARNED_COLOUR, "MUSIC + ML, AIC": CLASSICAL_COLOUR, "greedy ML": GREEDY_COLOUR}
    for name, colour in colours.items():
        judged = tables.everything[name]
        for axis in range(3):
            centres, medians = _median_errors(judged.error[..., axis], judged.snr_db, edges)
            figure.add_scatter(
                x=centres,
                y=medians,
                name=name,
                legendgroup=name,
                showlegend=axis == 0,
                mode="lines+markers",
                line={"color": colour},
                row=1,
                col=axis + 1,
            )
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(title="SNR (dB)")
    figure.update_layout(height=340, showlegend=True, legend=LEGEND_BELOW, margin={"t": 40})
    return Chart(
        "Errors by SNR",
        figure.to_json(),
        "Median absolute error of the estimates that were matched to a source. Missed sources count in OSPA, not here.",
    )


def _cell(snr_bin: Bin) -> str:
    """A mean above its interval, in HTML."""
    bounds = f"{snr_bin.lower:.3f} to {snr_bin.upper:.3f}"
    return f"{snr_bin.mean:.3f}<br><span style='font-size:9px'>{bounds}</span>"


def _means(bins: list[Bin]) -> dict[str, Any]:
    """Arguments of a scatter: the mean of each bin at its centre, with the interval."""
    return {
        "x": [(snr_bin.low_db + snr_bin.high_db) / 2 for snr_bin in bins],
        "y": [snr_bin.mean for snr_bin in bins],
        "mode": "lines+markers",
        "error_y": {
            "array": [snr_bin.upper - snr_bin.mean for snr_bin in bins],
            "arrayminus": [snr_bin.mean - snr_bin.lower for snr_bin in bins],
            "thickness": 1,
        },
    }


def _median_errors(error_BK: Tensor, snr_db_B: Tensor, edges: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """Centres of the SNR bins that hold a matched pair, and the median error in each."""
    centres, medians = [], []
    for low, high in pairwise(edges):
        error = error_BK[(snr_db_B >= low) & (snr_db_B < high)]
        error = error[~error.isnan()]
        if len(error):
            centres.append((low + high) / 2)
            medians.append(float(error.median()))
    return centres, medians
