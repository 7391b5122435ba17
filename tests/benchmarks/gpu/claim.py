"""What a check says: one claim after another, each with its figures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch

State = Literal["ok", "WRONG", "goal met", "goal missed", "figure"]


@dataclass(frozen=True)
class Claim:
    """A sentence with its figures, and whether it holds. A goal that is missed and a bare figure are no error."""

    state: State
    text: str


def result(holds: bool, text: str) -> Claim:
    """A claim that must hold."""
    return Claim("ok" if holds else "WRONG", text)


def goal(met: bool, text: str) -> Claim:
    """A claim that is wished for."""
    return Claim("goal met" if met else "goal missed", text)


def figure(text: str) -> Claim:
    """A measurement."""
    return Claim("figure", text)


def synchronize(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if device != "cpu":
        torch.cuda.synchronize()


def clear_peak(device: str) -> None:
    """Forget the largest amount of memory so far."""
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_mb(device: str) -> float:
    """The largest amount of the card's memory that torch has reserved, in MiB; on the CPU 0."""
    return 0.0 if device == "cpu" else torch.cuda.max_memory_reserved() / 2**20


def distance(a: float, b: float) -> float:
    """The relative distance of two numbers."""
    return abs(a - b) / max(abs(a), abs(b), 1e-12)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with TemporaryDirectory(prefix="hpo-gpu-") as name:
        yield Path(name)
