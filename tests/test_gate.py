"""The fidelity gate: its rule, its runs, and what is said of it."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from torch import nn
from typer.testing import CliRunner

import hpo
from hpo.cli.main import app
from hpo.contract.pruning import Median
from hpo.direction import Direction
from hpo.errors import Damaged
from hpo.files import write_json
from hpo.formatting import count, duration
from hpo.page.collect import collect
from hpo.page.report import write_report
from hpo.promotion.gate import (
    CONFIDENCE_PERCENT,
    QUANTILE,
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
from hpo.promotion.results import Verdict
from hpo.promotion.spread import spread_ratio
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Columns
from hpo.trial.provenance import identity
from hpo.trial.record import read_outcome
from hpo.verbs.gate import gate_share
from tests.faults.processes import code_of, start
from tests.finished import STUDY as FINISHED
from tests.finished import finished
from tests.test_report import Words
from tests.toy import Batch, Toy, toy_study

GO = {"status": "go", "checks": [], "seconds": 1.0}


@pytest.fixture
def tmp_path(memory_disk: Path) -> Path:
    """In memory: every run syncs its files."""
    return Path(tempfile.mkdtemp(dir=memory_disk))


# -- the rule --------------------------------------------------------------------------------------------------------
def test_the_rank_correlation_and_its_interval_by_hand() -> None:
    """Two exchanges of neighbours among 8: rho = 1 - 6 * 4 / (8 * 63) = 0.95238; z = ln(41) / 2."""
    correlation = rank_correlation([1, 2, 3, 4, 5, 6, 7, 8], [20, 10, 30, 40, 50, 60, 80, 70])

    assert correlation.value == pytest.approx(0.952381, abs=1e-6)
    assert correlation.low == pytest.approx(math.tanh(math.log(41) / 2 - 0.806103), abs=1e-5)  # 1.75 * 1.03 / sqrt(5)
    assert correlation.high == pytest.approx(math.tanh(math.log(41) / 2 + 0.806103), abs=1e-5)


def test_the_interval_has_the_confidence_that_the_page_says() -> None:
    assert 2 * stats.norm.cdf(QUANTILE) - 1 == pytest.approx(CONFIDENCE_PERCENT / 100, abs=0.001)


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


# -- its runs --------------------------------------------------------------------------------------------------------
CHEAP = hpo.Fidelity(size=6, train=256, val=32, epochs=3)
FULL = replace(CHEAP, epochs=4, test=20)


@dataclass(frozen=True)
class Shifted(Toy):
    """Every prediction is off by `shift - aim`. A fidelity that pins `aim` ranks by the distance from it."""

    aim: float = 0.0

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return self.judged(model(batch.x_BI) + 2 * self.shift - self.aim, batch)


def study(**changes: Any) -> StudySpec:
    """The sweep of 12 trials, 6 of them drawn at random anyway, of a task whose shift alone matters: 0 is its best."""
    fields = {
        "task": Shifted(shift=0.5),
        "space": {"task.shift": hpo.uniform(0, 1)},
        "smoke": replace(CHEAP, epochs=2),
        "cheap": CHEAP,
        "full": FULL,
        "startup_trials": 6,
        "pruning": Median(warmup_epochs=0, min_trials=1, startup_trials=1),
        "keep": 2,
        "seeds": 2,
    }
    return toy_study(**{**fields, **changes})


def misleading(**changes: Any) -> StudySpec:
    """The same, but at the cheap fidelity a shift of 1 is the best: it ranks the wrong way round."""
    return study(cheap=replace(CHEAP, fixed={"task.aim": 1.0}), **changes)


def gated(spec: StudySpec, runs: Path, **options: Any) -> Gate:
    return hpo.gate(spec, runs=runs, **{"backend": "inline", "force": True, **options})


def started(folder: Path) -> Counter[tuple[str, int]]:
    """How often the training of each trial of the sweep and run of the promotion was begun."""
    lines = [json.loads(line) for line in (folder / "events.log").read_text().splitlines()]
    return Counter((line["study"], line["trial"]) for line in lines if line["event"] == "start")


def sweep_rows(folder: Path) -> list[tuple[Any, ...]]:
    stored = stored_study(RunFolder(folder), "toy")
    return [(trial.number, trial.state.name, trial.params, trial.value) for trial in stored.get_trials(deepcopy=False)]


def test_a_cheap_setting_that_ranks_like_the_full_one_passes(tmp_path: Path) -> None:
    gate = gated(study(), tmp_path)

    assert gate.decision == "pass"
    assert gate.correlation.value > 0.8
    assert gate.keep == keep_from(gate.correlation.value)
    assert [pair.name for pair in gate.pairs] == ["default", *(f"trial {number}" for number in range(1, 8))]
    assert read_gate(RunFolder(tmp_path / "toy")) == gate


def test_its_trials_are_those_of_the_sweep_which_trains_none_of_them_again(tmp_path: Path) -> None:
    """Against a sweep without a gate: the same draws in the trials that are random anyway, but none of them pruned."""
    gate = gated(study(), tmp_path / "gated")
    hpo.sweep(study(), runs=tmp_path / "gated", backend="inline", force=True)
    hpo.sweep(study(), runs=tmp_path / "alone", backend="inline", force=True)

    with_gate, alone = sweep_rows(tmp_path / "gated/toy"), sweep_rows(tmp_path / "alone/toy")
    assert len(with_gate) == len(alone) == 12
    assert [row[2] for row in with_gate[:6]] == [row[2] for row in alone[:6]]
    assert {row[1] for row in with_gate[:8]} == {"COMPLETE"}
    assert "PRUNED" in {row[1] for row in alone[:6]}
    assert [row[3] for row in alone[:6] if row[1] == "COMPLETE"] == [
        mine[3] for mine, theirs in zip(with_gate[:6], alone[:6], strict=True) if theirs[1] == "COMPLETE"
    ]
    assert [pair.cheap for pair in gate.pairs] == [row[3] for row in with_gate[:8]]
    assert set(started(tmp_path / "gated/toy").values()) == {1}


@dataclass(frozen=True)
class Promoted:
    """A study that went from the gate to a verdict."""

    runs: Path
    gate: Gate
    verdict: Verdict
    before: Counter[tuple[str, int]]  # what had been trained when the promotion began


@pytest.fixture(scope="module")
def promoted(memory_disk: Path) -> Promoted:
    runs = Path(tempfile.mkdtemp(dir=memory_disk))
    spec = study(trials=8, keep=None)
    gate = gated(spec, runs)
    hpo.sweep(spec, runs=runs, backend="inline", force=True)
    before = started(runs / "toy")
    return Promoted(runs, gate, hpo.promote(spec, runs=runs, backend="inline"), before)


def test_a_promotion_begins_with_as_many_as_the_gate_says(promoted: Promoted) -> None:
    assert len(promoted.verdict.results) == promoted.gate.keep + 1


def test_a_promotion_reuses_its_runs_at_full_fidelity(promoted: Promoted) -> None:
    runs = [run for result in promoted.verdict.results for run in result.runs]
    first_runs = [run for run in runs if run.seed_index == 0]
    new = started(promoted.runs / "toy") - promoted.before

    assert {("toy.promotion", run.number) for run in first_runs} <= promoted.before.keys()
    assert len(new) == len(runs) - len(first_runs)
    full = {pair.name: pair.full for pair in promoted.gate.pairs}
    for result in promoted.verdict.results:
        assert result.runs[0].value == full[result.candidate.name]


def test_a_configuration_that_the_sweep_has_pruned_is_trained_to_its_end_as_a_new_trial(tmp_path: Path) -> None:
    hpo.sweep(study(), runs=tmp_path, backend="inline", force=True)
    before = sweep_rows(tmp_path / "toy")
    pruned = [row for row in before[:6] if row[1] == "PRUNED"]
    gate = gated(study(), tmp_path)

    after = sweep_rows(tmp_path / "toy")
    assert after[:12] == before
    again = [row[2] for row in after[12 : 12 + len(pruned)]]
    assert pruned
    assert again == [row[2] for row in pruned]
    assert len(after) == 12 + len(pruned) + len(gate.pairs) - 6  # the sweep had drawn six at random
    assert gate.decision == "pass"
    assert not {pair.trial for pair in gate.pairs} & set(range(6, 12))  # what TPE has proposed is no random draw


class Fragile(Shifted):
    """Cannot be trained where the shift is above a half, which is the default."""

    def model(self) -> nn.Module:
        if self.shift > 0.5:
            raise ZeroDivisionError("too far off")
        return super().model()


def test_a_configuration_that_fails_is_left_out_and_the_next_one_takes_its_place(tmp_path: Path) -> None:
    gate = gated(study(task=Fragile(shift=0.5), trials=8), tmp_path)

    rows = {number: (state, params["task.shift"]) for number, state, params, _ in sweep_rows(tmp_path / "toy")}
    assert len(gate.pairs) == 8 < len(rows)
    assert [pair.trial for pair in gate.pairs] == [number for number, (_, shift) in rows.items() if shift <= 0.5]
    assert all(pair.full is not None for pair in gate.pairs)


@pytest.fixture(scope="module")
def refused_once(memory_disk: Path) -> Path:
    runs = Path(tempfile.mkdtemp(dir=memory_disk))
    gated(misleading(trials=8, keep=1), runs)
    return runs


@pytest.fixture
def refused(refused_once: Path, tmp_path: Path) -> Path:
    """A folder of runs with a study whose gate has refused, and which has a preflight."""
    shutil.copytree(refused_once, tmp_path, dirs_exist_ok=True)
    write_json(tmp_path / "toy/preflight.json", GO | {"identity": identity(misleading(trials=8, keep=1))})
    return tmp_path


def test_a_cheap_setting_that_ranks_the_wrong_way_round_is_refused(refused: Path) -> None:
    gate = read_gate(RunFolder(refused / "toy"))

    assert gate.decision == "refuse"
    assert gate.correlation.value < -0.8
    assert "does not rank like the full one: rank correlation -" in gate.sentence
    assert len(gate.pairs) == 8
    assert gated(misleading(trials=8, keep=1), refused) == gate
    assert set(started(refused / "toy").values()) == {1}  # the second time nothing was trained


def test_the_command_says_so_and_exits_with_1(refused: Path) -> None:
    module = refused / "misleading_study.py"
    module.write_text("from tests.test_gate import misleading\nstudy = misleading(trials=8, keep=1)\n")

    result = CliRunner().invoke(app, ["gate", str(module), "--runs", str(refused), "--backend", "inline"])

    assert result.exit_code == 1
    assert "gate of toy: refuse" in result.stdout
    assert "the cheap setting does not rank like the full one: rank correlation -" in result.stderr
    assert "mend the cheap fidelity" in result.stderr


def test_nothing_can_be_tested_of_one_fidelity_or_of_seven_trials(tmp_path: Path) -> None:
    with pytest.raises(hpo.Refused, match="one and the same fidelity"):
        gated(study(full=replace(CHEAP, test=20)), tmp_path)
    with pytest.raises(hpo.Refused, match="at least 8 trials of the sweep, and this one has 7"):
        gated(study(trials=7), tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_preflight_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(hpo.Refused, match="preflight"):
        gated(study(), tmp_path, force=False)


def test_killed_at_any_moment_it_goes_on_and_decides_the_same(tmp_path: Path) -> None:
    unbroken, folder = gated(study(trials=8), tmp_path / "unbroken"), tmp_path / "killed"
    lives = 0
    while code_of(start(lambda: gated(study(trials=8), folder), die_at=83 * (lives + 1))):
        lives += 1
    assert lives >= 2
    assert read_gate(RunFolder(folder / "toy")) == unbroken
    assert sweep_rows(folder / "toy") == sweep_rows(tmp_path / "unbroken/toy")


# -- run -------------------------------------------------------------------------------------------------------------
def test_run_has_the_gate_where_it_costs_at_most_a_fifth(tmp_path: Path) -> None:
    """8 full runs against 12 cheap trials, of which pruning may leave 4.67, and a race of 3 runs and 2 * seeds."""
    dear, worth = study(seeds=2), study(seeds=20)
    sweep = 12 * CHEAP.epochs * (1 + 11 / 3) / 12
    assert gate_share(dear) == pytest.approx(8 * 4 / (sweep + 7 * 4))
    assert gate_share(worth) == pytest.approx(8 * 4 / (sweep + 43 * 4))
    assert gate_share(worth) < 0.2 < gate_share(dear)
    assert gate_share(replace(dear, full=replace(FULL, train=None))) is None


def test_run_begins_with_a_gate_that_is_worth_its_cost(tmp_path: Path) -> None:
    spec = misleading(trials=8, seeds=20)
    write_json(tmp_path / "toy/preflight.json", GO | {"identity": identity(spec)})
    with pytest.raises(hpo.NoGo, match="does not rank like the full one"):
        hpo.run(spec, runs=tmp_path, backend="inline")

    assert read_gate(RunFolder(tmp_path / "toy")).decision == "refuse"
    assert len(started(tmp_path / "toy")) == 8 + 8


def test_run_stops_after_a_refusal_and_goes_on_with_force(refused: Path) -> None:
    spec, options = misleading(trials=8, keep=1), {"runs": refused, "backend": "inline"}
    with pytest.raises(hpo.NoGo, match=r"does not rank like the full one: .* mend the cheap fidelity"):
        hpo.run(spec, **options)
    assert not (refused / "toy/verdict.json").exists()

    hpo.run(spec, force=True, **options)

    assert (refused / "toy/verdict.json").exists()
    assert read_gate(RunFolder(refused / "toy")).forced
    words = Words.of(refused / "toy/report.html")
    assert words.count("The cheap setting does not rank like the full one: rank correlation -") == 2
    assert "The study went on all the same." in words


# -- the page --------------------------------------------------------------------------------------------------------
def test_the_page_says_that_it_passed_and_shows_the_pairs(promoted: Promoted) -> None:
    spec = study(trials=8, keep=None)
    words = Words.of(hpo.report(spec, runs=promoted.runs))
    figure = hpo.figures(spec, runs=promoted.runs)["gate"]
    gate = hpo.findings(spec, runs=promoted.runs).gate

    assert "The cheap setting ranks like the full one: rank correlation" in words
    assert "over 8 random configurations" in words
    assert f"begin with {count(promoted.gate.keep, 'configuration')} beside the default" in words
    drawn = {(trace.x[0], trace.y[0]) for trace in figure.data if trace.x[0] is not None}
    assert drawn == {(pair.cheap, pair.full) for pair in promoted.gate.pairs}
    reused = {run.number for result in promoted.verdict.results for run in result.runs}
    alone = [run for run in range(8) if run not in reused]
    folder = RunFolder(promoted.runs / "toy")
    assert gate.seconds == pytest.approx(sum(read_outcome(folder.trial("promotion", run)).seconds for run in alone))
    assert " for the gate; " in words
    assert "Does cheap rank like full? yes rank correlation " in words
    assert gate.spread.low < gate.spread.mean < gate.spread.high


def test_the_page_says_that_it_was_not_tested_and_what_a_test_costs(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    words = Words.of(write_report(FINISHED, folder))
    gate = collect(FINISHED, folder).gate

    assert "The cheap setting was not tested" in words
    least, most = duration(8 * gate.run_seconds), duration(24 * gate.run_seconds)
    assert f"{least} to {most} of training: hpo gate toy --runs there" in words


def test_the_ratio_of_the_spreads_by_hand() -> None:
    """A variance of 4 on 2 degrees of freedom over one of 2 on 2, which a third configuration says nothing about."""
    ratio = spread_ratio([0.0, 2.0, 4.0], [[1.0, 3.0], [2.0, 4.0], [9.0]])

    assert ratio.mean == pytest.approx(4.0 / 2.0)
    assert ratio.low == pytest.approx(2.0 / stats.f.ppf(0.975, 2, 2))
    assert ratio.high == pytest.approx(2.0 / stats.f.ppf(0.025, 2, 2))
    assert spread_ratio([1.0], [[1.0, 2.0]]) is None
    assert spread_ratio([1.0, 2.0], [[1.0]]) is None
