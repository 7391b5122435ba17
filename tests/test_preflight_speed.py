"""The line of preflight that says which precision makes a step faster here, against speeds that are planted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hpo.checking import speed
from hpo.checking.cost import Cost
from hpo.checking.speed import Learned, Setting, matters, measure_learned, measure_speeds, speed_check
from hpo.recipe import Recipe
from hpo.task import Moment, Task
from tests.test_preflight import run_preflight
from tests.toy import Batch, Toy, toy_study

FP32, BF16 = Setting("fp32", channels_last=False), Setting("bf16", channels_last=False)


class Clock:
    """Seconds that pass in the toy's steps alone, so that a busy machine does not change what is measured."""

    seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


CLOCK = Clock()


def in_bf16() -> bool:
    return torch.is_autocast_enabled("cpu")


@dataclass(frozen=True)
class Timed(Toy):
    """The toy, whose steps take as long as is said."""

    fp32_ms: float = 20.0
    bf16_ms: float = 5.0

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        CLOCK.seconds += (self.bf16_ms if in_bf16() else self.fp32_ms) / 1000
        return super().loss(model, batch, at)


@dataclass(frozen=True)
class LearnsNothing(Timed):
    """Its steps have no effect in bf16."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        terms = super().loss(model, batch, at)
        return {name: term.detach() + 0 * term for name, term in terms.items()} if in_bf16() else terms


@dataclass(frozen=True)
class Unsupported(Timed):
    """An operation that bf16 lacks."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        if in_bf16():
            raise RuntimeError("not implemented for 'BFloat16'")
        return super().loss(model, batch, at)


@dataclass(frozen=True)
class Images(Timed):
    """The toy, with a kernel in its model."""

    def model(self) -> nn.Module:
        model = super().model()
        model.kernel = nn.Parameter(torch.zeros(2, 2, 3, 3))
        return model


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=CLOCK.perf_counter))
    monkeypatch.setattr(speed, "ROUNDS", 3)
    monkeypatch.setattr(speed, "STEPS", 8)


def test_a_step_that_takes_a_quarter_of_the_time_in_bf16_is_four_times_as_fast() -> None:
    speeds = measure_speeds(toy_study(task=Timed()), "cpu")
    assert speeds.own == FP32
    assert speeds.own_seconds == pytest.approx(0.02)
    assert speeds.times_as_fast == {BF16: pytest.approx(4)}
    assert speeds.paying == [BF16]


def test_layouts_are_compared_where_the_model_has_kernels() -> None:
    speeds = measure_speeds(toy_study(task=Images(), recipe=Recipe(channels_last=True)), "cpu")
    assert speeds.own == Setting("fp32", channels_last=True)
    assert set(speeds.times_as_fast) == {FP32, BF16, Setting("bf16", channels_last=True)}


@pytest.mark.parametrize(
    ("task", "recipe", "advice"),
    [
        (Timed(), Recipe(), "recipe.precision='bf16': 4.00 times as fast"),
        (Timed(bf16_ms=20), Recipe(), "the recipe stays: nothing is faster"),
        (Timed(), Recipe(precision="bf16"), "the recipe stays: nothing is faster"),
        (Timed(fp32_ms=5, bf16_ms=20), Recipe(precision="bf16"), "recipe.precision='fp32': 4.00 times as fast"),
        (LearnsNothing(), Recipe(), "the recipe stays: bf16 is faster and learns less"),
        (LearnsNothing(), Recipe(precision="bf16"), "recipe.precision='fp32': bf16 learns less"),
        (Unsupported(), Recipe(), "the recipe stays: nothing is faster"),
    ],
)
def test_the_line_names_the_field_to_set(task: Task[Batch], recipe: Recipe, advice: str) -> None:
    check = speed_check(toy_study(task=task, recipe=recipe), "cpu")
    assert (check.status, check.allowed) == ("go", advice)
    assert "ms in" in check.seen
    assert ("bf16 cannot be run (RuntimeError: not implemented for 'BFloat16')" in check.seen) is (
        type(task) is Unsupported
    )


def test_the_same_weights_learn_alike_in_both_precisions() -> None:
    """bf16 has 8 bits: products of the toy are off by 0.4 %."""
    learned = measure_learned(toy_study(task=Toy()), "bf16", "cpu")
    assert learned.low == pytest.approx(learned.fp32, rel=0.02)
    assert learned.low != learned.fp32
    assert max(learned.fp32) < 0.8 * learned.start
    assert learned.holds


@pytest.mark.parametrize(
    ("low", "fp32", "holds"),
    [
        ((0.204, 0.204), (0.2, 0.2), True),  # lacks 0.5 % of what fp32 has learned
        ((0.25, 0.25), (0.2, 0.2), False),  # lacks 6 %
        ((0.25, 0.25), (0.15, 0.25), True),  # lacks as much, and seeds differ by more
        ((0.1, 0.1), (0.2, 0.2), True),
        ((float("nan"), 0.2), (0.2, 0.2), False),
    ],
)
def test_what_a_low_precision_may_lack(low: tuple[float, float], fp32: tuple[float, float], holds: bool) -> None:
    assert Learned("bf16", low=low, fp32=fp32, start=1.0).holds is holds


def test_an_error_in_the_measurement_is_a_line_and_no_verdict() -> None:
    @dataclass(frozen=True)
    class Broken(Toy):
        def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
            raise RuntimeError("out of memory")

    check = speed_check(toy_study(task=Broken()), "cpu")
    assert (check.status, check.seen) == ("skip", "RuntimeError: out of memory")


def test_speed_matters_neither_in_a_rehearsal_nor_in_a_sweep_of_seconds() -> None:
    cost = Cost(trial_seconds=9, slowest_seconds=9, sweep_least_seconds=61, sweep_seconds=61, workers=1, peak_mb=1)
    study = toy_study()
    assert matters(study, cost)
    assert not matters(study, replace(cost, sweep_seconds=59))
    assert not matters(replace(study, cheap=study.smoke), cost)


def test_preflight_has_the_line_where_the_sweep_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "MATTERS", 0.0)
    result = run_preflight(toy_study(task=Timed()), tmp_path)
    assert result.checks[-1].name == speed.NAME
    assert "bf16 is" in result.checks[-1].seen
