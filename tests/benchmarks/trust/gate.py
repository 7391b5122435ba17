"""The fidelity gate on planted rank correlations: how often it passes and refuses, and after how many configurations.

A configuration's cheap and full values have a normal distribution together; its rank correlation is planted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np

from hpo.direction import Direction
from hpo.promotion.gate import MOST, Gate, GatePair, judge_gate, stages
from tests.benchmarks.trust.experiment import Experiment, Row

GOOD, BAD = 0.85, 0.40  # rank correlations that must be passed, and refused


def experiments() -> tuple[Experiment, ...]:
    """The claims on a good cheap setting, and on a bad one."""
    good = (Row("gate-passes-rho-0.85", least=0.90), Row("gate-configurations-rho-0.85", most=13, is_share=False))
    bad = (Row("gate-refuses-rho-0.40", least=0.90), Row("gate-configurations-rho-0.40", most=13, is_share=False))
    return (
        Experiment(partial(_once, GOOD, "pass", good), good, repeats=4000),
        Experiment(partial(_once, BAD, "refuse", bad), bad, repeats=4000),
    )


def _once(rho: float, right: str, rows: tuple[Row, Row], seed: int) -> Mapping[str, float]:
    decision, configurations = rows
    gate = _gate(rho, seed)
    return {
        decision.name: float(gate.decision == right),
        configurations.name: float(gate.correlation.configurations),
    }


def _gate(rho: float, seed: int) -> Gate:
    pairs = _pairs(rho, np.random.default_rng(seed))
    *earlier, most = stages(MOST)
    for configurations in earlier:
        gate = judge_gate(pairs[:configurations], Direction.MAXIMIZE, last=False)
        if gate.decision != "open":
            return gate
    return judge_gate(pairs[:most], Direction.MAXIMIZE, last=True)


def _pairs(rho: float, rng: np.random.Generator) -> list[GatePair]:
    """As many configurations as the gate can ask for. The correlation of normal values of which Spearman's is `rho`:
    Pearson 1907."""
    pearson = 2 * math.sin(math.pi * rho / 6)
    cheap = rng.standard_normal(MOST)
    full = pearson * cheap + math.sqrt(1 - pearson**2) * rng.standard_normal(MOST)
    return [
        GatePair(f"trial {number}", str(number), number, float(cheap[number]), float(full[number]))
        for number in range(MOST)
    ]
