"""The line of preflight that says how long training waits for its batches, against waits that are planted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from hpo.checking import reading, speed
from hpo.checking.reading import Waiting, measure_waiting, reading_check
from hpo.task import Fidelity, Moment, Split
from tests.test_preflight import run_preflight
from tests.toy import Batch, Toy, toy_study


class Clock:
    """Seconds that pass in the toy's reading and steps alone, so that a busy machine does not change the result."""

    seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds


CLOCK = Clock()


@dataclass(frozen=True)
class Slow(Toy):
    """The toy, which reads a file at the start of each pass, and makes each batch, in the time that is said."""

    file_s: float = 0.0
    batch_s: float = 0.0
    step_s: float = 0.25

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        CLOCK.seconds += self.file_s
        for batch in super().batches(split, fidelity, batch_size, rng):
            CLOCK.seconds += self.batch_s
            yield batch

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        CLOCK.seconds += self.step_s
        return super().loss(model, batch, at)


@pytest.fixture(autouse=True)
def _planted_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "time", SimpleNamespace(perf_counter=CLOCK.perf_counter))


# an epoch of the toy at its cheap fidelity has 4 batches
@pytest.mark.parametrize(
    ("task", "waiting"),
    [
        (Slow(), Waiting(waits=0, seconds=1)),
        (Slow(file_s=1), Waiting(waits=1, seconds=2)),
        (Slow(batch_s=0.25), Waiting(waits=1, seconds=2)),
        (Slow(file_s=2, batch_s=0.25), Waiting(waits=3, seconds=4)),
        (Slow(file_s=2, batch_s=1, step_s=1), Waiting(waits=6, seconds=10)),  # two of the four batches are timed
    ],
)
def test_an_epochs_waiting_is_that_for_its_file_and_for_each_batch(task: Slow, waiting: Waiting) -> None:
    assert measure_waiting(toy_study(task=task), "cpu") == waiting


def test_a_fifth_of_the_time_is_worth_a_line() -> None:
    [check] = reading_check(toy_study(task=Slow(file_s=0.25)), "cpu")
    assert check.status == "go"
    assert check.seen == "training waits for its batches 20% of the time: 0.25 s of 1.2 s an epoch"
    assert "functools.cache" in check.allowed
    assert reading_check(toy_study(task=Slow(file_s=0.24)), "cpu") == []


def test_an_error_in_the_measurement_is_a_line_and_no_verdict() -> None:
    @dataclass(frozen=True)
    class Broken(Toy):
        def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
            raise RuntimeError("out of memory")

    [check] = reading_check(toy_study(task=Broken()), "cpu")
    assert (check.status, check.seen) == ("skip", "RuntimeError: out of memory")


def test_preflight_has_the_line_where_the_sweep_is_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "MATTERS", 0.0)
    result = run_preflight(toy_study(task=Slow(file_s=1)), tmp_path)
    assert [check.name for check in result.checks[-2:]] == [speed.NAME, reading.NAME]
