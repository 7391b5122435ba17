"""Whether the cheap fidelity ranks like the full one, in a figure: of the promotion, and of the gate."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import plotly.graph_objects as go

from hpo.formatting import count, label, number
from hpo.page.axes import Axis, axis_of
from hpo.page.draw_promotion import SYMBOL, colour_of
from hpo.page.drawing import Drawing, blank, dots, note, safe
from hpo.page.findings import Agreement, FidelityPair, Promotion, PromotionRun
from hpo.page.palette import SOFT
from hpo.page.views import Key


def fidelity_agreement(agreement: Agreement, promotion: Promotion, goal: str) -> Drawing | None:
    """Cheap value against full value of each promoted configuration. None below two."""
    if len(agreement.pairs) < 2:
        return None
    names = {pair.name for pair in agreement.pairs}
    runs = [entry for entry in promotion.runs if entry.run.value is not None and entry.candidate in names]
    keys = (
        Key("complete", "dot", "mean of a promoted configuration"),
        Key("default", "diamond", "of the default"),
        Key("soft", "line", "one seed"),
    )
    figure = agreement_figure(agreement.pairs, runs, goal, names)
    point = agreement_point(agreement)
    return Drawing("agreement", "Does the cheap fidelity rank like the full one?", point, figure, keys)


def agreement_figure(
    pairs: Sequence[FidelityPair], runs: Sequence[PromotionRun], goal: str, named: Collection[str]
) -> go.Figure:
    """Cheap value against full value of each pair, with the single runs that its full value is a mean of. Those that
    are `named` have their name beside them."""
    cheap_values = {pair.name: pair.cheap for pair in pairs}
    x_axis = axis_of(cheap_values.values())
    y_axis = axis_of([*(pair.full for pair in pairs), *(entry.run.score for entry in runs)])
    figure = blank(
        340,
        x=x_axis.plotly(title={"text": f"cheap: {safe(label(goal))} on validation"}),
        y=y_axis.plotly(title={"text": f"full: {safe(label(goal))} on validation"}),
    )
    if runs:
        x = [cheap_values[entry.candidate] for entry in runs]
        y = [entry.run.score for entry in runs]
        text = [f"{safe(entry.candidate)}, one seed: {number(entry.run.value)}" for entry in runs]
        figure.add_trace(dots(x, y, text, SOFT, "line-ew-open", 8))
    labelled: list[float] = []
    for pair in pairs:
        colour, height = colour_of(pair.name), y_axis.share(pair.full)
        text = [f"{safe(pair.name)}: cheap {number(pair.cheap)}, full {number(pair.full)}"]
        figure.add_trace(dots([pair.cheap], [pair.full], text, colour, SYMBOL[colour], 11))
        if pair.name not in named or any(abs(height - labelled_height) < 0.06 for labelled_height in labelled):
            continue  # it would cover another label; pointing at the mark tells
        labelled.append(height)
        _add_name(figure, pair, x_axis, y_axis)
    return figure


def _add_name(figure: go.Figure, pair: FidelityPair, x_axis: Axis, y_axis: Axis) -> None:
    right = x_axis.share(pair.cheap) > 0.5
    note(
        figure,
        pair.name,
        x=x_axis.coordinate(pair.cheap),
        y=y_axis.coordinate(pair.full),
        xanchor="right" if right else "left",
        xshift=-8 if right else 8,
        bgcolor="rgba(0,0,0,0)",
    )


def agreement_point(agreement: Agreement) -> str:
    """What the rank correlation says, and whether there are enough configurations to believe it."""
    configurations = count(len(agreement.pairs), "configuration")
    if agreement.spearman is None:
        return f"{configurations} cannot be ranked against each other: too few, or all alike."
    text = f"Spearman rank correlation {agreement.spearman:.2f} over {configurations}"
    if len(agreement.pairs) < 6:
        return f"{text}, far too few to judge the cheap fidelity by."
    judgement = "the cheap fidelity does not predict the full one"
    if agreement.spearman >= 0.7:
        judgement = "the cheap fidelity ranks like the full one"
    elif agreement.spearman >= 0.2:
        judgement = "the cheap fidelity is a rough guide"
    return f"{text}: {judgement}. They are the sweep's best and the default, not a random sample."
