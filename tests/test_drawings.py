"""The figures of a sweep: what they show, and what they cost where it has many parameters."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpo.page.axes import scales
from hpo.page.collect import collect
from hpo.page.draw_parallel import _title_lines, parallel
from hpo.page.draw_sweep import curves
from hpo.page.drawing import Drawing, plot
from hpo.page.report import write_report
from hpo.page.shared_texts import SharedTexts
from hpo.page.trial_marks import hover
from hpo.space import distributions
from hpo.storage.folder import RunFolder
from tests.wide import swept, wide_study


def parallel_of(tmp_path: Path, parameters: int) -> Drawing:
    study = wide_study(parameters)
    sweep = collect(study, swept(RunFolder(tmp_path / str(parameters)), study, 12)).sweep
    drawing = parallel(sweep, scales(distributions(study.space)), study.task.goal)
    assert drawing is not None
    return drawing


@pytest.mark.slow
def test_a_report_of_120_parameters_takes_seconds_and_a_few_megabytes(tmp_path: Path) -> None:
    study = wide_study(120)
    folder = swept(RunFolder(tmp_path / "run"), study, 60)
    began = time.process_time()
    page = write_report(study, folder).read_text()
    assert time.process_time() - began < 25  # 3 s alone on a machine; 101 s where every tick is an annotation
    assert len(page) < 4_500_000  # 36 MB where every mark of 120 figures lists 120 values


def test_a_point_of_a_learning_curve_costs_a_few_letters(tmp_path: Path) -> None:
    """1,000 trials of 100 epochs are 100,000 points."""
    study = wide_study(3)
    sweep = collect(study, swept(RunFolder(tmp_path / "run"), study, 12)).sweep
    curve = {epoch: 1 / (epoch + 3) for epoch in range(100)}
    long = replace(sweep, trials=tuple(replace(trial, curve=curve) for trial in sweep.trials))
    figure = SharedTexts().shorten(plot(curves(long, study.task.goal)).data)
    assert (
        len(json.dumps(figure, separators=(",", ":"))) < 25 * 100 * 12
    )  # 47 where each point has its text and 16 digits


def test_parallel_coordinates_have_a_title_and_ticks_for_every_column_and_as_many_traces_for_many(
    tmp_path: Path,
) -> None:
    few, many = parallel_of(tmp_path, 3).figure, parallel_of(tmp_path, 60).figure
    assert len(few.data) == len(many.data)
    assert not many.layout.annotations
    assert not many.layout.shapes
    ticks, titles = many.data[-2:]
    assert [title.split("<br>")[1].removesuffix("</b>") for title in titles.text[:-1]] == [
        f"p{index:03d}" for index in range(60)
    ]
    assert "mse" in titles.text[-1]
    assert titles.x == tuple(range(61))
    assert ticks.text.count("0.2") == 60
    lines = [trace for trace in many.data if trace.mode == "lines" and trace.hoverinfo == "text"]
    assert sum(trace.y.count(None) for trace in lines) == 12  # a gap after each trial


def test_a_mark_lists_a_screen_of_parameters_the_one_of_its_figure_first(tmp_path: Path) -> None:
    study = wide_study(60)
    trial = collect(study, swept(RunFolder(tmp_path / "run"), study, 3)).sweep.trials[1]
    lines = hover(trial, "task.p042").split("<br>")
    assert lines[2].startswith("task.p042 = ")
    assert lines[-1] == "and 45 more: see the table of trials"
    assert len(lines) == 2 + 15 + 1


def test_the_title_of_a_column_is_the_name_and_nothing_more() -> None:
    """In lines: a name of somebody else's study has no owner and no dot."""
    for name in ("alpha_rate", "lr", "task.perceptual_weight", "a.b.cc"):
        assert "".join(_title_lines(name)) == name
