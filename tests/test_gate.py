"""The fidelity gate: its rule, its runs, and what is said of it."""

from __future__ import annotations

import math

import pytest

from hpo.direction import Direction
from hpo.errors import Damaged
from hpo.promotion.gate import (
    Gate,
    GatePair,
    RankCorrelation,
    decide,
    judge_gate,
    keep_from,
    rank_correlation,
    read_gate,
    stages,
    write_gate,
)
from hpo.storage.folder import RunFolder


# -- the rule --------------------------------------------------------------------------------------------------------
def test_the_rank_correlation_and_its_interval_by_hand() -> None:
    """Two exchanges of neighbours among 8: rho = 1 - 6 * 4 / (8 * 63) = 0.95238; z = ln(41) / 2."""
    correlation = rank_correlation([1, 2, 3, 4, 5, 6, 7, 8], [20, 10, 30, 40, 50, 60, 80, 70])

    assert correlation.value == pytest.approx(0.952381, abs=1e-6)
    assert correlation.low == pytest.approx(math.tanh(math.log(41) / 2 - 0.806103), abs=1e-5)  # 1.75 * 1.03 / sqrt(5)
    assert correlation.high == pytest.approx(math.tanh(math.log(41) / 2 + 0.806103), abs=1e-5)


def test_a_perfect_order_has_an_interval_too() -> None:
    correlation = rank_correlation(range(8), range(8))

    assert correlation.value == pytest.approx(1.0)
    assert 0.9 < correlation.low < correlation.high < 1


def test_values_that_are_all_the_same_rank_nothing() -> None:
    assert rank_correlation(range(8), [0.5] * 8).value == 0


@pytest.mark.parametrize(
    ("value", "configurations", "last", "decision"),
    [
        # half widths on Fisher's scale: 0.8061 of 8, 0.4999 of 16, 0.3933 of 24; bounds atanh .40 = 0.4236 and
        # atanh .85 = 1.2562, middle 0.8399
        (0.85, 8, False, "pass"),  # 1.2562 - 0.8061 = 0.4501
        (0.83, 8, False, "open"),  # 1.1881 - 0.8061 = 0.3820
        (0.42, 8, False, "refuse"),  # 0.4477 + 0.8061 = 1.2538
        (0.43, 8, False, "open"),  # 0.4599 + 0.8061 = 1.2660
        (0.74, 16, False, "pass"),  # 0.9505 - 0.4999 = 0.4506
        (0.72, 16, False, "open"),  # 0.9076 - 0.4999 = 0.4077
        (0.69, 24, True, "pass"),
        (0.68, 24, True, "refuse"),
        (-0.3, 8, False, "refuse"),
    ],
)
def test_decisions_by_hand(value: float, configurations: int, last: bool, decision: str) -> None:
    half_width = 1.75 * 1.03 / math.sqrt(configurations - 3)
    z = math.atanh(value)
    correlation = RankCorrelation(value, math.tanh(z - half_width), math.tanh(z + half_width), configurations)

    assert decide(correlation, last=last) == decision


def test_a_run_that_failed_at_full_fidelity_ranks_last_there() -> None:
    """Loss: the best at the cheap setting fails at the full one; the other seven keep their order."""
    full = [None, *range(1, 8)]
    pairs = [GatePair(f"trial {n}", str(n), n, float(n), full[n]) for n in range(8)]

    gate = judge_gate(pairs, Direction.MINIMIZE, last=False)

    assert gate.correlation.value == pytest.approx(1 - 6 * (7**2 + 7) / (8 * 63))
    assert gate.failed == 1
    assert "1 failed at full fidelity" in gate.sentence


@pytest.mark.parametrize(
    ("rho", "keep"), [(0.95, 2), (0.9, 2), (0.89, 3), (0.8, 3), (0.7, 5), (0.6, 7), (0.5, 9), (-0.2, 9)]
)
def test_a_worse_ranking_promotes_more(rho: float, keep: int) -> None:
    assert keep_from(rho) == keep


@pytest.mark.parametrize(
    ("trials", "planned"), [(7, ()), (8, (8,)), (12, (8, 12)), (16, (8, 16)), (24, (8, 16, 24)), (60, (8, 16, 24))]
)
def test_the_gate_asks_for_no_more_trials_than_the_sweep_has(trials: int, planned: tuple[int, ...]) -> None:
    assert stages(trials) == planned


# -- the record ------------------------------------------------------------------------------------------------------
def test_the_record_is_read_as_it_was_written(tmp_path) -> None:
    pair = GatePair("default", "k", 0, 1.5, None)
    gate = Gate("pass", RankCorrelation(0.9, 0.6, 0.98, 8), 2, Direction.MINIMIZE, (pair,))
    folder = RunFolder(tmp_path)
    assert read_gate(folder) is None

    write_gate(folder, gate)

    assert read_gate(folder) == gate
    folder.gate.write_text("{}")
    with pytest.raises(Damaged, match=r"gate\.json is damaged"):
        read_gate(folder)
