"""Schedules against closed forms and torch's own schedulers; nothing here was copied from our output."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import LinearLR, OneCycleLR, ReduceLROnPlateau, StepLR

from hpo.direction import Direction
from hpo.recipe import SCHEDULES, Recipe
from hpo.schedule import blend, count_plateaus, phase, ramp, ramped, rate_factor, stage, warmup_cosine
from hpo.task import Moment


def at(step: int, steps: int) -> Moment:
    return Moment(epoch=0, epochs=1, step=step, steps=steps)


def in_epoch(epoch: int, epochs: int) -> Moment:
    return Moment(epoch=epoch, epochs=epochs, step=epoch, steps=epochs)


def torch_rates(steps: int, rising: int, final: float) -> list[float]:
    """The factors of torch's LinearLR (from 1/rising) followed by its CosineAnnealingLR."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps - rising, eta_min=final)
    schedule = cosine
    if rising > 1:
        linear = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / rising, total_iters=rising - 1)
        schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [linear, cosine], milestones=[rising])
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(("warmup", "rising", "final"), [(0.0, 0, 0.0), (0.25, 10, 0.0), (0.1, 4, 0.05)])
def test_warm_up_then_cosine_equals_torchs_schedulers(warmup: float, rising: int, final: float) -> None:
    ours = [warmup_cosine(at(step, 40), warmup=warmup, final=final) for step in range(40)]
    assert ours == pytest.approx(torch_rates(40, rising, final), abs=1e-9)


def test_warm_up_rises_from_one_nth_and_the_cosine_is_halfway_in_the_middle() -> None:
    """Loshchilov & Hutter 2017, eq. 5: at half of the cycle the rate is the mean of both ends."""
    assert warmup_cosine(at(0, 100), warmup=0.2) == 1 / 20
    assert warmup_cosine(at(19, 100), warmup=0.2) == 1.0
    assert warmup_cosine(at(20, 100), warmup=0.2) == 1.0
    assert warmup_cosine(at(60, 100), warmup=0.2, final=0.1) == pytest.approx(0.55)
    assert warmup_cosine(at(100, 100), warmup=0.2, final=0.1) == pytest.approx(0.1)


@given(steps=st.integers(1, 500), warmup=st.floats(0, 0.999), final=st.floats(0, 1), data=st.data())
def test_the_rate_is_never_zero_never_above_one_and_never_below_its_end(steps, warmup, final, data) -> None:
    step = data.draw(st.integers(0, steps - 1))
    rate = warmup_cosine(at(step, steps), warmup=warmup, final=final)
    assert 0 < rate <= 1 + 1e-12
    rising = round(warmup * steps)
    if step >= rising:
        assert rate >= final - 1e-12
    if step + 1 < steps:
        following = warmup_cosine(at(step + 1, steps), warmup=warmup, final=final)
        assert following >= rate if step + 1 < rising else step < rising or following <= rate + 1e-12


def rates_of(schedule_of, steps: int) -> list[float]:
    """The factors that one of torch's schedulers gives."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = schedule_of(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def ours(recipe: Recipe, steps: int) -> list[float]:
    return [rate_factor(recipe, at(step, steps), (), Direction.MINIMIZE) for step in range(steps)]


def test_a_linear_schedule_equals_torchs() -> None:
    rates = rates_of(lambda o: LinearLR(o, start_factor=1, end_factor=0.2, total_iters=40), 40)
    assert ours(Recipe(schedule="linear", warmup=0.0, final_lr=0.2), 40) == pytest.approx(rates)


def test_a_step_schedule_equals_torchs() -> None:
    rates = rates_of(lambda o: StepLR(o, step_size=12, gamma=0.3), 40)
    assert ours(Recipe(schedule="step", warmup=0.0, drop=0.3, drop_every=0.3), 40) == pytest.approx(rates)
    floored = ours(Recipe(schedule="step", warmup=0.0, drop=0.3, drop_every=0.3, final_lr=0.2), 40)
    assert floored == pytest.approx([max(0.2, rate) for rate in rates])


@pytest.mark.parametrize("rise", [0.1, 0.3, 0.75])
def test_one_cycle_equals_torchs(rise: float) -> None:
    rates = rates_of(lambda o: OneCycleLR(o, max_lr=1.0, total_steps=41, pct_start=rise, cycle_momentum=False), 40)
    steps = ours(Recipe(schedule="onecycle", warmup=rise), 41)[:40]
    assert steps == pytest.approx(rates, abs=1e-7)


def test_a_constant_schedule_only_warms_up() -> None:
    assert ours(Recipe(schedule="constant", warmup=0.2), 10) == [0.5] + [1.0] * 9
    assert ours(Recipe(schedule="plateau", warmup=0.2), 10) == [0.5] + [1.0] * 9


@given(
    values=st.lists(st.integers(0, 6).map(float), max_size=40),
    patience=st.integers(0, 4),
    direction=st.sampled_from(Direction),
)
def test_plateaus_are_those_of_torchs_scheduler(values: list[float], patience: int, direction: Direction) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    mode = "min" if direction is Direction.MINIMIZE else "max"
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, factor=0.5, patience=patience, threshold=0.0, eps=0.0)
    for value in values:
        scheduler.step(value)
    expected = optimizer.param_groups[0]["lr"]
    assert 0.5 ** count_plateaus(values, direction, patience=patience) == expected


@given(
    schedule=st.sampled_from(SCHEDULES),
    steps=st.integers(1, 300),
    warmup=st.floats(0, 0.999),
    final=st.floats(0, 1),
    every=st.floats(1e-3, 1),
    data=st.data(),
)
def test_no_schedule_is_ever_zero_or_above_one(schedule, steps, warmup, final, every, data) -> None:
    """At 0 a group would be frozen."""
    recipe = Recipe(schedule=schedule, warmup=warmup, final_lr=final, drop_every=every, drop=0.01)
    step = data.draw(st.integers(0, steps - 1))
    assert 0 < rate_factor(recipe, at(step, steps), (), Direction.MINIMIZE) <= 1 + 1e-12


def test_a_moment_counts_the_share_of_steps_taken() -> None:
    assert [at(step, 4).fraction for step in (0, 1, 4, 9)] == [0, 0.25, 1, 1]
    assert at(0, 0).fraction == 0


@pytest.mark.parametrize(
    ("epochs", "expected"),
    [
        (1, ["warmup"]),
        (4, ["warmup", "main", "main", "main"]),
        (5, ["warmup", "main", "main", "main", "final"]),
        (40, ["warmup"] * 3 + ["main"] * 29 + ["final"] * 8),
    ],
)
def test_phases_of_runs_of_different_length(epochs: int, expected: list[str]) -> None:
    """By hand: warm-up is 3 epochs but at most a tenth, at least one; the last fifth, from ceil(0.8 n), is final."""
    assert [phase(in_epoch(epoch, epochs)) for epoch in range(epochs)] == expected


def test_stages_change_at_the_nearest_epoch() -> None:
    assert [stage(in_epoch(epoch, 10), (0.25, 0.25, 0.5)) for epoch in range(10)] == [0] * 2 + [1] * 3 + [2] * 5
    assert [stage(in_epoch(epoch, 3), (1.0,)) for epoch in range(3)] == [0, 0, 0]


@given(shares=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any), epochs=st.integers(1, 300))
def test_stages_never_go_back_and_end_with_the_last_that_has_a_share(shares, epochs) -> None:
    parts = [share / sum(shares) for share in shares]
    stages = [stage(in_epoch(epoch, epochs), parts) for epoch in range(epochs)]
    assert stages == sorted(stages)
    for index, part in enumerate(parts):
        assert abs(stages.count(index) - part * epochs) <= 1 + 1e-9


@pytest.mark.parametrize("shares", [(0.5, 0.4), (1.5, -0.5), (math.nan, 1.0)])
def test_shares_that_are_no_shares_are_refused(shares) -> None:
    with pytest.raises(ValueError, match="at least 0 and sum to 1"):
        stage(in_epoch(0, 10), shares)


def test_a_ramp_is_half_a_cosine() -> None:
    assert [ramp(epoch, 4) for epoch in (-1, 0, 2, 4, 9)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert ramp(1, 4) == pytest.approx((1 - math.sqrt(0.5)) / 2)
    assert ramp(0, 0) == 1


def test_a_ramp_leaves_the_excluded_weights_and_refuses_a_name_that_is_no_weight() -> None:
    weights = {"image": 2.0, "edge": 4.0}
    assert ramped(weights, 0.25, excluding={"image"}) == {"image": 2.0, "edge": 1.0}
    assert weights == {"image": 2.0, "edge": 4.0}
    with pytest.raises(ValueError, match=r"\['imgae'\].*weights: \['edge', 'image'\]"):
        ramped(weights, 0.25, excluding={"imgae"})


def test_a_blend_is_linear_name_by_name() -> None:
    assert blend({"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 8.0}, 0.25) == {"a": 1.5, "b": 2.0}
