"""What a reader would rather look at: spectra, scenes, and errors by SNR beside every classical method.

Shapes: B scenes, K = k_max sources, G grid points.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor, nn

from hpo.task import Chart
from objectives.ris.comparison import LEARNED, Tables, bin_edges, compare, not_won, ospa_bins, span
from objectives.ris.covariance import truth
from objectives.ris.data import Batch
from objectives.ris.estimator import scan, signal_basis
from objectives.ris.features import dictionary, points
from objectives.ris.metrics import Judged, by_snr

if TYPE_CHECKING:
    from objectives.ris.task import RIS

# The report's own colours: it shows each in a darker or lighter shade where the reader's page is dark.
OURS, CLASSICAL, GREEDY, REFERENCE, INK = "#2a78d6", "#4a3aa7", "#d9591f", "#8a8882", "#0b0b0b"
BELOW = {"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0}  # a legend where no subplot has its title
SHOWN = 3  # scenes drawn


@torch.no_grad()
def charts(task: RIS, model: nn.Module, batches: Iterable[Batch]) -> Iterator[Chart]:
    """OSPA of every method by SNR, where the learned one does not win, errors by SNR, spectra, scenes."""
    batch = _joined_batches(batches)
    device = next(model.parameters()).device
    batch = Batch(*(field.to(device) for field in batch))
    tables = compare(task, model, batch)
    edges = bin_edges(task)
    yield _table(tables, edges)
    yield _lines(tables, edges)
    yield _losses_chart(tables, edges)
    yield _errors(tables, edges)
    yield _spectra(task, model, batch, tables.learned[LEARNED])
    yield _scenes(tables.learned[LEARNED], task.r_max)


def _table(tables: Tables, edges: tuple[float, ...]) -> Chart:
    names = list(tables.everything)[::-1]
    rows = [ospa_bins(tables.everything[name], edges) for name in names]
    first = rows[0]
    text = [
        [f"{one.mean:.3f}<br><span style='font-size:9px'>{one.lower:.3f} to {one.upper:.3f}</span>" for one in row]
        for row in rows
    ]
    figure = go.Figure(
        go.Heatmap(
            z=[[one.mean for one in row] for row in rows],
            x=[span(one.low_db, one.high_db) for one in first],
            y=names,
            text=text,
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
    )
    figure.update_layout(
        height=60 + 34 * len(names), yaxis={"automargin": True, "nticks": 0, "dtick": 1}, xaxis={"side": "top"}
    )
    lost = not_won(tables, edges)
    words = "; ".join(f"{name}: {', '.join(bins)}" for name, bins in lost.items())
    scenes = ", ".join(str(one.scenes) for one in first)
    return Chart(
        "OSPA of every method by SNR",
        figure.to_json(),
        f"Mean OSPA (m, cutoff 1 m) with 95 % bootstrap intervals; {scenes} scenes. Lower is better. "
        f"References know the number of sources or the true covariance. The learned path does not win, by the "
        f"95 % interval of the paired difference, against: {words or 'none'}.",
    )


def _lines(tables: Tables, edges: tuple[float, ...]) -> Chart:
    """The learned path between the classical methods."""
    figure = go.Figure()
    drawn = {
        LEARNED: (OURS, "solid", 3),
        "MUSIC + ML, AIC": (CLASSICAL, "solid", 2),
        "MVDR, AIC": (CLASSICAL, "dot", 2),
        "greedy ML": (GREEDY, "solid", 2),
        "learned count on R_samp": (OURS, "dot", 2),
        "MUSIC + ML, K known (reference)": (REFERENCE, "dash", 2),
    }
    for name, (colour, dash, width) in drawn.items():
        bins = ospa_bins(tables.everything[name], edges)
        figure.add_scatter(
            x=[(one.low_db + one.high_db) / 2 for one in bins],
            y=[one.mean for one in bins],
            name=name,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": width},
            error_y={
                "array": [one.upper - one.mean for one in bins],
                "thickness": 1,
                "arrayminus": [one.mean - one.lower for one in bins],
            },
        )
    figure.update_layout(
        height=380, showlegend=True, xaxis_title="SNR (dB)", yaxis_title="OSPA (m)", yaxis_rangemode="tozero"
    )
    return Chart(
        "OSPA by SNR",
        figure.to_json(),
        "Means with 95 % bootstrap intervals on the same scenes; the dashed method is told the number of sources.",
    )


def _losses_chart(tables: Tables, edges: tuple[float, ...]) -> Chart:
    """Paired differences, learned less classical."""
    figure = go.Figure()
    ours = tables.learned[LEARNED]
    for name in ("MUSIC, AIC", "MUSIC + ML, MDL", "greedy ML"):
        bins = by_snr(ours.ospa_m - tables.classical[name].ospa_m, ours.snr_db, edges)
        figure.add_scatter(
            x=[(one.low_db + one.high_db) / 2 for one in bins],
            y=[one.mean for one in bins],
            name=f"less {name}",
            mode="lines+markers",
            error_y={
                "array": [one.upper - one.mean for one in bins],
                "thickness": 1,
                "arrayminus": [one.mean - one.lower for one in bins],
            },
        )
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.update_layout(height=340, showlegend=True, xaxis_title="SNR (dB)", yaxis_title="difference in OSPA (m)")
    return Chart(
        "Learned less classical",
        figure.to_json(),
        "Paired differences with 95 % bootstrap intervals. Below 0 the learned path is better; an interval "
        "across 0 is a tie.",
    )


def _errors(tables: Tables, edges: tuple[float, ...]) -> Chart:
    """Median errors of matched pairs."""
    figure = make_subplots(1, 3, subplot_titles=("azimuth (deg)", "elevation (deg)", "range (m)"))
    for name, colour in ((LEARNED, OURS), ("MUSIC + ML, AIC", CLASSICAL), ("greedy ML", GREEDY)):
        judged = tables.everything[name]
        for axis in range(3):
            middle, median = [], []
            for low, high in zip(edges, edges[1:], strict=False):
                error = judged.error[(judged.snr_db >= low) & (judged.snr_db < high)][..., axis]
                error = error[~error.isnan()]
                if len(error):
                    middle.append((low + high) / 2)
                    median.append(float(error.median()))
            figure.add_scatter(
                x=middle,
                y=median,
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
    figure.update_layout(height=340, showlegend=True, legend=BELOW, margin={"t": 40})
    return Chart(
        "Errors by SNR",
        figure.to_json(),
        "Median absolute error over the estimates that were matched to a source; what was missed is in OSPA, not here.",
    )


def _spectra(task: RIS, model: nn.Module, batch: Batch, judged: Judged) -> Chart:
    """MUSIC spectra of one scene: of the samples, of the network, blended, and of the truth."""
    row = _typical(judged)
    one = Batch(*(field[row : row + 1] for field in batch))
    seen = task.sight(model, one.z)
    covs = {
        "R_samp": seen.samp,
        "R_pred": seen.pred,
        "R_blend": task.blended(seen, task.scored_beta),
        "R_true": truth(one, task._sense(one.z.device)),
    }
    figure = make_subplots(
        2,
        2,
        subplot_titles=list(covs),
        shared_xaxes=True,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        vertical_spacing=0.1,
    )
    grid = task.method.grid
    at = points(grid, torch.device("cpu"), torch.float64)[: grid.nv * grid.nu]
    for index, cov in enumerate(covs.values()):
        place = {"row": index // 2 + 1, "col": index % 2 + 1}
        figure.add_heatmap(
            z=spectrum_db(task, cov, one.count).tolist(),
            x=at[: grid.nu, 0].tolist(),
            y=at[:: grid.nu, 1].tolist(),
            colorscale="Viridis",
            zmin=0,
            zmax=20,
            showscale=index == 0,
            colorbar={"title": "dB"},
            **place,
        )
        true = one.q[0, : int(one.count[0])].cpu()
        figure.add_scatter(
            x=true[:, 0].tolist(),
            y=true[:, 1].tolist(),
            mode="markers",
            showlegend=False,
            marker={"symbol": "circle-open", "size": 14, "color": "white", "line": {"width": 2}},
            **place,
        )
    figure.update_xaxes(title="u", row=2)
    figure.update_yaxes(title="v", col=1)
    figure.update_layout(height=480, margin={"t": 40})
    return Chart(
        "MUSIC spectra of one scene",
        figure.to_json(),
        f"1 / (1 - ||U_s^H b||^2) over direction, at the best range; circles are the {int(one.count[0])} true "
        f"sources; SNR {float(one.snr_db[0]):.1f} dB"
        f"{', sources 1 and 2 coherent' if bool(one.coherent[0]) else ''}. Scene of median OSPA among "
        "those with all sources.",
    )


def spectrum_db(task: RIS, cov: Tensor, count_B: Tensor) -> Tensor:
    """MUSIC spectrum (dB) of the first scene over (v, u), the highest over the planes."""
    grid = task.method.grid
    basis = signal_basis(cov[:1].to(torch.complex128), count_B[:1], task.k_max)
    height = scan(basis, dictionary(task.surface, grid, cov.device, torch.float64))[0]
    best = height.unflatten(0, (grid.planes, grid.nv, grid.nu)).amax(0)
    return (-10 * (1 - best).clamp_min(1e-6).log10()).cpu()


def _scenes(judged: Judged, r_max: float) -> Chart:
    """A good, a middling and a bad scene among those with the most sources."""
    full = (judged.count == judged.count.max()).nonzero()[:, 0]
    order = full[judged.ospa_m[full].argsort()]
    rows = [int(order[round(share * (len(order) - 1))]) for share in (0.1, 0.5, 0.9)]
    names = [
        f"{name}<br>OSPA {float(judged.ospa_m[row]):.2f} m at {round(float(judged.snr_db[row]))} dB"
        for name, row in zip(("better than 90 %", "median", "worse than 90 %"), rows, strict=True)
    ]
    figure = make_subplots(2, SHOWN, subplot_titles=names, shared_xaxes=True, shared_yaxes=True, vertical_spacing=0.08)
    for column, row in enumerate(rows, 1):
        for line, axis in ((1, 1), (2, 2)):
            for name, (place_K3, symbol, colour) in {
                "source": (judged.true[row], "circle-open", CLASSICAL),
                "estimate": (judged.found[row], "x-thin-open", GREEDY),
            }.items():
                shown = place_K3[~place_K3.isnan().any(-1)].cpu()
                figure.add_scatter(
                    x=shown[:, 0].tolist(),
                    y=shown[:, axis].tolist(),
                    mode="markers",
                    name=name,
                    legendgroup=name,
                    showlegend=column == 1 and line == 1,
                    row=line,
                    col=column,
                    marker={"symbol": symbol, "color": colour, "size": 12, "line": {"width": 2}},
                )
    figure.update_xaxes(title="azimuth (deg)", row=2, range=[-62, 62])
    figure.update_yaxes(title="elevation (deg)", row=1, col=1, range=[-32, 32])
    figure.update_yaxes(range=[0, 1.1 * r_max], row=2)
    figure.update_yaxes(title="range (m)", row=2, col=1)
    figure.update_layout(height=520, showlegend=True, legend=BELOW, margin={"t": 52})
    caption = "Scenes with the most sources: azimuth and elevation above, azimuth and range below."
    return Chart("Three scenes", figure.to_json(), caption)


def _typical(judged: Judged) -> int:
    """Row of the scene with the median OSPA, of those with the most sources."""
    rows = (judged.count == judged.count.max()).nonzero()[:, 0]
    return int(rows[judged.ospa_m[rows].argsort()[len(rows) // 2]])


def _joined_batches(batches: Iterable[Batch]) -> Batch:
    return Batch(*(torch.cat(field) for field in zip(*batches, strict=True)))
