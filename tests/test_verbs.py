"""The verbs as functions, as a notebook calls them: what they return, raise, write and leave unprinted."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

import hpo
from hpo.checking.preflight import Preflight
from hpo.ledger.folder import Ledger
from hpo.plain import nulled, plain
from hpo.promotion.results import Verdict
from hpo.trial.lifecycle import Standing
from hpo.verbs.display import Display
from hpo.verbs.opening import Opened
from tests import test_cli
from tests.cli_tasks import Ignorant, Reader
from tests.test_cli import ENVIRONMENT, files, home, write
from tests.toy import toy_study

__all__ = ["home"]

SMALL = hpo.Fidelity(size=6, train=32, val=32, epochs=2)
SHORT = {
    "smoke": SMALL,
    "cheap": SMALL,
    "full": replace(SMALL, epochs=3, test=20),
    "pruning": None,
    "trials": 3,
    "keep": 1,
    "seeds": 2,
}
STUDY = toy_study(**SHORT)
VERBS = ("preflight", "sweep", "promote", "report", "run", "rebuild")


# -- a notebook ------------------------------------------------------------------------------------------------------
CELLS = """
import json
from dataclasses import asdict, dataclass, replace
import hpo
from tests.toy import Toy, study as toy

@dataclass(frozen=True)
class Mine(Toy):
    def checks(self, evidence):
        return []

small = hpo.Fidelity(size=6, train=32, val=32, epochs=2)
study = replace(toy, name="mine", task=Mine(), smoke=small, cheap=small, full=replace(small, epochs=3, test=20),
                pruning=None, trials=3, keep=1, seeds=2)
"""
ONE_AFTER_THE_OTHER = """
where = {"runs": "my runs"}
results = {
    "preflight": hpo.preflight(study, workers=1, **where),
    "sweep": hpo.sweep(study, backend="inline", **where),
    "promote": hpo.promote(study, workers=1, **where),
}
path = hpo.report(study, **where)
again = hpo.run(study, workers=1, **where)
with open("results.json", "w") as file:
    json.dump({
        "report": str(path),
        "again": again.winner,
        "status": [asdict(status) for status in hpo.status(**where)],
        **{name: asdict(result) for name, result in results.items()},
    }, file)
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    """A fresh process that runs this code."""
    return subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )


def notebook(*cells: str) -> subprocess.CompletedProcess[str]:
    """A fresh process that runs these cells as Jupyter does: in __main__, which has no file, and each cell's source in
    linecache under a name of its own."""
    return python(
        f"""
import linecache
for number, cell in enumerate({cells!r}):
    linecache.cache[f"<cell {{number}}>"] = (len(cell), None, cell.splitlines(True), f"<cell {{number}}>")
    exec(compile(cell, f"<cell {{number}}>", "exec"))
"""
    )


@pytest.mark.slow
def test_a_notebook_goes_from_preflight_to_report_with_a_task_of_its_own_and_nothing_is_printed(home: Path) -> None:
    Path("experiments").mkdir()
    done = notebook(CELLS, ONE_AFTER_THE_OTHER)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    results = json.loads(Path("results.json").read_text())
    folder = home / "my runs" / "mine"
    assert results["preflight"]["status"] == "go"
    assert results["preflight"] == json.loads((folder / "preflight.json").read_text())
    assert (results["sweep"]["done"], results["sweep"]["complete"], results["sweep"]["trials"]) == (3, 3, 3)
    assert results["promote"]["winner"] == json.loads((folder / "verdict.json").read_text())["winner"]
    assert results["again"] == results["promote"]["winner"]
    assert results["report"] == str(folder / "report.html")
    assert Path(results["report"]).stat().st_size > 10_000
    assert sorted(os.listdir(folder / "sweep")) == ["0000", "0001", "0002"]
    assert (folder / "winner" / "weights.safetensors").exists()
    said = test_cli.hpo("status", "--runs", "my runs", "--json")
    assert json.loads(said.out)["result"] == results["status"]
    assert results["status"][0]["promotion"] == f"winner: {results['promote']['winner']}"
    assert Ledger(Path("experiments")).read("v1.0_mine").status == "analysis"


def test_the_log_holds_each_command_that_does_the_same_word_by_word(home: Path) -> None:
    hpo.sweep(STUDY, backend="inline", force=True, runs="my runs", trials=1)
    hpo.report(STUDY, runs=Path("my runs"))
    logged = [json.loads(line) for line in Path("my runs/toy/commands.log").read_text().splitlines()]
    sweep, report = (line["argv"] for line in logged)
    assert sweep == ["hpo", "sweep", "toy", "--trials", "1", "--runs", "my runs", "--backend", "inline", "--force"]
    assert report == ["hpo", "report", "toy", "--runs", "my runs"]
    assert set(logged[0]) == {"at", "argv", "versions"}
    study = write("study = replace(toy, trials=1)")
    assert test_cli.hpo("sweep", study, "--runs=my runs", "--workers", "1", "--force").code == 0
    last = json.loads(Path("my runs/toy/commands.log").read_text().splitlines()[-1])
    assert last["argv"] == ["hpo", "sweep", study, "--workers", "1", "--runs", "my runs", "--force"]


@pytest.mark.slow
def test_a_task_of_a_notebook_is_swept_by_worker_processes_and_shared_by_no_devices(home: Path) -> None:
    done = notebook(
        CELLS,
        """
standing = hpo.sweep(study, workers=2, force=True)
try:
    hpo.promote(study, workers=1, devices=2)
except hpo.Refused as refused:
    print(standing.complete, refused)
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "3 --devices 2: its processes import the task, and Mine is defined in a notebook or a script; move it into a "
        "module and import it from there, or leave --devices out\n"
    )
    assert not Path("runs/mine/promotion.json").exists()


@pytest.mark.slow
def test_a_task_of_a_notebook_that_is_edited_is_other_code_and_one_without_source_is_refused(home: Path) -> None:
    sweep = (
        "try:\n    hpo.sweep(study, backend='inline', force=True)\nexcept hpo.Refused as refused:\n    print(refused)"
    )
    assert notebook(CELLS, sweep).stdout == ""
    assert notebook("# a comment\n" + CELLS.replace("return []", "return []  # none"), sweep).stdout == ""
    edited = CELLS.replace("return []", "return [hpo.Check('a', 'go', 'b', 'c')]")
    assert "study 'mine' exists with other code" in notebook(edited, sweep).stdout
    before = files(home)
    unreadable = "exec('class Mine(Toy): pass')\nstudy = replace(study, task=Mine())\n"
    assert "Mine has no source that can be read" in notebook(CELLS, unreadable + sweep).stdout
    assert files(home) == before


@pytest.mark.slow
def test_a_task_that_no_worker_can_be_given_is_refused_with_the_reason_and_runs_inline(home: Path) -> None:
    locked = CELLS.replace(
        "    def checks(self, evidence):\n        return []",
        "    def model(self):\n        with lock:\n            return super().model()",
    )
    sweep = """
try:
    hpo.sweep(study, workers=2, force=True)
except hpo.Refused as refused:
    print(refused)
"""
    done = notebook("import threading\nlock = threading.Lock()\n" + locked, sweep)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "Mine cannot be given to worker processes: cannot pickle '_thread.lock' object; run it in this process "
        '(--backend inline, or backend="inline"), or make that object inside the method that needs it\n'
    )
    assert not Path("runs").exists()
    inline = "print(hpo.sweep(study, backend='inline', force=True).complete)"
    assert notebook("import threading\nlock = threading.Lock()\n" + locked, inline).stdout == "3\n"


def test_a_study_is_given_as_a_value_a_path_or_a_name(home: Path) -> None:
    file = Path(write("study = replace(toy, trials=1)"))
    for study in (hpo.load_study(file), file, str(file), file.stem):
        standing = hpo.sweep(study, backend="inline", force=True)
        assert (standing.done, standing.complete) == (1, 1)


def test_what_is_returned_is_what_json_prints(home: Path) -> None:
    study = write()
    preflight = hpo.preflight(study, workers=1)
    assert json.loads(Path("runs/toy/preflight.json").read_text()) == nulled(plain(asdict(preflight)))
    hpo.sweep(study, backend="inline")
    verdict = hpo.promote(study, backend="inline")
    said = test_cli.hpo("promote", study, "--backend", "inline", "--json")
    assert json.loads(said.out)["result"] == nulled(plain(asdict(verdict)))
    assert json.loads(said.out)["result"] == json.loads(Path("runs/toy/verdict.json").read_text())


# -- refusals --------------------------------------------------------------------------------------------------------
REFUSED: dict[str, tuple[str, dict[str, Any]]] = {  # what is wrong -> the verb, and its options
    "no such study": ("sweep", {"study": "nowhere"}),
    "no preflight": ("sweep", {}),
    "no preflight in a folder with a space": ("sweep", {"runs": "my runs", "smoke": True}),
    "no sweep": ("promote", {"data": "a_folder"}),
    "nothing run": ("report", {"runs": "my runs"}),
    "nothing to show": ("status", {"study": None}),
    "no such data": ("sweep", {"data": "nowhere"}),
    "data is a file": ("preflight", {"data": "a_file"}),
    "device": ("run", {"device": "gpu"}),
    "no such GPU": ("promote", {"device": "cuda:99"}),
    "runs is a file": ("sweep", {"runs": "a_file"}),
    "backend": ("sweep", {"backend": "slurm"}),
    "backend without scheduler": ("run", {"backend": "dask"}),
    "scheduler without backend": ("promote", {"scheduler": "tcp://127.0.0.1:1"}),
    "a cluster with SQLite": ("sweep", {"backend": "dask", "scheduler": "tcp://127.0.0.1:1"}),
    "a password": ("sweep", {"storage": "postgresql://me:secret@host/db"}),
    "devices of a GPU": ("promote", {"devices": 2, "device": "cuda:0", "backend": "inline"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_is_said_in_the_words_of_the_command_line_and_nothing_is_written(
    case: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    verb, options = REFUSED[case]
    Path("a_file").touch()
    Path("a_folder").mkdir()
    study = options.get("study", write("study = replace(toy, task=Reader())"))
    keywords = {name: value for name, value in options.items() if name != "study"}
    before = files(home)
    with pytest.raises(hpo.Refused) as refused:
        getattr(hpo, verb)(study, **keywords)
    assert files(home) == before
    options_as_words = [word for name, value in keywords.items() for word in _words(name, value)]
    words = [verb, *([study] if study else []), *options_as_words]
    assert test_cli.hpo(*words).err == f"hpo: {refused.value}\n"
    assert "secret" not in str(refused.value)


def _words(option: str, value: Any) -> list[str]:
    return [f"--{option}"] if value is True else [f"--{option}", str(value)]


def test_data_is_for_tasks_that_have_a_field_for_it(home: Path) -> None:
    Path("a_folder").mkdir()
    with pytest.raises(hpo.Refused, match="Toy has no field for a data folder, so --data cannot be used"):
        hpo.preflight(STUDY, data="a_folder")
    hpo.sweep(replace(STUDY, task=Reader()), data="a_folder", backend="inline", force=True, trials=1)


@pytest.mark.parametrize("verb", ["sweep", "promote"])
def test_dask_and_its_scheduler_come_together(verb: str, home: Path) -> None:
    for options in ({"backend": "dask"}, {"scheduler": "tcp://127.0.0.1:1"}):
        with pytest.raises(hpo.Refused, match="--backend dask needs --scheduler, an address or a file"):
            getattr(hpo, verb)(STUDY, **options)


NUMBERS = {
    "--workers: must be a whole number of at least 1; got 0": {"workers": 0},
    "--trials: must be a whole number of at least 1; got 2.5": {"trials": 2.5},
    "--keep: must be a whole number of at least 1; got -1": {"keep": -1},
    "--seeds: must be a whole number of at least 1; got True": {"seeds": True},
    "--devices: must be a whole number of at least 1; got '2'": {"devices": "2"},
    "--timeout: must be a number of seconds, at least 0; got -1": {"timeout": -1},
    "--timeout: must be a number of seconds, at least 0; got nan": {"timeout": float("nan")},
    "--timeout: must be a number of seconds, at least 0; got 'soon'": {"timeout": "soon"},
}


@pytest.mark.parametrize("message", NUMBERS)
def test_a_number_out_of_its_range_is_refused(message: str, home: Path) -> None:
    with pytest.raises(hpo.Refused) as refused:
        hpo.run(STUDY, **NUMBERS[message])
    assert str(refused.value) == message
    assert files(home) == {}


def test_a_run_ends_at_a_no_go_unless_it_is_forced(home: Path) -> None:
    study = replace(STUDY, task=Ignorant())
    with pytest.raises(hpo.NoGo, match=r"the preflight of toy said no-go \(.*overfit.*\)"):
        hpo.run(study, workers=1)
    assert not Path("runs/toy/study.db").exists()
    with pytest.raises(hpo.Refused, match=r"the preflight said no-go .* run: hpo preflight toy"):
        hpo.sweep(study, backend="inline")
    assert isinstance(hpo.run(study, workers=1, force=True), Verdict)
    assert json.loads(Path("runs/toy/preflight.json").read_text())["forced"] is True


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_storage_raises_ends_in_halted(verb: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise sqlalchemy.exc.OperationalError("SELECT 1", None, Exception("the server is gone"))

    monkeypatch.setattr("hpo.verbs.opening.load_study", fail)
    with pytest.raises(hpo.errors.Halted, match=r"the storage failed: .*the server is gone"):
        getattr(hpo, verb)("toy")
    said = test_cli.hpo(verb, "toy")
    assert (said.code, len(said.err.splitlines())) == (74, 1)


# -- what is shown ---------------------------------------------------------------------------------------------------
class Recorder(Display):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def say(self, text: str) -> None:
        self.told.append(text)

    def preflight_ended(self, opened: Opened, result: Preflight) -> None:
        self.told.append(result)

    def sweep_ended(self, opened: Opened, standing: Standing) -> None:
        self.told.append(standing)

    def promotion_ended(self, opened: Opened, verdict: Verdict) -> None:
        self.told.append(verdict)

    def report_written(self, path: Path) -> None:
        self.told.append(path)


def test_a_display_is_told_of_each_stage_in_turn(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    display = Recorder()
    verdict = hpo.run(STUDY, workers=1, progress=display)
    preflight, sweep_begins, standing, promotion_begins, judged, path = display.told
    assert isinstance(preflight, Preflight)
    assert sweep_begins == "sweep of toy: 3 trials, 1 worker"
    assert isinstance(standing, Standing)
    assert promotion_begins == "promotion of toy: the default and 1 x 2 seeds, 4 runs"
    assert judged == verdict
    assert path == home / "runs/toy/report.html"
    hpo.run(STUDY, workers=1, progress=True)  # bars, for a terminal alone
    assert capfd.readouterr() == ("", "")


def test_trouble_with_the_ledger_is_a_warning(home: Path) -> None:
    Path("experiments").mkdir()
    Path("experiments/v1.0_old.md").write_text("no record")
    with pytest.warns(UserWarning, match="the ledger was not brought up to date"):
        assert hpo.sweep(STUDY, backend="inline", force=True).complete == 3


# -- the rest --------------------------------------------------------------------------------------------------------
def test_a_lost_storage_is_rebuilt(home: Path) -> None:
    hpo.sweep(STUDY, backend="inline", force=True, trials=1)
    Path("runs/toy/study.db").unlink()
    rebuilt = hpo.rebuild(STUDY)
    assert (rebuilt.trials, rebuilt.storage) == (1, f"sqlite:///{home}/runs/toy/study.db")
    said = test_cli.hpo("rebuild", write())
    assert said.out.startswith(f"rebuilt 1 trial into {rebuilt.storage}\nwhat was there is kept as study.db.")
    assert hpo.sweep(STUDY, backend="inline", force=True).done == 3


def test_no_file_of_hpo_has_the_name_of_a_public_function() -> None:
    """Importing it would put the module in the function's place."""
    names = {path.stem for path in Path(hpo.__file__).parent.iterdir()}
    functions = {name for name in hpo.__all__ if inspect.isfunction(getattr(hpo, name))}
    assert {*VERBS, "status", "load_study", "fit"} <= functions
    assert functions & names == set()


def test_a_verb_is_a_function_before_and_after_its_namesake_is_imported() -> None:
    modules = "search.sweep checking.preflight promotion.promote page.report page.status trial.rebuild"
    modules += " verbs.preflight verbs.sweep verbs.promote verbs.report verbs.run"
    done = python(
        f"""
import importlib, inspect, hpo
for module in {modules.split()}:
    importlib.import_module("hpo." + module)
print([inspect.isfunction(getattr(hpo, verb)) for verb in {[*VERBS, "status"]} for _ in range(2)].count(False))
"""
    )
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_status_of_a_study_needs_no_torch_and_the_list_of_experiments_no_optuna_either(home: Path) -> None:
    Path("experiments").mkdir()
    hpo.sweep(STUDY, backend="inline", force=True)
    for words, heavy in (("status", {"torch"}), ("ledger list", {"torch", "optuna"})):
        done = python(
            f"""
import sys
from typer.testing import CliRunner
from hpo.cli.main import app
assert "toy" in CliRunner().invoke(app, {words.split()}).stdout
print(sorted({heavy} & set(sys.modules)))
"""
        )
        assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_an_exit_code_is_the_number_of_the_process(home: Path) -> None:
    Path("experiments").mkdir()
    assert subprocess.run([sys.executable, "-m", "hpo", "ledger", "lint"], env=ENVIRONMENT, check=False).returncode == 0
    test_cli.hpo("ledger", "new", "v1.0_one")  # without a title
    assert subprocess.run([sys.executable, "-m", "hpo", "ledger", "lint"], env=ENVIRONMENT, check=False).returncode == 1
    assert subprocess.run([sys.executable, "-m", "hpo", "status"], env=ENVIRONMENT, check=False).returncode == 2
