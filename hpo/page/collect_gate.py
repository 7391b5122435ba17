"""What is known of the fidelity gate: its record, and what its runs at full fidelity cost and show."""

from __future__ import annotations

from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial

from hpo.formatting import finite
from hpo.page.findings import GateFindings, Promotion
from hpo.promotion.gate import FIRST, Gate, is_one_fidelity, read_gate, stages
from hpo.promotion.results import Verdict
from hpo.promotion.spread import spread_ratio
from hpo.storage.folder import RunFolder
from hpo.storage.reading import all_trials
from hpo.study import StudySpec


def gate_findings(
    study: StudySpec, folder: RunFolder, stored: optuna.Study | None, promotion: Promotion | None, command: str
) -> GateFindings | None:
    """What is known of the gate; None where both fidelities are the same. `stored` holds the runs at full fidelity,
    and `command` is what runs the gate. Raises Damaged where its record cannot be read."""
    if is_one_fidelity(study):
        return None
    gate = read_gate(folder)
    runs = [run for run in all_trials(stored) if run.state.is_finished()] if stored else []
    full_runs = [seconds for seconds in map(_seconds, runs) if seconds]
    verdict = promotion.verdict if promotion else None
    return GateFindings(
        gate=gate,
        command=command if stages(study.trials) else f"{command} --trials {FIRST}",
        seconds=sum(map(_seconds, _uncounted(gate, runs, promotion))),
        run_seconds=sum(full_runs) / len(full_runs) if full_runs else None,
        spread=spread_ratio(_full_values(gate), _validation(verdict)) if gate and verdict else None,
    )


def _seconds(run: FrozenTrial) -> float:
    return finite(run.user_attrs.get("seconds")) or 0.0


def _uncounted(gate: Gate | None, runs: Iterable[FrozenTrial], promotion: Promotion | None) -> list[FrozenTrial]:
    """The gate's runs that the promotion does not count as its own."""
    keys = {pair.key for pair in gate.pairs} if gate else set()
    counted = {entry.run.number for entry in promotion.runs} if promotion else set()
    return [
        run
        for run in runs
        if run.number not in counted and run.user_attrs.get("key") in keys and run.user_attrs.get("seed") == 0
    ]


def _full_values(gate: Gate) -> list[float]:
    return [pair.full for pair in gate.pairs if pair.full is not None]


def _validation(verdict: Verdict) -> list[list[float]]:
    """The validation values of each promoted configuration's completed runs."""
    return [[run.value for run in result.runs if run.value is not None] for result in verdict.results]
