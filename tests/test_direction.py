"""Direction: which of two scores is better, which is the best of many, and by how much one leads."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hpo.checking.overfit_checks import Bands
from hpo.direction import Direction
from hpo.formatting import better
from hpo.task import Overfit

BOTH = pytest.mark.parametrize("direction", list(Direction))
LESS_THEN_MORE = pytest.mark.parametrize(
    ("direction", "better", "worse"), [(Direction.MINIMIZE, 1.0, 2.0), (Direction.MAXIMIZE, 2.0, 1.0)]
)


@LESS_THEN_MORE
def test_better_is_strict(direction: Direction, better: float, worse: float) -> None:
    assert direction.better(better, worse)
    assert not direction.better(worse, better)
    assert not direction.better(better, better)


@BOTH
def test_nothing_is_better_or_worse_than_nan(direction: Direction) -> None:
    for value in (0.0, math.inf, -math.inf, math.nan):
        assert not direction.better(value, math.nan)
        assert not direction.better(math.nan, value)


@BOTH
def test_every_finite_score_is_better_than_the_worst(direction: Direction) -> None:
    for value in (-1e300, 0.0, 1e300):
        assert direction.better(value, direction.worst)
    assert direction.worst_if_none(None) == direction.worst
    assert direction.worst_if_none(0.0) == 0.0


@LESS_THEN_MORE
def test_the_best_is_the_first_of_equal_ones(direction: Direction, better: float, worse: float) -> None:
    scores = {"a": worse, "b": better, "c": better}
    assert direction.best(scores, key=scores.__getitem__) == "b"
    assert direction.best([worse, better]) == better
    with pytest.raises(ValueError, match="empty"):
        direction.best([])


@LESS_THEN_MORE
def test_a_ranking_keeps_the_order_of_equal_ones(direction: Direction, better: float, worse: float) -> None:
    scores = {"a": worse, "b": better, "c": worse, "d": better}
    assert direction.ranked(scores, key=scores.__getitem__) == ["b", "d", "a", "c"]
    assert direction.ranked([worse, better]) == [better, worse]


@LESS_THEN_MORE
def test_a_lead_is_positive_where_the_first_is_better(direction: Direction, better: float, worse: float) -> None:
    assert direction.lead(better, worse) == 1.0
    assert direction.lead(worse, better) == -1.0
    leads = direction.lead(np.array([better, worse, better]), np.array([worse, better, better]))
    assert leads.tolist() == [1.0, -1.0, 0.0]


def test_a_direction_is_the_word_that_a_task_writes() -> None:
    assert Direction("minimize") is Direction.MINIMIZE
    assert Direction.MAXIMIZE == "maximize"
    with pytest.raises(ValueError, match="minimise"):
        Direction("minimise")


def test_people_read_which_way_a_score_improves() -> None:
    assert better("minimize") == "lower is better"
    assert better(Direction.MAXIMIZE) == "higher is better"


# -- the bands of an overfit check ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("bands", "direction"),
    [
        (Overfit(go=0.1, caution=0.3), Direction.MINIMIZE),
        (Overfit(go=0.2, caution=0.2), Direction.MINIMIZE),
        (Overfit(go=30.0, caution=20.0), Direction.MAXIMIZE),
    ],
)
def test_the_bands_of_an_overfit_check_say_which_way_its_measure_improves(bands: Overfit, direction: Direction) -> None:
    assert bands.direction is direction


@pytest.mark.parametrize(
    ("bands", "values"),
    [
        (
            Bands("loss", 0.1, 0.3, Direction.MINIMIZE),
            {0.0: "go", 0.1: "go", 0.2: "caution", 0.3: "caution", 0.31: "no-go"},
        ),
        (
            Bands("psnr", 30.0, 20.0, Direction.MAXIMIZE),
            {31.0: "go", 30.0: "go", 25.0: "caution", 20.0: "caution", 19.0: "no-go"},
        ),
        (Bands("loss", 0.1, math.inf, Direction.MINIMIZE), {0.1: "go", math.inf: "caution", math.nan: "no-go"}),
        (Bands("psnr", 30.0, 20.0, Direction.MAXIMIZE), {math.inf: "go", -math.inf: "no-go", math.nan: "no-go"}),
    ],
)
def test_a_value_on_a_band_counts_as_within_it_and_nan_as_no_go(bands: Bands, values: dict[float, str]) -> None:
    assert {value: bands.verdict(value) for value in values} == values
