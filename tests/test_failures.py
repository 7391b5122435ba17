"""Trials that fail: what the sampler, the folder, the storage and the page say of them, and that the sweep goes on."""

from __future__ import annotations

import faulthandler
import json
import tempfile
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
import pytest
from torch import nn

import hpo
from hpo import Infeasible, choose, integer, uniform, when
from hpo.cli.results import Terminal
from hpo.errors import SweepFailed
from hpo.page.collect import collect
from hpo.search.avoid import likely_feasible, unit_point
from hpo.search.climb import begin_climb
from hpo.search.ladder import Begin
from hpo.search.proposal import draw
from hpo.search.sweep import SweepTrials
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.trial.compare import require_agreement
from hpo.trial.failures import failures_among, grouped, kind_of, too_many, users_line
from hpo.trial.lifecycle import conclude, state_of
from hpo.trial.objective import settle
from hpo.trial.provenance import identity
from hpo.trial.record import Outcome, read_outcome
from hpo.trial.sealed import read_sealed, write_sealed
from tests.benchmarks.trust.planted import World, planted_study, sweep_planted
from tests.sweeper import rows
from tests.toy import CHEAP, Toy, toy_study


@pytest.fixture
def tmp_path(memory_disk: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=memory_disk))


QUICK = replace(CHEAP, epochs=1, train=16, val=16)


# -- infeasible combinations -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Attention(Toy):
    """Refuses some combinations of its fields when it is made, and one when it makes its model."""

    dim: int = 4
    heads: int = 2

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise Infeasible("heads must divide dim")

    def model(self) -> nn.Module:
        if self.heads == 4:
            raise Infeasible("four heads are too many")
        return super().model()


ATTENTION = toy_study(
    name="attention",
    task=Attention(),
    space={"task.dim": integer(2, 6), "task.heads": choose(2, 3, 4)},
    smoke=QUICK,
    cheap=QUICK,
    full=QUICK,
    trials=14,
    pruning=None,
)


def test_an_infeasible_combination_is_the_outcome_of_its_trial_and_the_page_says_why(tmp_path: Path) -> None:
    """Also where an end of a range is infeasible beside the defaults, as dim = 3 with 2 heads."""
    done = hpo.sweep(ATTENTION, runs=tmp_path, force=True, backend="inline", workers=1)
    trials = collect(ATTENTION, RunFolder(tmp_path / "attention")).sweep.trials
    assert len(trials) == done.done == 14
    for trial in trials:
        heads, dim = trial.params["task.heads"], trial.params["task.dim"]
        expected = "infeasible: heads must divide dim" if dim % heads else ""
        if not expected and heads == 4:
            expected = "infeasible: four heads are too many"
        assert (trial.reason, trial.state) == (expected, "failed" if expected else "complete")
    assert {trial.reason for trial in trials} >= {"", "infeasible: heads must divide dim"}
    (status,) = hpo.status(runs=tmp_path)
    assert (status.complete, status.pruned, status.failed) == (done.complete, 0, 14 - done.complete)


def test_a_default_that_is_infeasible_is_refused_where_it_is_written() -> None:
    with pytest.raises(Infeasible, match="heads must divide dim"):
        Attention(dim=3)


def test_a_rebuilt_storage_repels_from_the_same_trials(tmp_path: Path) -> None:
    hpo.sweep(ATTENTION, runs=tmp_path, force=True, backend="inline", workers=1)
    before = rows(tmp_path / "attention", "attention")
    hpo.rebuild(ATTENTION, runs=tmp_path)
    assert rows(tmp_path / "attention", "attention") == before


# -- what we call a trial --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("kind", "state"), [("sweep", "PRUNED"), ("promotion", "FAIL")])
def test_a_failed_trial_is_pruned_for_the_sampler_of_a_sweep_and_failed_for_us(kind: str, state: str) -> None:
    study = optuna.create_study()
    conclude(study, study.ask(), Outcome("failed", reason="killed"), kind)
    conclude(study, study.ask(), Outcome("pruned"), kind)
    assert [trial.state.name for trial in study.trials] == [state, "PRUNED"]
    assert [state_of(trial) for trial in study.trials] == ["failed", "pruned"]


def test_a_sweep_that_was_written_before_is_read_and_goes_on(tmp_path: Path) -> None:
    """Then a failed trial was FAIL, and one that did not fit was pruned, with a constraint of another name."""
    folder, study = RunFolder(tmp_path / "toy"), toy_study(smoke=QUICK, cheap=QUICK, trials=5, pruning=None)
    source = source_of(folder.path, study)
    for state in ("complete", "failed", "pruned"):
        job = source.next()
        written = Outcome(state, value=1.0 if state == "complete" else None, reason="" if state == "complete" else "x")
        write_old(job.folder, written, job.inputs, did_not_fit=state == "pruned")
        trial = source.running.pop(job.number)
        trial.set_constraint("memory", 1.0 if state == "pruned" else -1.0)
        told = {"complete": "COMPLETE", "failed": "FAIL", "pruned": "PRUNED"}[state]
        source.optuna.tell(trial, written.value, state=optuna.trial.TrialState[told])
    require_agreement(source.optuna, folder, "sweep")
    assert [state_of(trial) for trial in source.trials()] == ["complete", "failed", "failed"]
    assert read_outcome(folder.trial("sweep", 2)).state == "failed"
    assert hpo.sweep(study, runs=tmp_path, force=True, backend="inline", workers=1).failed == 2


def write_old(folder: Path, outcome: Outcome, inputs: str, *, did_not_fit: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    record = json.loads(json.dumps({"inputs": inputs, **vars(outcome)}))
    write_sealed(folder / "result.json", {**record, "memory": did_not_fit})
    assert "memory" in read_sealed(folder / "result.json")


# -- a sweep that goes on --------------------------------------------------------------------------------------------
def told(source: SweepTrials, budget: int, *, leave_last: bool = False) -> list[dict]:
    """Run so many trials of which a large shift kills the worker; the last one may be left running."""
    asked = []
    for index in range(budget):
        job = source.next()
        if job is None:
            break
        asked.append(dict(job.params))
        if leave_last and index == budget - 1:
            break
        shift = job.params["task.shift"]
        dead = Outcome("failed", reason="its worker died 3 times")
        outcome = dead if shift > 0.2 else Outcome("complete", value=1 - shift, epochs=1)
        source.tell(job, settle(job, outcome))
    return asked


DEADLY = toy_study(space={"recipe.lr": uniform(0.01, 0.3), "task.shift": uniform(-1, 1)}, trials=25, pruning=None)


def source_of(folder: Path, study: StudySpec = DEADLY) -> SweepTrials:
    folder.mkdir(exist_ok=True)
    return SweepTrials(study, RunFolder(folder), identity(study), device="cpu")


ANSWERS = (
    "its worker died 3 times (killed, out of memory, or a crash in native code)",
    "out of memory: [enforce fail at alloc_cpu.cpp:121] 68719476736 bytes",
    "infeasible: heads must divide dim",
    "diverged: the loss was nan",
    "over its memory limit: 20.3 GB, and the limit is 20 GB (limit=Limit(memory_gb=20))",
    "over its time limit: 31 min, and the limit is 30 min (limit=Limit(minutes=30))",
)


def test_answers_about_configurations_never_stop_a_sweep_that_has_completed_a_trial(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    for reason in ("", *ANSWERS, ANSWERS[0], ANSWERS[0], ANSWERS[0]):
        state = "failed" if reason else "complete"
        source.tell(source.next(), Outcome(state, value=None if reason else 1.0, reason=reason))
    assert source.next() is not None
    groups = grouped(failures_among(source.trials()), RunFolder(tmp_path))
    assert (groups[0].numbers, len(groups)) == ((1, 7, 8, 9), len(ANSWERS))
    assert not too_many(groups, ended=10)


def test_six_errors_of_one_kind_among_the_last_eight_stop_a_sweep_that_has_completed_trials(tmp_path: Path) -> None:
    """Whatever their numbers are, and though other trials come between them."""
    source = source_of(tmp_path)
    for number in range(8):
        reason = "" if number in (0, 4) else f"RuntimeError: shapes cannot be multiplied (3x{number} and 7x5)"
        state = "failed" if reason else "complete"
        job = source.next()
        assert job is not None
        value = None if reason else 1.0
        source.tell(job, settle(job, Outcome(state, value=value, reason=reason, traceback="the traceback")))
    with pytest.raises(SweepFailed, match=r"6 of the last 8 trials failed in one way: .*3x7 and 7x5\)\nthe traceback"):
        source.next()
    assert source_of(tmp_path).next() is not None, "the same command, given again, goes on"


def test_three_equal_failures_stop_a_sweep_that_has_completed_none(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    for _ in range(3):
        source.tell(source.next(), Outcome("failed", reason="killed"))
    with pytest.raises(SweepFailed, match="3 trials in a row failed alike: killed"):
        source.next()


def test_a_sweep_that_is_interrupted_proposes_what_an_unbroken_one_does(tmp_path: Path) -> None:
    """Where proposals are drawn again, and also where a kill struck between a proposal and its trial."""
    unbroken = told(source_of(tmp_path / "unbroken"), 25)
    broken, folder = [], tmp_path / "broken"
    while len(broken) < 25:
        asked = told(source_of(folder), 4, leave_last=True)
        broken += asked[:-1] if len(broken) + len(asked) < 25 else asked
        if len(broken) >= 24:
            broken += told(source_of(folder), 4)[:1]
    assert broken[:25] == unbroken
    assert sum(params["task.shift"] > 0.2 for params in unbroken) >= 2


def test_a_proposal_that_a_killed_coordinator_had_drawn_is_tried_next(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    asked = told(source, 20)
    proposal = likely_feasible(DEADLY, source.trials(), 20)
    source.optuna.enqueue_trial(proposal)  # ... and here it was killed
    asked += told(source_of(tmp_path), 5)
    assert len(asked) == 25
    assert asked[20] == proposal


# -- keeping away ----------------------------------------------------------------------------------------------------
def test_what_would_probably_fail_is_drawn_again() -> None:
    """Half of the space fails, and scores best up to its border. Drawn at random, 8 of 16 would fall into it."""
    study = planted_study(trials=16, startup_trials=99, seed=3)
    swept = sweep_planted(study, World(lambda params, number: [-params["task.a"]], killed))
    proposals = [likely_feasible(study, swept.trials, number) for number in range(100, 120)]
    assert sum(bool(killed(params)) for params in proposals) <= 2
    assert max(params["task.a"] for params in proposals) > 0.4, "and yet it goes up to the border"


def killed(params: dict) -> str:
    return "killed" if params["task.a"] > 0.5 else ""


def test_a_ladder_keeps_away_from_what_fails() -> None:
    """Of drawn points, half would fail. Of the trials that survive, some are only paused."""
    spec = planted_study(pruning="auto", seed=3)
    study = optuna.create_study()
    for a in (0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95):
        study.enqueue_trial({"task.a": a, "task.b": 0.5})
        trial = study.ask()
        draw(trial, spec)
        if killed(trial.params):
            conclude(study, trial, Outcome("failed"), "sweep")
        else:
            trial.set_user_attr("until", 1)
            trial.set_user_attr("paused_at", 1)
    drawn = []
    for _ in range(20):
        trial = begin_climb(study, spec, study.trials, Begin(1, "ladder", "sobol"), None)
        drawn.append(draw(trial, spec))
    assert sum(bool(killed(params)) for params in drawn) <= 2
    assert max(params["task.a"] for params in drawn) > 0.4


def test_nothing_is_concluded_from_a_single_failure() -> None:
    study = optuna.create_study()
    for a in (0.1, 0.2, 0.9):
        study.enqueue_trial({"task.a": a, "task.b": 0.5})
        trial = study.ask()
        trial.suggest_float("task.a", 0, 1)
        trial.suggest_float("task.b", 0, 1)
        conclude(study, trial, Outcome("failed") if a > 0.5 else Outcome("complete", value=a), "sweep")
    assert likely_feasible(planted_study(), study.trials, 3) is None


def test_a_configuration_is_a_point_of_the_unit_cube() -> None:
    space = {
        "task.width": integer(8, 24),
        "recipe.lr": hpo.log(1e-4, 1e-2),
        "task.kind": choose("plain", "rich", None),
        "task.a": when("task.kind", "rich", uniform(2, 4)),
    }
    rich = {"task.width": 12, "recipe.lr": 1e-3, "task.kind": "rich", "task.a": 4.0}
    assert unit_point(space, rich) == pytest.approx([0.25, 0.5, 0, 1, 0, 1])
    plain = {"task.width": 24, "recipe.lr": 1e-4, "task.kind": None}
    assert unit_point(space, plain) == pytest.approx([1, 0, 0, 0, 1, 0.5])


# -- kinds of failure ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("RuntimeError: (3x91 and 7x5)", "RuntimeError: (16x8 and 128x64)"),
        ("RuntimeError: size [16, 3, 8]", "RuntimeError: size [2, 1, 64, 64]"),
        ("ValueError: lr must be above 0; got -1e-05", "ValueError: lr must be above 0; got 0.25"),
        ("FileNotFoundError: No such file: '/data/a b.png'", "FileNotFoundError: No such file: 'x'"),
        ("OSError: cannot read /data/x/1.npz", "OSError: cannot read /home/y/z/other.npz"),
        ("TypeError: <function f at 0x7f00ab12> is wrong", "TypeError: <function f at 0x55e0> is wrong"),
        ("KeyError: 'left'", 'KeyError: "right"'),
    ],
)
def test_errors_that_differ_in_numbers_paths_addresses_and_quoted_values_are_of_one_kind(
    first: str, second: str
) -> None:
    assert kind_of(first) == kind_of(second)


def test_errors_of_another_type_or_in_other_words_are_of_another_kind() -> None:
    reasons = ("ValueError: it's 3", "TypeError: it's 3", "ValueError: it isn't 3", "ValueError: that's 3 and it's 4")
    assert len({kind_of(reason) for reason in reasons}) == len(reasons)


@dataclass(frozen=True)
class Shaky(Toy):
    """Raises where `ticket` is above `edge`, with a message that names it."""

    ticket: float = 0.0
    edge: float = 0.4

    def model(self) -> nn.Module:
        if self.ticket > self.edge:
            raise RuntimeError(f"the bridge cannot bear {self.ticket}")
        return super().model()


def shaky(edge: float) -> StudySpec:
    return toy_study(
        name="shaky",
        task=Shaky(edge=edge),
        space={"task.ticket": uniform(0, 1)},
        smoke=QUICK,
        cheap=QUICK,
        full=QUICK,
        trials=8,
        pruning=None,
    )


def test_a_sweep_of_which_more_than_a_quarter_raises_fails_names_the_kind_and_is_not_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study, options = shaky(0.4), {"runs": tmp_path, "force": True, "backend": "inline", "workers": 1}
    with pytest.raises(SweepFailed, match=r"\d of 8 trials failed.*hpo retry shaky .*--failed.*hpo promote shaky"):
        hpo.sweep(study, **options, progress=Terminal())
    sweep = collect(study, RunFolder(tmp_path / "shaky")).sweep
    failed = tuple(trial.number for trial in sweep.trials if trial.state == "failed")
    assert [group.numbers for group in sweep.failures] == [failed]
    assert "in model: raise RuntimeError(f" in sweep.failures[0].where
    shown = capsys.readouterr().out
    assert f"{len(failed)} trials failed ({', '.join(map(str, failed))}): RuntimeError: the bridge cannot" in shown
    assert f"  at {Path(__file__)}:" in shown
    with pytest.raises(SweepFailed, match="nothing was promoted; mend that and train them again"):
        hpo.run(study, **options)
    page = (tmp_path / "shaky" / "report.html").read_text()
    assert "Traceback (most recent call last)" in page, "the whole traceback, folded"
    assert not (tmp_path / "shaky" / "verdict.json").exists()
    del options["force"]
    assert hpo.promote(study, **options).results, "what was completed can be promoted"


def test_a_sweep_of_which_a_quarter_raises_is_a_success(tmp_path: Path) -> None:
    done = hpo.sweep(shaky(0.72), runs=tmp_path, force=True, backend="inline", workers=1)
    assert 1 <= done.failed <= 2
    assert done.done == 8


def test_the_users_innermost_line_is_found_in_a_traceback_and_in_the_stacks_of_a_process_that_hung(
    tmp_path: Path,
) -> None:
    """Python shows the newest call last, and faulthandler first: of each thread, and the main one last."""
    try:
        json.loads(Hook())
    except TypeError:
        raised = traceback.format_exc()
    assert users_line(raised).startswith(f"{__file__}:")
    with open(tmp_path / "stacks", "w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        assert users_line(file.read()).startswith(f"{__file__}:")
    assert users_line('  File "/usr/lib/python3/site-packages/x.py", line 3, in f\n') == ""


class Hook:
    """What json cannot read."""
