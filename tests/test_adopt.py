"""Studies of plain Optuna: reported on as they are, adopted, promoted, and never written to."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import alembic.command
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

import hpo
from hpo.errors import Refused
from hpo.ledger.folder import Ledger
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.foreign import foreign_study
from hpo.trial.adoption import read_adoption
from hpo.trial.record import read_asked, read_outcome
from tests.faults import servers
from tests.test_cli import home, write
from tests.test_cli import hpo as command

__all__ = ["home"]

HOSTILE = "<script>window.owned = true</script>"


def objective(trial: optuna.Trial) -> float:
    """Number 3 fails and says why, number 5 fails and does not, the worse half of the rest is pruned."""
    rate = trial.suggest_float("lr", 1e-3, 0.3, log=True)
    shift = trial.suggest_float("task.shift", -1, 1)
    trial.set_user_attr("host", HOSTILE)
    if trial.number == 3:
        trial.set_user_attr("reason", "boom")
        raise RuntimeError("boom")
    if trial.number == 5:
        raise RuntimeError("nobody keeps this")
    for step in range(1, 4):
        trial.report(shift**2 + 1 / step, step * 10)
        if trial.should_prune():
            raise optuna.TrialPruned
    return shift**2 + abs(math.log(rate / 0.1)) / 100


def search(storage: object, name: str = "theirs", trials: int = 12) -> optuna.Study:
    """A study as somebody else runs it: the last trials have not ended and not begun."""
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2),
    )
    study.optimize(objective, n_trials=trials, catch=(RuntimeError,))
    running = study.ask()
    running.suggest_float("lr", 1e-3, 0.3, log=True)
    study.enqueue_trial({"lr": 0.1, "task.shift": 0.0})
    return study


def journal(path: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(path)))


@pytest.fixture(scope="module")
def database(memory_disk: Path) -> Path:
    """An SQLite database with a study in it; tests copy it."""
    path = Path(tempfile.mkdtemp(dir=memory_disk)) / "theirs.db"
    search(f"sqlite:///{path}")
    return path


@pytest.fixture
def theirs(database: Path, home: Path) -> str:
    """The URL of such a database beside the current folder's runs/."""
    shutil.copy(database, home / "theirs.db")
    return "sqlite:///theirs.db"


@pytest.fixture(scope="module")
def server() -> Iterator[servers.Postgres]:
    lacking = servers.missing()
    if lacking:
        pytest.skip(f"ADOPTION FROM POSTGRESQL NOT TESTED: {lacking}")
    with tempfile.TemporaryDirectory(prefix="hpo-pg-") as folder:
        Path(folder).chmod(0o755)
        with servers.postgres(Path(folder) / "postgres") as running:
            yield running


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder by its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# -- the report of any study -----------------------------------------------------------------------------------------
def check_page(page: str, study: optuna.Study) -> None:
    """The page knows what the study knows."""
    for text in ("lr", "task.shift", "boom", "TPESampler", "not promoted", str(study.best_trial.number)):
        assert text in page
    for state in ("complete", "pruned", "failed", "running", "waiting"):
        assert f"</span> {state}" in page
    assert "1 failed trial without a reason" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;window.owned" in page


def test_the_page_of_an_sqlite_study_leaves_the_database_as_it_was(theirs: str, home: Path) -> None:
    before = contents(home)
    done = command("report", "--from", theirs)
    assert (done.code, done.out) == (0, "report: runs/theirs/report.html\n")
    check_page(Path("runs/theirs/report.html").read_text(), optuna.load_study(study_name=None, storage=theirs))
    after = contents(home)
    assert {path: after[path] for path in before} == before
    assert set(after) == {*before, "runs/theirs/report.html"}
    assert hpo.report_on("theirs.db") == Path("runs/theirs/report.html")  # a path, and again over its own page


def test_the_page_of_a_journal_and_one_line_that_is_being_written(home: Path) -> None:
    study = search(journal(home / "theirs.log"))
    with open("theirs.log", "ab") as file:
        file.write(b'{"op_code": 6, "worker')
    before = contents(home)
    check_page(hpo.report_on("theirs.log").read_text(), study)
    assert {path: digest for path, digest in contents(home).items() if "runs" not in path} == before


def test_the_page_of_a_postgresql_study_and_its_adoption(
    server: servers.Postgres, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.fresh()
    monkeypatch.setenv("PGPASSFILE", str(server.passfile))
    study = search(server.url)
    server.query("CREATE ROLE reader LOGIN PASSWORD 'r'")
    server.query("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    with open(server.passfile, "a") as file:
        file.write(f"127.0.0.1:{server.port}:*:reader:r\n")
    lines = server.passfile.read_text().splitlines()
    server.passfile.write_text("\n".join([lines[-1], *lines[:-1]]) + "\n")  # the first line that fits counts
    reader = server.url.replace("hpo@", "reader@")  # a role that cannot write
    check_page(hpo.report_on(reader).read_text(), study)
    adoption = hpo.adopt("ours", reader)
    assert (adoption.url, adoption.trials) == (reader, 14)
    assert [trial.value for trial in adopted("ours")] == [
        trial.value if trial.state.is_finished() else None for trial in study.trials
    ]
    assert servers.PASSWORD not in Path("runs/ours/adopted.json").read_text()


def test_an_older_schema_is_read_through_a_migrated_copy(theirs: str, home: Path) -> None:
    with sqlite3.connect("theirs.db") as connection:  # under the name that the older versions' migrations expect
        connection.execute("CREATE INDEX trials_study_id_key ON trials(study_id)")
        connection.execute("DROP INDEX ix_trials_study_id")
    connection.close()
    storage = RDBStorage(theirs)
    alembic.command.downgrade(storage._version_manager._create_alembic_config(), "v3.0.0.c")
    storage.engine.dispose()
    with pytest.raises(RuntimeError, match="no longer compatible"):
        optuna.load_study(study_name="theirs", storage=theirs)
    before = contents(home)
    assert "boom" in hpo.report_on(theirs).read_text()
    assert contents(home)["theirs.db"] == before["theirs.db"]
    with sqlite3.connect("theirs.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")
    connection.close()
    with pytest.raises(Refused, match="newer Optuna"):
        hpo.report_on(theirs)


def test_a_database_that_is_in_use_is_read_as_it_is(theirs: str, home: Path) -> None:
    with sqlite3.connect("theirs.db") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE trial_values SET value = -5.0 WHERE trial_id = 1")
        connection.commit()
        before = contents(home)
        assert set(before) == {"theirs.db", "theirs.db-shm", "theirs.db-wal"}
        with foreign_study(theirs) as foreign:
            assert foreign.study.best_value == -5.0  # which is in the -wal file alone
        assert contents(home) == before
    connection.close()


def test_whatever_optuna_can_store_has_a_page(home: Path) -> None:
    study = optuna.create_study(study_name=f"a/../{HOSTILE}", storage="sqlite:///odd.db", direction="maximize")
    study.set_metric_names(["psnr_db"])

    def odd(trial: optuna.Trial) -> float:
        trial.suggest_categorical("layers", [None, True, "a", [1, 2], math.nan])
        trial.suggest_int("same", 3, 3)
        trial.suggest_float(HOSTILE, 0, 1 + trial.number)
        trial.suggest_int("wide", 1, 2 ** (1 + trial.number), log=True)
        trial.report(math.nan, 3)
        trial.report(-math.inf if trial.number % 2 else 2.0, 10**6)
        return math.inf if trial.number == 2 else float(trial.number)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna does not like lists
        study.optimize(odd, n_trials=6)
    path = hpo.report_on("odd.db")
    assert path.parent.parent == Path("runs")
    assert path.parent.name.startswith("a_.._script_window.owned")
    page = path.read_text()
    assert HOSTILE not in page
    assert "[1, 2]" in page
    assert "psnr (dB)" in page
    assert "Trial 5 scored best" in page  # the infinite value of trial 2 is none
    optuna.create_study(study_name="empty", storage="sqlite:///odd.db")
    assert "No trial has been completed" in hpo.report_on("odd.db", study="empty").read_text()


def test_choices_beside_each_other_do_not_agree(home: Path) -> None:
    study = optuna.create_study(study_name="mixed", storage="sqlite:///mixed.db")
    for number, layers in enumerate([True, "a", True, 3, 4]):
        choices = CategoricalDistribution([True, "a", 3, 4])
        study.add_trial(create_trial(params={"layers": layers}, distributions={"layers": choices}, value=number))
    assert "agree on no parameter" in hpo.report_on("mixed.db").read_text()


def test_what_cannot_be_read_is_refused_in_words(theirs: str, home: Path) -> None:
    def refusal(url: str, study: str | None = None) -> str:
        with pytest.raises(Refused) as refused:
            hpo.report_on(url, study=study)
        return str(refused.value)

    optuna.create_study(study_name="second", storage=theirs)
    optuna.create_study(study_name="two goals", storage=theirs, directions=["minimize", "maximize"])
    assert "3 studies; name one with --study: 'second', 'theirs', 'two goals'" in refusal(theirs)
    assert "did you mean 'theirs'?" in refusal(theirs, "their")
    assert "2 goals (minimize, maximize)" in refusal(theirs, "two goals")
    assert "is not there" in refusal("sqlite:///nowhere.db")
    assert "is not a file" in refusal(".")
    Path("other.txt").write_text("not Optuna's\n")
    assert "neither an SQLite database nor a journal file" in refusal("other.txt")
    sqlite3.connect("other.db").execute("CREATE TABLE people (name)").connection.close()
    assert "no tables of studies and trials" in refusal("other.db")
    secret = refusal("postgresql://me:s3cret@127.0.0.1:1/db")
    assert "password" in secret
    assert "s3cret" not in secret
    assert "cannot be read" in refusal("postgresql://me@127.0.0.1:1/db")
    assert not Path("runs").exists()


def test_the_folder_of_another_study_is_not_written_to(theirs: str, home: Path) -> None:
    Path("runs/theirs").mkdir(parents=True)
    Path("runs/theirs/study.db").write_text("ours")
    with pytest.raises(Refused, match=r"it holds study\.db"):
        hpo.report_on(theirs)
    assert "name a STUDY" in command("report").err
    assert "name a STUDY" in command("report", "toy", "--from", theirs).err


# -- adoption --------------------------------------------------------------------------------------------------------
def adopted(name: str) -> list[optuna.trial.FrozenTrial]:
    stored = stored_study(RunFolder(Path("runs") / name), name)
    assert stored is not None
    return stored.get_trials()


def test_an_adopted_study_keeps_every_trial_with_its_curve_attributes_and_times(theirs: str, home: Path) -> None:
    before = contents(home)
    done = command("adopt", "ours", "--from", theirs)
    assert done.code == 0
    assert "adopted 14 trials of 'theirs' into" in done.out
    study = optuna.load_study(study_name="theirs", storage=theirs)
    for trial, ours in zip(study.trials, adopted("ours"), strict=True):
        ended = trial.state.is_finished()
        assert ours.state is (trial.state if ended else TrialState.FAIL)
        assert ours.value == trial.value
        assert ours.params == trial.params
        assert ours.distributions == trial.distributions
        assert ours.intermediate_values == trial.intermediate_values
        assert ours.user_attrs["adopted"]["attributes"] == trial.user_attrs
        if ended:
            assert (ours.datetime_start, ours.datetime_complete) == (trial.datetime_start, trial.datetime_complete)
        asked, outcome = (read(RunFolder(Path("runs/ours")).trial("sweep", trial.number)) for read in READERS)
        assert asked is not None
        assert outcome is not None
        assert asked.params == trial.params
        assert [epoch.value for epoch in outcome.history] == list(trial.intermediate_values.values())
    assert [ours.user_attrs["reason"] for ours in adopted("ours")][3] == "boom"
    assert "had not ended" in adopted("ours")[12].user_attrs["reason"]
    assert "had not begun" in adopted("ours")[13].user_attrs["reason"]
    after = contents(home)
    assert {path: after[path] for path in before} == before


READERS: tuple[Callable, ...] = (read_asked, read_outcome)


def test_status_report_ledger_and_rebuild_work_at_once(theirs: str, home: Path) -> None:
    Path("experiments").mkdir()
    hpo.adopt("ours", theirs)
    study = optuna.load_study(study_name="theirs", storage=theirs)
    status = hpo.status("ours")[0]
    assert (status.done, status.trials, status.best) == (14, 14, study.best_value)
    page = hpo.report("ours").read_text()
    assert "its trials were not trained by hpo" in page
    assert "boom" in page
    assert HOSTILE not in page
    record = Ledger(Path("experiments")).of_study("ours")
    assert record is not None
    assert record.kept["sweep"]["best_trial"] == study.best_trial.number
    before = adopted("ours")
    Path("runs/ours/study.db").unlink()
    assert hpo.rebuild("ours").trials == 14
    assert [replace_id(trial) for trial in adopted("ours")] == [replace_id(trial) for trial in before]


def replace_id(trial: optuna.trial.FrozenTrial) -> dict[str, object]:
    """All that a trial holds, but the storage's own number of it."""
    return {key: value for key, value in vars(trial).items() if key != "_trial_id"}


def test_the_lineage_says_from_where_when_and_with_which_versions(theirs: str, home: Path) -> None:
    hpo.adopt("ours", theirs, rename={"lr": "rate", "task.shift": ""})
    adoption = read_adoption(RunFolder(Path("runs/ours")))
    assert adoption is not None
    assert (adoption.url, adoption.study) == (f"sqlite:///{home}/theirs.db", "theirs")
    assert adoption.versions["optuna"] == optuna.__version__
    assert adoption.names == {"lr": "rate", "task.shift": ""}
    assert adoption.tools == ("TPESampler",)
    assert list(adopted("ours")[0].params) == ["rate"]
    shift = optuna.load_study(study_name="theirs", storage=theirs).trials[0].params["task.shift"]
    assert adopted("ours")[0].user_attrs["adopted"]["set_aside"] == {"task.shift": shift}
    argv = json.loads(Path("runs/ours/commands.log").read_text())["argv"]
    assert argv[-4:] == ["--map", "lr=rate", "--map", "task.shift="]


def test_nothing_is_overwritten(theirs: str, home: Path) -> None:
    hpo.adopt("ours", theirs)
    before = contents(home)
    with pytest.raises(Refused, match=r"nothing in it is overwritten\. Adopted from"):
        hpo.adopt("ours", theirs)
    with pytest.raises(Refused, match="NAME: must be"):
        hpo.adopt("../ours", theirs)
    assert contents(home) == before
    assert [path.name for path in Path("runs").iterdir()] == ["ours"]


# -- with a task -----------------------------------------------------------------------------------------------------
def test_an_adopted_study_is_promoted_by_a_task_that_has_its_names(theirs: str, home: Path) -> None:
    task = write("study = toy")
    done = command("adopt", "ours", "--from", theirs, "--task", task, "--map", "lr=recipe.lr")
    assert done.code == 0
    best = optuna.load_study(study_name="theirs", storage=theirs).best_trial
    verdict = hpo.promote("ours", backend="inline")
    assert [result.candidate.name for result in verdict.results if result.candidate.name != "default"] == [
        f"trial {best.number}"
    ]
    page = hpo.report("ours").read_text()
    assert "its trials were not trained by hpo" in page
    assert "Best adopted score" in page
    assert "boom" in page
    before = adopted("ours")
    hpo.rebuild("ours")
    assert [replace_id(trial) for trial in adopted("ours")] == [replace_id(trial) for trial in before]
    assert hpo.status("ours")[0].promotion_state == "judged"
    for verb in (hpo.sweep, hpo.run):
        with pytest.raises(Refused, match="No other trials can be added"):
            verb("ours", backend="inline")


def test_trials_outside_the_space_are_set_aside_and_named(theirs: str, home: Path) -> None:
    study = optuna.load_study(study_name="theirs", storage=theirs)
    inside = [trial.number for trial in study.trials if 0.01 <= trial.params.get("lr", 0) <= 0.3]
    task = write("study = replace(toy, space=toy.space | {'recipe.lr': log(1e-2, 0.3)})")
    adoption = hpo.adopt("ours", theirs, task=task, rename={"lr": "recipe.lr"})
    outside = [trial.number for trial in study.trials if trial.params and trial.number not in inside]
    assert sorted(adoption.set_aside) == outside
    assert 0 < len(outside) < 12
    for trial in adopted("ours"):
        if trial.number in outside:
            assert trial.state is TrialState.FAIL
            assert trial.user_attrs["reason"].startswith("set aside: recipe.lr = ")
            assert trial.user_attrs["adopted"]["set_aside"] == study.trials[trial.number].params
        else:
            assert trial.state is (
                study.trials[trial.number].state if study.trials[trial.number].state.is_finished() else TrialState.FAIL
            )
    with pytest.raises(Refused, match="no completed trial fits the space"):
        hpo.adopt(
            "none",
            theirs,
            task=write(
                "study = replace(toy, recipe=replace(toy.recipe, lr=9.0), space=toy.space | {'recipe.lr': log(8, 9)})"
            ),
            rename={"lr": "recipe.lr"},
        )
    assert not Path("runs/none").exists()


def test_parameters_that_the_task_does_not_have_are_listed_and_refused(theirs: str, home: Path) -> None:
    wide = write("study = replace(toy, space=toy.space | {'task.pull': uniform(0, 1)})")
    with pytest.raises(Refused) as refused:
        hpo.adopt("ours", theirs, task=wide)
    assert "'lr' is not in the space of the task; perhaps --map lr=recipe.lr" in str(refused.value)
    assert "'task.pull' of the space was not searched by them" in str(refused.value)
    with pytest.raises(Refused, match=r"has no parameter 'task_shift'; did you mean 'task\.shift'"):
        hpo.adopt("ours", theirs, rename={"task_shift": "x"})
    with pytest.raises(Refused, match=r"would be called 'task\.shift'"):
        hpo.adopt("ours", theirs, rename={"lr": "task.shift"})
    optuna.create_study(study_name="up", storage="sqlite:///up.db", direction="maximize")
    with pytest.raises(Refused, match="ranked the wrong way round"):
        hpo.adopt("ours", "up.db", task=write("study = toy"))
    hpo.adopt("ours", theirs)
    with pytest.raises(Refused, match="adopted without a task"):
        hpo.promote("ours")
    assert [path.name for path in Path("runs").iterdir()] == ["ours"]


def test_a_study_file_that_changed_since_is_met_before_a_promotion(theirs: str, home: Path) -> None:
    task = write("study = toy")
    hpo.adopt("ours", theirs, task=task, rename={"lr": "recipe.lr"})
    narrow = replace(hpo.load_study(task), name="ours", space={"task.shift": hpo.uniform(-1, 1)})
    with pytest.raises(Refused, match="parameters that the space of the study file does not have"):
        hpo.promote(narrow, backend="inline")
    assert not Path("runs/ours/promotion.json").exists()
