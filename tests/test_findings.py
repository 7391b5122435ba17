"""Findings against the same numbers taken from the database with plain SQL, from closed forms, and at every stage."""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo import formatting
from hpo.direction import Direction
from hpo.errors import Damaged, Refused
from hpo.page.collect import collect
from hpo.page.collect_sweep import improvements, trial_from
from hpo.page.commands import suggest_command
from hpo.page.findings import Improvement, LoggedCommand, Sweep
from hpo.page.header import top
from hpo.page.headline import headline
from hpo.page.importance import importances
from hpo.page.report import write_report
from hpo.promotion.intervals import Interval
from hpo.promotion.selection import read_selection
from hpo.separation.stepwise import Separation
from hpo.space import choose, distribution_of, log, uniform, when
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.task import REFERENCE
from tests.finished import HOSTILE, PREFLIGHT, STUDY, finished
from tests.toy import toy_study


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return finished(tmp_path)


def query(folder: RunFolder, sql: str, *values: object) -> list[tuple]:
    with sqlite3.connect(folder.database) as database:
        return database.execute(sql, values).fetchall()


def of_sweep(folder: RunFolder, columns: str, more: str = "") -> list[tuple]:
    return query(
        folder,
        f"select {columns} from trials join studies using (study_id) {more} where study_name = ? order by number",
        STUDY.name,
    )


# -- the same numbers as in the storage ------------------------------------------------------------------------------
def test_every_trial_is_there_with_its_state_and_value(folder: RunFolder) -> None:
    found = collect(STUDY, folder).sweep.trials
    states = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
    assert [(t.number, t.state) for t in found] == [(n, states[s]) for n, s in of_sweep(folder, "number, state")]
    values = dict(of_sweep(folder, "number, value", "join trial_values using (trial_id)"))
    assert {t.number: t.value for t in found if t.state == "complete"} == {
        number: value for number, value in values.items() if found[number].state == "complete"
    }


def test_curves_are_what_was_reported(folder: RunFolder) -> None:
    reported: dict[int, dict[int, float]] = {}
    for number, step, value in of_sweep(
        folder, "number, step, intermediate_value", "join trial_intermediate_values using (trial_id)"
    ):
        reported.setdefault(number, {})[step] = value
    assert {t.number: dict(t.curve) for t in collect(STUDY, folder).sweep.trials if t.curve} == reported


def test_best_default_counts_and_time(folder: RunFolder) -> None:
    sweep = collect(STUDY, folder).sweep
    rows = of_sweep(folder, "value, number", "join trial_values using (trial_id)")
    complete = {number for number, state in of_sweep(folder, "number, state") if state == "COMPLETE"}
    best = min((value, number) for value, number in rows if number in complete)
    assert (sweep.best.value, sweep.best.number) == best
    assert sweep.default.number == 0  # trial 0 is the default configuration
    assert sum(sweep.counts.values()) == len(of_sweep(folder, "number"))
    results = [json.loads(path.read_text()) for path in folder.path.glob("sweep/*/result.json")]
    assert sweep.seconds == pytest.approx(sum(result["seconds"] for result in results))
    trained = sum(len(result["history"]) for result in results)
    assert sweep.saved == pytest.approx(1 - trained / (STUDY.cheap.epochs * len(results)))


def test_best_so_far_follows_the_running_minimum(folder: RunFolder) -> None:
    sweep = collect(STUDY, folder).sweep
    values = [math.inf if t.state != "complete" else t.value for t in sweep.trials]
    running = np.minimum.accumulate(values)
    drawn = np.full(len(values), np.inf)
    for step in sweep.improvements:
        drawn[step.number :] = step.value
    np.testing.assert_array_equal(drawn, running)
    assert [trial.value for trial in sweep.ranked] == sorted(value for value in values if value < math.inf)


def test_highest_comes_first_where_more_is_better() -> None:
    optimistic = optuna.create_study(direction="maximize")
    optimistic.add_trials(
        [create_trial(value=value, params={"x": 0.5}, distributions={"x": uniform(0, 1)}) for value in (1.0, 3.0, 2.0)]
    )
    trials = tuple(trial_from(frozen) for frozen in optimistic.trials)
    assert improvements(trials, Direction.MAXIMIZE) == (Improvement(0, 1.0), Improvement(1, 3.0))
    shares = importances(optimistic, ["x"], set())
    sweep = Sweep(trials, Direction.MAXIMIZE, 3, 1, {}, None, None, (), 0.0, None, Separation(3), shares)
    assert [trial.value for trial in sweep.ranked] == [3.0, 2.0, 1.0]


def test_test_scores_are_means_over_the_runs_that_chose_nothing(folder: RunFolder) -> None:
    """Who was left out after the first round has no such runs, and its one run stands for it."""
    promotion = collect(STUDY, folder).promotion
    for result in promotion.verdict.results:
        scores = [
            json.loads((folder.trial("promotion", run.number) / "result.json").read_text())["test"]["mse"]
            for run in result.runs[-STUDY.seeds :]
        ]
        assert result.test.mean == pytest.approx(np.mean(scores))
    zero, truth = promotion.verdict.baselines
    for baseline in (zero, truth):
        assert promotion.baselines[baseline.name].mean == baseline.scores["mse"]
    assert promotion.best_baseline is zero


def test_what_is_not_finite_in_a_verdict_is_left_out(folder: RunFolder) -> None:
    path = folder.path / "verdict.json"
    record = json.loads(path.read_text())
    record["results"][0]["test"] = {"mean": None, "low": None, "high": None}
    for baseline in record["baselines"]:
        baseline["scores"]["mse"] = baseline["interval"]["high"] = None
    path.write_text(json.dumps(record))
    promotion = collect(STUDY, folder).promotion
    assert promotion.winner.test is None
    assert (promotion.best_baseline, promotion.baselines) == (None, {})
    write_report(STUDY, folder)


def test_a_reference_is_no_rival(folder: RunFolder) -> None:
    promotion = collect(STUDY, folder).promotion
    scores = {baseline.name: baseline.scores["mse"] for baseline in promotion.verdict.baselines}
    assert scores[f"truth{REFERENCE}"] < scores["zero"]
    assert promotion.best_baseline.name == "zero"
    assert f"truth{REFERENCE}" in promotion.baselines  # it is shown


def test_rank_correlation_from_its_definition(folder: RunFolder) -> None:
    """Spearman without ties: 1 - 6 sum d^2 / (n (n^2 - 1))."""
    agreement = collect(STUDY, folder).promotion.agreement
    cheap = np.argsort(np.argsort([pair.cheap for pair in agreement.pairs]))
    full = np.argsort(np.argsort([pair.full for pair in agreement.pairs]))
    n = len(agreement.pairs)
    assert n == STUDY.keep + 1
    assert agreement.spearman == pytest.approx(1 - 6 * float(((cheap - full) ** 2).sum()) / (n * (n * n - 1)))


# -- every stage -----------------------------------------------------------------------------------------------------
def commands(folder: RunFolder) -> list[str]:
    return [one.command for one in collect(STUDY, folder).missing]


def forget_promotion(folder: RunFolder) -> None:
    for path in (folder.selection, folder.path / "verdict.json"):
        path.unlink(missing_ok=True)
    for path in (folder.export, folder.pictures, folder.path / "promotion"):
        shutil.rmtree(path, ignore_errors=True)
    optuna.delete_study(study_name=f"{STUDY.name}.promotion", storage=open_storage(folder.storage))


def test_a_finished_study_misses_nothing(folder: RunFolder) -> None:
    found = collect(STUDY, folder)
    assert not found.missing
    assert found.headline.sentence == found.promotion.verdict.sentence
    assert found.sweep.trials[-1].reason == HOSTILE


def test_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="hpo sweep toy"):
        collect(STUDY, RunFolder(tmp_path / "none"))


def test_an_empty_folder_stays_empty(tmp_path: Path) -> None:
    found = collect(STUDY, RunFolder(tmp_path))
    assert (found.sweep, found.promotion, found.preflight) == (None, None, None)
    assert commands(RunFolder(tmp_path)) == ["hpo preflight toy", "hpo sweep toy", "hpo promote toy"]
    assert not list(tmp_path.iterdir())  # asking for a report creates no database


def test_trials_without_their_storage_can_be_rebuilt(folder: RunFolder) -> None:
    folder.database.unlink()
    missing = collect(STUDY, folder).missing[0]
    assert "9 trials" in missing.sentence
    assert missing.command == "hpo rebuild toy --runs there"


def test_without_promotion_it_says_how_to_promote(folder: RunFolder) -> None:
    forget_promotion(folder)
    found = collect(STUDY, folder)
    assert commands(folder) == ["hpo promote toy --runs there"]
    assert found.promotion is None
    assert found.headline.status == "open"


def test_an_interrupted_promotion_shows_its_runs(folder: RunFolder) -> None:
    (folder.path / "verdict.json").unlink()
    found = collect(STUDY, folder)
    assert found.promotion.verdict is None
    assert not found.exhibits  # an earlier winner's
    assert not found.provenance.card
    assert len(found.promotion.runs) == found.promotion.planned == 7  # a race of 2 > 1: 3 + 2 x 2 runs
    assert commands(folder) == ["hpo promote toy --runs there"]


def tied(folder: RunFolder) -> RunFolder:
    """The folder, with a leader that is ahead by less than its interval is wide."""
    record = json.loads((folder.path / "verdict.json").read_text())
    for result in record["results"]:
        if result["candidate"]["name"] == record["leader"]:
            result["ahead_of_default"] = {"mean": 0.01, "low": -0.02, "high": 0.04, "confidence": 0.95}
    record |= {"claim": "Nothing found better than the default; keep it.", "needed": {"seeds": 9, "units": 700}}
    (folder.path / "verdict.json").write_text(json.dumps(record))
    return folder


def test_a_tie_says_what_was_exported_and_what_would_decide_it(folder: RunFolder) -> None:
    findings = collect(STUDY, tied(folder))
    lines = {ground.name: ground for ground in top(findings).grounds}
    leader = findings.promotion.verdict.leader
    assert findings.headline.badge == "keep the default"
    decide = top(findings).steps[0]
    assert decide.text.startswith("About 9 further seeds would decide it if the lead stays, and so would")
    assert decide.command == "hpo promote toy --runs there --more 9"
    assert lines["Exported"].text == f"The default was exported; to export {leader} instead:"
    assert lines["Exported"].command == "hpo promote toy --runs there --tie leader"
    tiles = [tile.name for tile in top(findings).tiles]
    assert tiles[:2] == ["On test: default (exported)", f"On test: {leader} (leader)"]


def failing(folder: RunFolder) -> RunFolder:
    """The folder, with a check of the task that says no-go."""
    record = json.loads((folder.path / "verdict.json").read_text())
    record["checks"] = [{**check, "status": "no-go"} for check in record["checks"]]
    (folder.path / "verdict.json").write_text(json.dumps(record))
    return folder


def test_a_check_that_says_no_go_colours_the_header_but_not_of_a_rehearsal(folder: RunFolder) -> None:
    assert collect(STUDY, failing(folder)).headline.status == "no-go"
    assert collect(STUDY, folder).headline.badge == "task checks not passed"
    found = collect(STUDY, folder).promotion
    assert headline(STUDY.as_smoke(), None, found).badge == "keep the default"


def test_the_advised_command_promotes_the_same_selection(folder: RunFolder) -> None:
    """Without the options of the promotion it would be a new one, and another look."""
    study = replace(STUDY, keep=5, seeds=7)
    lines = {ground.name: ground for ground in top(collect(study, tied(folder))).grounds}
    assert lines["Exported"].command == "hpo promote toy --runs there --keep 2 --seeds 2 --tie leader"


def test_what_the_verdict_rests_on_is_said_once_and_not_in_its_sentence(folder: RunFolder) -> None:
    page = top(collect(STUDY, folder))
    lines = {ground.name: ground.text for ground in page.grounds}
    assert page.verdict.startswith("Nothing found better than the default; keep it. Trial 6 is worse by 0.008 (")
    assert "test examples" not in page.verdict
    assert lines["Test data"] == "200 test examples, the first look at them: 95 % intervals"
    assert lines["Runs"] == "7 at full fidelity in 2 rounds; 3 seeds for the leader and the default"
    assert lines["Cheap setting"].startswith(
        "Whether it ranks like the full one was not tested, and the 3 configurations"
    )
    assert lines["Noise"].startswith("From seed to seed the lead of a single run varies by ")
    assert lines.keys() >= {"Baseline", "Pruning", "Hyperparameters"}
    assert "Exported" not in lines, "the leader lags"
    assert "Seeds" not in lines, "it is decided"


NEWER = ("claim", "needed", "least_leads")  # fields that verdicts of older versions lack


def test_a_verdict_from_before_it_said_what_would_decide_it_is_read(folder: RunFolder) -> None:
    path = folder.path / "verdict.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in record.items() if key not in NEWER}))
    findings = collect(STUDY, folder)
    assert findings.promotion.verdict.needed is None
    assert top(findings).verdict == record["sentence"]


def test_a_tile_names_the_confidence_of_its_interval(folder: RunFolder) -> None:
    path = folder.path / "verdict.json"
    path.write_text(path.read_text().replace('"confidence": 0.95', '"confidence": 0.9875'))
    assert top(collect(STUDY, folder)).tiles[0].note.startswith("98.75 %: ")


def test_a_verdict_of_an_earlier_selection_is_not_shown(folder: RunFolder) -> None:
    record = json.loads(folder.selection.read_text())
    record["rounds"][-1]["seeds"].append(9)
    folder.selection.write_text(json.dumps(record))
    found = collect(STUDY, folder)
    assert found.promotion.verdict is None
    assert any("earlier promotion" in note for note in found.promotion.notes)


def test_a_sweep_that_went_on_is_told(folder: RunFolder) -> None:
    notes = collect(STUDY, folder).promotion.notes  # the failed trial was added after the promotion
    assert len(notes) == 1
    assert "9 trials" in notes[0]
    assert "10 have" in notes[0]


def test_an_unfinished_sweep_is_told(folder: RunFolder) -> None:
    study = optuna.load_study(study_name=STUDY.name, storage=open_storage(folder.storage))
    study.set_user_attr("trials", 30)
    assert "hpo sweep toy --runs there" in commands(folder)


@pytest.mark.parametrize("states", [(TrialState.PRUNED,) * 3, (TrialState.FAIL,), (TrialState.RUNNING,), ()])
def test_a_sweep_without_a_completed_trial(tmp_path: Path, states: tuple[TrialState, ...]) -> None:
    folder = RunFolder(tmp_path)
    stored(
        folder,
        [
            create_trial(
                state=state,
                params=STUDY.defaults(),
                distributions=plain_space(),
                intermediate_values={0: 2.0} if state is TrialState.PRUNED else {},
            )
            for state in states
        ],
    )
    found = collect(STUDY, folder)
    assert found.sweep.best is None
    assert all(one.why_not for one in found.sweep.importances.measures)


def test_no_number_that_is_not_finite(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    stored(
        folder,
        [
            create_trial(
                state=TrialState.PRUNED,
                params=STUDY.defaults(),
                distributions=plain_space(),
                intermediate_values={0: 3.0, 1: math.nan},
            ),
            create_trial(value=math.inf, params=STUDY.defaults(), distributions=plain_space()),
        ],
    )
    pruned, endless = collect(STUDY, folder).sweep.trials
    assert (pruned.value, dict(pruned.curve), endless.value) == (3.0, {0: 3.0}, None)
    assert collect(STUDY, folder).sweep.best is None


def plain_space() -> dict:
    return {name: distribution_of(entry) for name, entry in STUDY.space.items()}


def stored(folder: RunFolder, trials: list[optuna.trial.FrozenTrial]) -> None:
    study = optuna.create_study(study_name=STUDY.name, storage=open_storage(folder.storage, create=True))
    study.add_trials(trials)


def test_preflight_of_other_code_is_stale(folder: RunFolder) -> None:
    assert collect(STUDY, folder).preflight.stale == ()
    record = json.loads(folder.preflight.read_text())
    folder.preflight.write_text(json.dumps({**record, "identity": {**record["identity"], "code": "other"}}))
    found = collect(STUDY, folder).preflight
    assert found.stale == ("code",)
    assert found.forced
    assert found.overfit.curves["shuffled"] == (1.5, None)
    assert [check.name for check in found.checks] == [check["name"] for check in PREFLIGHT["checks"]]


def test_a_torn_command_log_keeps_its_whole_lines(folder: RunFolder) -> None:
    (line,) = collect(STUDY, folder).provenance.commands
    assert line.text == "hpo run toy --runs there"


@pytest.mark.parametrize(
    ("logged", "expected"),
    [
        ("", "hpo promote toy"),
        ("hpo sweep studies/toy.py", "hpo promote studies/toy.py"),
        ("hpo sweep --workers 2 studies/toy.py --smoke --trials 9", "hpo promote studies/toy.py --smoke"),
        ("hpo sweep --runs=/data/runs toy --data /d --force", "hpo promote toy --runs=/data/runs --data /d"),
        ("hpo sweep 'my study.py' --runs 'my runs'", "hpo promote 'my study.py' --runs 'my runs'"),
    ],
)
def test_commands_are_given_as_the_last_one_was(logged: str, expected: str) -> None:
    commands = [LoggedCommand(tuple(shlex.split(logged)))] if logged else []
    assert suggest_command("promote", STUDY, commands) == expected


def test_a_space_in_a_folder_name_survives_the_log(folder: RunFolder) -> None:
    argv = ["hpo", "sweep", "my study", "--runs", "my runs"]
    folder.commands.write_text(json.dumps({"at": "2026-01-02T03:04:05+00:00", "argv": argv}) + "\n")
    (folder.path / "verdict.json").unlink()
    (line,) = collect(STUDY, folder).provenance.commands
    assert line.argv == tuple(argv)
    assert commands(folder) == ["hpo promote 'my study' --runs 'my runs'"]
    page = write_report(STUDY, folder).read_text()
    assert "hpo sweep &#39;my study&#39; --runs &#39;my runs&#39;" in page


def test_a_log_of_an_older_version_is_split_as_a_shell_does(folder: RunFolder) -> None:
    lines = ["hpo sweep toy --runs 'my runs'", "hpo sweep toy --data it's"]
    folder.commands.write_text("".join(json.dumps({"command": line}) + "\n" for line in lines))
    assert [line.argv[2:] for line in collect(STUDY, folder).provenance.commands] == [
        ("toy", "--runs", "my runs"),
        ("toy", "--data", "it's"),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("preflight.json", "{"),
        ("preflight.json", '{"status": "fine", "checks": []}'),
        ("verdict.json", '{"selection": "KEY", "goal": "mse"}'),
    ],
)
def test_a_damaged_record_is_named(folder: RunFolder, name: str, content: str) -> None:
    selection = read_selection(folder)
    assert selection is not None
    (folder.path / name).write_text(content.replace("KEY", selection.key))
    with pytest.raises(Damaged, match=f"{name} is damaged"):
        collect(STUDY, folder)


def test_a_number_in_a_check_is_shown_as_text(folder: RunFolder) -> None:
    record = json.loads(folder.preflight.read_text())
    record["checks"][0]["seen"] = 3
    folder.preflight.write_text(json.dumps(record))
    assert collect(STUDY, folder).preflight.checks[0].seen == "3"


# -- importances -----------------------------------------------------------------------------------------------------
def planted(count: int, *, conditional: bool = False) -> optuna.Study:
    """y = x, and z does nothing; a third parameter stands where the switch is on."""
    study, rng = optuna.create_study(), np.random.default_rng(0)
    for index in range(count):
        params, space = {"x": rng.random(), "z": rng.random()}, {"x": uniform(0, 1), "z": uniform(0, 1)}
        if conditional and index % 2:
            params, space = {**params, "c": 0.5}, {**space, "c": uniform(0, 1)}
        study.add_trial(create_trial(value=params["x"], params=params, distributions=space))
    return study


def test_both_measures_find_the_planted_driver() -> None:
    found = importances(planted(60), ["x", "z"], set())
    assert [next(iter(one.shares)) for one in found.measures] == ["x", "x"]
    assert all(sum(one.shares.values()) == pytest.approx(1) for one in found.measures)
    assert (found.complete, found.caveats) == (60, ())


def test_what_a_measure_skips_is_named() -> None:
    found = importances(planted(60, conditional=True), ["x", "z", "c"], {"c"})
    assert [one.skipped for one in found.measures] == [("c",), ()]
    assert any("fANOVA skips" in caveat and "c" in caveat for caveat in found.caveats)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_trials_say_so(count: int) -> None:
    assert all(one.why_not for one in importances(planted(count), ["x", "z"], set()).measures)


def test_a_flat_objective_says_so_and_warns_nobody(recwarn: pytest.WarningsRecorder) -> None:
    study = optuna.create_study()
    study.add_trials(
        [create_trial(value=1.0, params={"x": x / 9}, distributions={"x": uniform(0, 1)}) for x in range(9)]
    )
    assert all("alike" in one.why_not for one in importances(study, ["x"], set()).measures)
    assert not recwarn.list


def test_conditions_are_told() -> None:
    study = toy_study(
        space={
            "recipe.lr": log(1e-3, 0.3),
            "recipe.channels_last": choose(False, True),
            "task.shift": when("recipe.channels_last", True, uniform(-1, 1)),
        }
    )
    assert replace(study).defaults().keys() == {"recipe.lr", "recipe.channels_last"}


# -- wording ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0656101, "0.06561"),
        (12345.6, "12,346"),
        (0.1, "0.1"),
        (1e-5, "1e-5"),
        (math.nan, "–"),
        (None, "–"),
        (-math.inf, "–"),
        (3, "3"),
        (2.5e12, "2.500e+12"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert formatting.number(value) == text


def test_intervals_have_the_digits_that_their_width_allows() -> None:
    assert formatting.interval(Interval(0.010949, 0.0098, 0.0121)) == "0.0109 [0.0098, 0.0121]"
    assert formatting.interval(Interval(31.3412, 30.9, 31.8), signed=True) == "+31.34 [+30.90, +31.80]"
    assert formatting.interval(Interval(1.0, 1.0, 1.0)) == "1 [1, 1]"
    assert formatting.interval(Interval(-0.0, -0.0, -0.0)) == "0 [0, 0]"
    assert formatting.interval(Interval(-0.001, -1.5, 1.5), signed=True) == "+0.0 [-1.5, +1.5]"
    assert (formatting.number(-0.0), formatting.score(-0.0)) == ("0", "0.000")
    assert formatting.interval(None) == "–"


def test_an_interval_that_hardly_excludes_zero_shows_the_digit_that_decides() -> None:
    assert formatting.interval(Interval(0.252, 0.004, 0.5)) == "0.25 [0.004, 0.50]"
    assert formatting.interval(Interval(0.252, 0.004, 0.5), signed=True) == "+0.25 [+0.004, +0.50]"
    assert formatting.interval(Interval(-0.25, -0.5, -1e-9), signed=True) == "-0.25 [-0.50, -1e-9]"
    assert formatting.interval(Interval(0.25, 0.0, 0.5)) == "0.25 [0.00, 0.50]", "it does not exclude zero"


def test_an_interval_in_a_sentence_is_as_one_would_say_it() -> None:
    lead = Interval(0.612, 0.208, 1.016)
    assert formatting.interval_in_words(lead, "%") == "0.6 % (0.2 to 1.0)"
    assert formatting.interval_in_words(Interval(0.25, 0.12, 0.38)) == "0.25 (0.12 to 0.38)", "two digits below 0.2"
    assert formatting.interval_in_words(Interval(0.3, 0.004, 0.6), "dB") == "0.3 dB (0.004 to 0.6)"
    assert formatting.share(Interval(1 / 3, 0.0615, 0.7923)) == "33% [6%, 79%]"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0261, "0.026 s"),
        (9.99, "10 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (None, "–"),
        (3599.9, "1 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


def test_the_unit_of_a_score_is_read_from_its_name() -> None:
    assert formatting.label("psnr_db") == "psnr (dB)"
    assert formatting.label("mse") == "mse"
    assert formatting.amount(31.337, "psnr_db") == "31.34 dB"
    assert formatting.amount(30.0, "psnr_db") == "30.00 dB"
    assert [formatting.score(value) for value in (1234.4, 0.0, 2e-6, None)] == ["1234", "0.000", "2e-6", "–"]
