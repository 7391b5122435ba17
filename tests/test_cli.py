"""The command line as a user meets it: exit codes, refusals that write nothing, JSON, and what a terminal shows.

Most commands run in this process through typer's runner; real processes where only they can tell.
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from hpo.checking import preflight
from hpo.cli import main
from hpo.cli.status import show_statuses
from hpo.errors import ExitCode
from hpo.page.collect import collect
from hpo.page.status import Status
from hpo.storage.database import open_storage
from hpo.storage.folder import RunFolder
from hpo.task import Check
from hpo.verbs.display import Bars
from hpo.verbs.load import load_study
from hpo.workers.local import Inline, Processes
from tests.test_private import Unloadable

ROOT = Path(__file__).parent.parent
FRESH = itertools.count()  # a module of one name is imported once in a process
HEAD = """from dataclasses import dataclass, replace
from hpo import Fidelity, Median, Recipe, choose, log, uniform
from tests.cli_tasks import *
from tests.toy import Toy, study as toy
small = Fidelity(size=6, train=32, val=32, epochs=2)
toy = replace(toy, smoke=small, cheap=small, full=replace(small, epochs=3, test=20), pruning=None, trials=3, keep=1,
              seeds=2)
"""


@pytest.fixture
def home(memory_disk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in memory that commands are given in."""
    folder = Path(tempfile.mkdtemp(dir=memory_disk))
    monkeypatch.chdir(folder)
    return folder


def write(text: str = "study = toy", name: str = "") -> str:
    """A study file in the current folder; its name, as a user would type it."""
    path = Path(f"{name or f'study_{next(FRESH)}'}.py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(HEAD + text)
    return str(path)


@dataclass(frozen=True)
class Output:
    code: int
    out: str
    err: str


def hpo(*words: str) -> Output:
    """The command in this process. No exception may come out of it, and no line may end in a traceback."""
    result = CliRunner().invoke(main.app, words)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert "Traceback" not in result.stdout + result.stderr
    return Output(result.exit_code, result.stdout, result.stderr)


def trouble(err: str) -> list[str]:
    """What is on standard error beside a line for each check and each trial that has ended."""
    return [line for line in err.splitlines() if not re.match(r"preflight: |(trial|run) \d+ ", line)]


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder: when it was written, and what it holds."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if "__pycache__" not in path.parts
    }


def refused(home: Path, *words: str, code: int = 2) -> str:
    """What a refusal says, on standard error alone and on one screen. It must have written nothing."""
    before = files(home)
    output = hpo(*words)
    assert (output.code, output.out) == (code, "")
    assert files(home) == before
    assert len(output.err.splitlines()) <= 12
    return output.err


INLINE = ("--backend", "inline")


# -- bad input -------------------------------------------------------------------------------------------------------
def test_a_wrong_study_file_is_refused_with_file_line_key_and_what_is_allowed(home: Path) -> None:
    study = write("study = replace(toy, space={\n    'recipe.lr': log(0.2, 0.3)})")
    message = refused(home, "preflight", study)
    assert message.startswith(f"hpo: {(home / study).resolve()}:8: study = replace(toy, space={{")
    assert "space['recipe.lr']: the default 0.1 must lie in the space; allowed: log(0.2, 0.3)" in message


@pytest.mark.parametrize("verb", ["preflight", "sweep", "promote", "report", "run"])
def test_a_study_that_is_not_there_is_told_the_nearest(verb: str, home: Path) -> None:
    Path("studies").mkdir()
    Path("studies/photographs.py").write_text(HEAD)
    assert "no study 'photograhs'" in refused(home, verb, "photograhs")
    assert "did you mean 'photographs'?" in refused(home, verb, "photograhs")


OPTIONS = {
    "--data nowhere": "--data: must be a folder; got nowhere, which is not there",
    "--data a_file": "--data: must be a folder; got a_file, which is a file",
    "--device gpu": "--device: must be auto, cpu, cuda or cuda:N; got 'gpu'",
    "--device cuda:": "--device: must be auto, cpu, cuda or cuda:N; got 'cuda:'",
    "--device cpu:1": "--device: must be auto, cpu, cuda or cuda:N; got 'cpu:1'",
    "--device cuda:99": "--device cuda:99: this machine has",
    "--runs a_file": "a_file is a file; name another one with --runs DIR",
    "--workers 0": "Invalid value for '--workers': Input should be greater than or equal to 1",
    "--trials none": "Invalid value for '--trials': Input should be a valid integer",
    "--backend slurm": "--backend: must be local, inline or dask; got 'slurm'",
    "--bogus": "No such option: --bogus",
}


def test_a_wrong_option_is_refused_before_anything_is_written(home: Path) -> None:
    study = write("study = replace(toy, task=Reader())")
    Path("a_file").touch()
    messages = {words: refused(home, "sweep", study, *words.split()) for words in OPTIONS}
    plain = {words: re.sub(r"[\s│]+", " ", message) for words, message in messages.items()}
    assert {words: message for words, message in plain.items() if OPTIONS[words] not in message} == {}
    Path("a_folder").mkdir()
    assert "--data: Toy has no field for a data folder, so --data cannot be used" in refused(
        home, "sweep", write(), "--data", "a_folder"
    )


def test_a_runs_folder_that_cannot_be_made_is_refused_at_the_first_write(home: Path) -> None:
    """The superuser may write everywhere, says the kernel, until he does."""
    message = refused(home, "preflight", write(), "--runs", "/proc/runs")
    assert "the run folder /proc/runs/toy must be a folder that can be written" in message


def test_an_unknown_verb_and_no_verb_at_all_are_bad_input(home: Path) -> None:
    assert "No such command 'swep'" in refused(home, "swep", "toy")
    assert hpo().code == 2


def test_an_exception_in_the_tasks_code_is_shown_with_its_line_and_debug_shows_all(home: Path) -> None:
    study = write("study = replace(toy, task=Unreadable())")
    message = refused(home, "sweep", study, "--force", *INLINE)
    assert "hpo: ZeroDivisionError: the disk is round" in message
    assert re.search(r"at .*/cli_tasks\.py:\d+; --debug shows the whole traceback", message)
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(main.app, ["sweep", study, "--force", "--debug"], catch_exceptions=False)


# -- what must come first --------------------------------------------------------------------------------------------
def test_the_verbs_refuse_what_has_nothing_to_stand_on_and_name_the_command_that_helps(home: Path) -> None:
    study = write()
    assert "nothing has been run" in refused(home, "status")
    for verb, needs in (("sweep", "preflight"), ("promote", "sweep"), ("report", "run")):
        message = refused(home, verb, study, "--smoke", "--runs", "my runs")
        assert f"run: hpo {needs} {study} --smoke --runs 'my runs'" in message
        assert not Path("my runs").exists()


def test_the_command_that_is_named_is_the_one_that_helps(home: Path) -> None:
    study = write()
    message = refused(home, "sweep", study, "--runs", "my runs")
    assert hpo(*shlex.split(message.partition("run: hpo ")[2]), "--workers", "1").code == 0
    assert hpo("sweep", study, "--runs", "my runs", *INLINE).code == 0


CHANGES = {
    "space": ("study = toy", "study = replace(toy, space={'recipe.lr': log(0.01, 0.2)})"),
    "direction": ("study = replace(toy, task=Either())", "study = replace(toy, task=Upward())"),
    "fidelity": ("study = toy", "study = replace(toy, cheap=replace(small, train=32, fixed={'task.pull': 0.1}))"),
    "data": ("study = replace(toy, task=Seeded())", "study = replace(toy, task=Seeded(seed=1))"),
}


@pytest.mark.parametrize("part", CHANGES)
def test_another_question_under_the_same_name_is_refused_with_what_differs(part: str, home: Path) -> None:
    before, after = (write(text) for text in CHANGES[part])
    assert hpo("sweep", before, "--force", *INLINE).code == 0
    for verb in ("sweep", "promote", "run"):
        message = refused(home, verb, after, *INLINE)
        assert re.match(rf"hpo: study 'toy' exists with other .*\b{part}\b", message)
        assert f"\n  {part}: " in message
        assert "give the study another name, or another folder (--runs DIR)" in message


MINE = """
RATE = 2.0  # of the toy

@dataclass(frozen=True)
class Mine(Toy):
    def loss(self, model, batch, at):
        return {name: RATE * term for name, term in super().loss(model, batch, at).items()}

study = replace(toy, task=Mine())
"""


def test_a_study_goes_on_after_an_edited_comment_and_is_refused_after_an_edited_constant(home: Path) -> None:
    study = write(MINE)
    assert hpo("sweep", study, "--force", "--trials", "2", *INLINE).code == 0
    for old, new in (("# of the toy", "# of every term"), ("    def loss", '    """Louder."""\n\n    def loss')):
        Path(study).write_text(Path(study).read_text().replace(old, new))
    assert "3 of 3 trials" in hpo("sweep", study, "--force", "--trials", "3", *INLINE).out
    Path(study).write_text(Path(study).read_text().replace("RATE = 2.0", "RATE = 2.5"))
    assert "study 'toy' exists with other code:\n  code: " in refused(home, "sweep", study, *INLINE)


def test_a_rebuilding_that_would_lose_a_trial_is_refused_and_forced_keeps_the_old_storage(home: Path) -> None:
    study = write()
    assert f"there are no trials in {home}/runs/toy/sweep" in refused(home, "rebuild", study)
    assert hpo("sweep", study, "--force", *INLINE).code == 0
    database = Path("runs/toy/study.db").read_bytes()
    shutil.rmtree("runs/toy/sweep/0002")  # as in a copy that was made before the last trial
    message = refused(home, "rebuild", study)
    assert "knows 1 finished trial that the folders in" in message
    assert re.search(r"\n  sweep: trial 2, complete, \d+\.\d+\n", message)
    output = hpo("rebuild", study, "--force")
    assert (output.code, output.err) == (0, "")
    kept = re.fullmatch(r"rebuilt 2 trials into .*/study\.db\nwhat was there is kept as (study\.db\S+)\n", output.out)
    assert kept
    assert Path("runs/toy", kept[1]).read_bytes() == database
    assert "3 of 3 trials" in hpo("sweep", study, "--force", *INLINE).out


# -- go and no-go ----------------------------------------------------------------------------------------------------
def test_a_no_go_is_exit_code_1_and_stops_a_run_unless_it_is_forced_which_is_recorded(home: Path) -> None:
    study = write("study = replace(toy, task=Ignorant())")
    assert hpo("preflight", study, "--workers", "1").code == 1
    stopped = hpo("run", study, "--workers", "1")
    assert stopped.code == 1
    assert "no-go" in stopped.out
    assert not Path("runs/toy/study.db").exists()
    assert "the preflight said no-go (" in refused(home, "sweep", study)
    assert "forced" not in json.loads(Path("runs/toy/preflight.json").read_text())
    assert hpo("sweep", study, "--force", *INLINE).code == 0
    assert json.loads(Path("runs/toy/preflight.json").read_text())["forced"] is True
    commands = [json.loads(line)["argv"] for line in Path("runs/toy/commands.log").read_text().splitlines()]
    assert commands[-1] == ["hpo", "sweep", study, "--backend", "inline", "--force"]


def test_where_every_trial_fails_the_sweep_says_with_what_and_is_no_success(home: Path) -> None:
    output = hpo("sweep", write("study = replace(toy, task=Hopeless())"), "--force", *INLINE)
    assert output.code not in (0, 2, 130)
    assert output.code == ExitCode.TRIALS_FAILED
    assert "3 trials in a row failed alike: ValueError: nothing can be learned here; --debug shows" in output.err


def test_task_checks_that_are_not_passed_are_exit_code_3_but_not_of_a_rehearsal(home: Path) -> None:
    study = write("study = replace(toy, task=Refusing())")
    ended = hpo("run", study, *INLINE, "--force")
    assert ended.code == ExitCode.CHECKS_NOT_PASSED == 3
    assert " Task checks are not passed: weights.\n" in ended.out
    assert Path("runs/toy/report.html").exists()
    assert hpo("promote", study, *INLINE).code == 3
    assert hpo("sweep", study, *INLINE, "--smoke", "--force").code == 0
    rehearsal = hpo("promote", study, *INLINE, "--smoke")
    assert rehearsal.code == 0
    assert "Task checks are not passed:" not in rehearsal.out


def cannot_load(act: Any) -> BrokenExecutor:
    """What comes of a job that a real worker cannot load."""
    pool = Processes(1)
    try:
        return pool.submit(act).exception()
    finally:
        pool.kill()


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (lambda: BrokenExecutor("a worker process was killed"), "a worker process was killed"),
        (lambda: cannot_load(Unloadable()), "could not load the task: ImportError: not in a worker"),
    ],
)
def test_a_worker_that_dies_in_preflight_is_a_no_go(
    error: Callable[[], BrokenExecutor], seen: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = error()

    class Dying(Inline):
        """A pool whose workers have died: the futures of its jobs are broken."""

        def submit(self, *_: Any, **__: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(died)
            return future

    monkeypatch.setattr(preflight.coordinator, "executor", lambda *_, **__: Dying())
    output = hpo("preflight", write())
    assert output.code == 1
    workers = json.loads(Path("runs/toy/preflight.json").read_text())["checks"][-1]
    assert (workers["name"], workers["status"]) == ("workers", "no-go")
    assert seen in workers["seen"]


@pytest.mark.parametrize("by", ["SystemExit", "GeneratorExit"])
def test_a_task_that_quits_is_a_no_go_and_its_trials_fail(by: str, home: Path) -> None:
    study = write(f"study = replace(toy, task=Quitting(by={by!r}))")
    output = hpo("preflight", study, "--workers", "1")
    assert output.code == ExitCode.NO
    assert re.search(rf"overfit +│ no-go │ {by} .*cli_tasks\.py:\d+", output.out)
    output = hpo("sweep", study, "--force", *INLINE)
    assert output.code == ExitCode.TRIALS_FAILED
    assert f"3 trials in a row failed alike: {by}; --debug shows" in output.err


def test_a_task_that_quits_where_no_check_looks_is_an_error_of_the_command(home: Path) -> None:
    message = refused(home, "preflight", write("study = replace(toy, task=QuitsReading())"))
    assert re.match(r"hpo: SystemExit, at .*cli_tasks\.py:\d+; a task must not end the process", message)
    study = write("study = replace(toy, task=Quitting(by='KeyboardInterrupt'))")
    output = hpo("sweep", study, "--force", *INLINE)
    assert output.code == ExitCode.BAD_INPUT
    assert re.search(r"hpo: KeyboardInterrupt\n  at .*cli_tasks\.py:\d+", output.err)


# -- the whole way ---------------------------------------------------------------------------------------------------
def document(output: Output) -> Any:
    """What the one JSON document on standard output has as its result. Without NaN, which is no JSON."""
    assert (output.code, trouble(output.err)) == (0, [])
    printed = json.loads(output.out, parse_constant=pytest.fail)
    assert (printed["schema"], printed["exit_code"], printed["error"]) == (1, 0, None)
    return printed["result"]


def plain_text(text: str) -> bool:
    """No control characters: nothing but lines."""
    return not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_the_verbs_one_after_the_other_for_people_and_for_programs(home: Path) -> None:
    study = write()
    outputs = [
        hpo("preflight", study, "--workers", "1"),
        hpo("sweep", study, *INLINE),
        hpo("promote", study, *INLINE),
        hpo("report", study),
        hpo("status"),
        hpo("status", study.removesuffix(".py")),
    ]
    assert [(output.code, trouble(output.err)) for output in outputs] == [(0, [])] * 6
    assert all(plain_text(output.out) for output in outputs)
    assert "preflight of toy: go" in outputs[0].out
    assert "3 of 3 trials: 3 complete, 0 pruned, 0 failed, best mse " in outputs[1].out
    assert "2 seeds x 20 test examples, 95 % intervals" in outputs[2].out
    assert Path("runs/toy/report.html").stat().st_size > 10_000
    assert "3/3" in outputs[4].out
    assert outputs[5].out.startswith(outputs[4].out)  # the study is called toy, whatever its file is called
    assert re.search(r"│ 2 +│ complete │ \d/\d ", outputs[5].out)
    assert "studies there are: toy" in refused(home, "status", "zzz")

    before = document(hpo("preflight", study, "--workers", "1", "--json"))
    assert (before["status"], before["checks"][0]["name"]) == ("go", "data")
    verdict = document(hpo("promote", study, *INLINE, "--json"))
    assert verdict["sentence"] in outputs[2].out
    best = optuna.load_study(study_name="toy", storage=open_storage(RunFolder(Path("runs/toy")).storage)).best_trial
    (status,) = document(hpo("status", "--json"))
    rows, coordinator, written = (status.pop(name) for name in ("rows", "coordinator", "written"))
    assert [(row["kind"], row["number"], row["state"]) for row in rows if row["kind"] == "sweep"] == [
        ("sweep", number, "complete") for number in range(3)
    ]
    assert {row["state"] for row in rows} == {"complete"}
    assert coordinator == f"{platform.node()}:{os.getpid()}"
    assert written < time.time()
    assert status == {
        "study": "toy",
        "done": 3,
        "trials": 3,
        "ended": "",
        "running": 0,
        "paused": 0,
        "interrupted": 0,
        "unknown": 0,
        "complete": 3,
        "pruned": 0,
        "failed": 0,
        "best": best.value,
        "best_trial": best.number,
        "seconds_left": 0.0,
        "time_left": "",
        "preflight": "go",
        "promotion": f"winner: {verdict['winner']}",
        "promotion_state": "judged",
        "sentence": verdict["sentence"],
        "unreadable": False,
        "note": "",
        "front": [],
        "goal": "mse",
        "direction": "minimize",
    }


def test_what_tasks_print_does_not_mix_with_json(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = write("study = replace(toy, task=Talkative())")
    sweep = hpo("sweep", study, "--force", *INLINE)
    assert "a model is made\n" in sweep.out
    capfd.readouterr()
    output = hpo("promote", study, *INLINE, "--json")
    assert json.loads(output.out)
    assert "a model is made\n" in output.err
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "a model is made in C\n" in captured.err
    os.write(1, b"and then as before\n")
    assert capfd.readouterr().out == "and then as before\n"


def test_names_that_look_like_markup_are_shown_as_they_are(home: Path) -> None:
    study = write("study = replace(toy, task=Bracketed())")
    output = hpo("preflight", study, "--workers", "1", "--runs", "runs [/x] :warning:")
    assert output.code == 0
    for text in ("range [/0, 1]", "[bold]2", "[0, 1]", "[link]", "runs [/x] :warning:/toy/preflight.json"):
        assert text in output.out
    assert hpo("sweep", study, *INLINE, "--runs", "runs [/x] :warning:").code == 0
    output = hpo("promote", study, *INLINE, "--runs", "runs [/x] :warning:")
    assert (output.code, trouble(output.err)) == (0, [])
    for text in ("mean [/of train]", "[red]:warning:", "range [/0, 1]"):
        assert text in output.out


def test_progress_bars_show_names_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with Bars().bar("sweep", 3) as update:
        update(1, "best [/of train]")
        update(2, "best [/of train]", total=7)  # a budget of time plans anew as it goes on
    with Bars().steps("preflight") as show:
        show(preflight.Step("range [/0, 1]"))
        time.sleep(0.2)  # for the next frame
        show(preflight.Step("range [/0, 1]", Check("range [/0, 1]", "go", "", ""), 1.25))
        time.sleep(0.2)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "best [/of train]" in shown
    assert "2/7" in shown
    assert re.search(r"preflight: range \[/0, 1\] 0:00:0\d", shown)
    assert "(range [/0, 1]: go, 1.2 s)" in shown


def test_where_there_is_no_terminal_a_preflight_prints_a_line_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars().steps("preflight") as show:
        show(preflight.Step("data"))
        show(preflight.Step("data", Check("data", "caution", "", ""), 75))
    assert capsys.readouterr().err == "preflight: data: caution, 1 min 15 s\n"


def test_task_checks_that_did_not_pass_are_shown_with_the_verdict(home: Path) -> None:
    study = write("study = replace(toy, task=Doubting())")
    assert hpo("sweep", study, "--force", *INLINE).code == 0
    output = hpo("promote", study, *INLINE)
    assert output.code == 0
    assert re.search(r"task checks not passed\s.*weights +│ caution +│ large +│ small", output.out, re.DOTALL)
    assert "bias" not in output.out


@pytest.mark.slow
def test_the_same_command_again_goes_on_where_it_was_and_changes_nothing(home: Path) -> None:
    study = write()
    assert hpo("run", study, "--workers", "1", *INLINE).code == 0
    kept = ("verdict.json", "promotion.json", "preflight.json", "winner/card.json", "winner/weights.safetensors")
    before = {name: Path("runs/toy", name).read_bytes() for name in kept}
    trials = {kind: sorted(os.listdir(f"runs/toy/{kind}")) for kind in ("sweep", "promotion")}
    again = hpo("run", study, *INLINE)
    assert again.code == 0
    assert "preflight of toy: passed before, and nothing has changed since" in again.out
    assert {name: Path("runs/toy", name).read_bytes() for name in kept} == before
    assert {kind: sorted(os.listdir(f"runs/toy/{kind}")) for kind in ("sweep", "promotion")} == trials
    more = hpo("sweep", study, "--trials", "5", *INLINE)
    assert "5 of 5 trials" in more.out
    assert sorted(os.listdir("runs/toy/sweep")) == ["0000", "0001", "0002", "0003", "0004"]


def test_names_with_spaces_come_back_from_what_is_logged_and_proposed(home: Path) -> None:
    study = write("study = toy", "my studies/my study")
    assert hpo("sweep", study, "--force", *INLINE, "--runs", "my runs").code == 0
    logged = json.loads(Path("my runs/toy/commands.log").read_text())["argv"]
    assert logged == ["hpo", "sweep", study, "--runs", "my runs", "--backend", "inline", "--force"]
    findings = collect(load_study(study), RunFolder(Path("my runs/toy")))
    assert [missing.command for missing in findings.missing] == [
        f"hpo {verb} 'my studies/my study.py' --runs 'my runs'" for verb in ("preflight", "promote")
    ]
    assert hpo(*shlex.split(findings.missing[1].command)[1:], *INLINE).code == 0


def test_a_study_that_changes_the_current_folder_keeps_its_results_where_the_command_was_given(home: Path) -> None:
    Path("data").mkdir()
    study = write(f"import os\nos.chdir({str(home)!r} + '/data')\nstudy = replace(toy, task=Reader())")
    output = hpo("sweep", study, "--force", *INLINE, "--data", "data")
    assert (output.code, trouble(output.err)) == (0, [])
    os.chdir(home)
    assert os.listdir("data") == []
    assert "3/3" in hpo("status").out
    assert hpo("report", study).code == 0
    os.chdir(home)
    assert Path("runs/toy/report.html").exists()


def test_a_name_that_is_not_utf_8_is_refused_before_anything_is_written(home: Path) -> None:
    study = write()
    runs = os.fsdecode(b"r\xffns")
    message = refused(home, "preflight", study, "--runs", runs)
    assert f"the run folder must have a name in UTF-8; got b'{home}/r\\xffns/toy'" in message
    Path(study).rename(os.fsdecode(b"st\xffdy.py"))
    assert "the study file must have a name in UTF-8" in refused(home, "preflight", os.fsdecode(b"st\xffdy.py"))


def test_a_table_that_is_too_wide_for_the_terminal_is_shown_as_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for width, shown in (
        (80, "│ disc  │ no-go     │"),
        (24, "\nstudy: disc\npreflight: no-go\nsweep: not run\nrunning: 0\nbest: 0.4219 (trial 0)\n"),
    ):
        monkeypatch.setenv("COLUMNS", str(width))
        show_statuses([Status("disc", preflight="no-go", best=0.421875, best_trial=0)])
        assert shown in "\n" + capsys.readouterr().out


# -- real processes --------------------------------------------------------------------------------------------------
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TERM": "xterm", "COLUMNS": "100"}


def test_help_waits_for_neither_torch_nor_optuna() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from hpo.cli.main import app\n"
        "for words in (['--help'], ['sweep', '--help']):\n"
        "    output = CliRunner().invoke(app, words); assert output.exit_code == 0 and 'Usage: ' in output.stdout\n"
        "print(sorted({'torch', 'optuna', 'scipy', 'numpy', 'plotly', 'joblib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_verb_begins_without_what_only_some_of_its_paths_need() -> None:
    asked = "import sys, hpo.verbs.run; print(sorted({'plotly.graph_objs._figure', 'scipy.special', 'scipy.stats', "
    asked += "'sklearn', 'torch._dynamo'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"  # each takes from 0.2 to 1.1 s to import


def in_a_terminal(*words: str) -> tuple[int, str]:
    """A command whose standard streams are a terminal: its exit code, and all that it has shown."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hpo", *words], stdin=there, stdout=there, stderr=there, env=ENVIRONMENT, close_fds=True
    )
    os.close(there)
    shown = b""
    while True:
        try:
            ready, _, _ = select.select([here], [], [], 300)
            chunk = os.read(here, 65536) if ready else b""
        except OSError:  # the terminal's other side is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(here)
    return process.wait(), shown.decode()


@pytest.mark.slow
def test_the_rehearsal_in_a_real_terminal_shows_its_progress_and_in_a_pipe_it_is_quiet(home: Path) -> None:
    """`hpo run --smoke`, with two worker processes; then `hpo status` in a pipe."""
    study = write("study = replace(toy, name='rehearsed')", f"rehearsed_{next(FRESH)}")
    code, shown = in_a_terminal("run", study, "--smoke", "--workers", "2")
    assert code == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "preflight of rehearsed-smoke: go" in text
    assert re.search(r"sweep +━+ +3/3 +\d pruned, \d failed, best ", text)
    assert re.search(r"promote +━+ +4/4", text)
    assert "report: " in text
    assert (home / "runs" / "rehearsed-smoke" / "winner" / "weights.safetensors").exists()
    done = subprocess.run(
        [sys.executable, "-m", "hpo", "status"], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert plain_text(done.stdout)
    assert done.stderr == ""
    assert "rehearsed-smoke" in done.stdout


def given(*words: str, streams: str = "") -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, given in a shell with these redirections."""
    command = shlex.join([sys.executable, "-m", "hpo", *words])
    environment = {**ENVIRONMENT, "PYTHONUTF8": "1"}
    return subprocess.run(
        f"{command} {streams}", shell=True, env=environment, capture_output=True, text=True, executable="/bin/bash"
    )


def test_standard_streams_that_are_closed_or_that_nobody_reads_change_no_exit_code(home: Path) -> None:
    assert hpo("ledger", "new", "v1.0_one", "--title", "one " * 50).code == 0
    record = Path("experiments/v1.0_one.md")
    record.write_text(record.read_text().replace("title =", 'parent = "v0.9_none"\ntitle =', 1))
    for code, words in ((0, ("ledger", "list")), (1, ("ledger", "lint", "--runs", "none"))):
        for streams in ("", ">&-", "2>&-", "<&-", "<&- >&- 2>&-", "| true; exit ${PIPESTATUS[0]}"):
            command = given(*words, streams=streams)
            assert (command.returncode, command.stderr) == (code, ""), (words, streams)


def test_a_file_is_never_opened_in_the_place_of_a_closed_stream(home: Path) -> None:
    code = (
        "from hpo.output.streams import steady_streams; steady_streams(); import os\n"
        "file = open('kept', 'w'); print('lost'); os.write(1, b'lost'); print(os.fsdecode(b'r\\xff'))\n"
    )
    subprocess.run(f"{sys.executable} -c {shlex.quote(code)} >&- <&-", shell=True, env=ENVIRONMENT, check=True)
    assert Path("kept").read_text() == ""


@pytest.mark.slow
def test_what_a_study_file_parses_of_the_command_line_is_not_for_it(home: Path) -> None:
    """Neither here nor in a worker, which imports it too."""
    study = write("import argparse\nargparse.ArgumentParser().parse_args()\nstudy = toy", f"parses_{next(FRESH)}")
    command = given("sweep", study, "--force", "--trials", "1", "--workers", "1")
    assert (command.returncode, trouble(command.stderr)) == (0, [])


@pytest.mark.slow
def test_a_study_file_that_a_worker_cannot_import_is_named_with_the_cause(home: Path) -> None:
    text = "import multiprocessing\nif multiprocessing.parent_process():\n    raise RuntimeError('not in a worker')\n"
    study = write(
        text + "study = toy\nclass Mine(Toy): pass\nstudy = replace(toy, task=Mine())", f"alone_{next(FRESH)}"
    )
    command = given("sweep", study, "--force", "--workers", "1")
    assert command.returncode == ExitCode.TRIALS_FAILED
    assert "a worker process could not load the task: RuntimeError: not in a worker" in command.stderr


@pytest.mark.slow
def test_what_tasks_print_in_a_worker_is_in_the_log_of_the_trial_and_does_not_mix_with_json(home: Path) -> None:
    printed = ("a model is made\n", "a model is made in C\n")
    study = write("study = replace(toy, name='talks', task=Talkative(), trials=1)", f"talks_{next(FRESH)}")
    sweep = given("sweep", study, "--force", "--workers", "1")
    assert sweep.returncode == 0
    kept = Path("runs/talks/sweep/0000/output.log").read_text()
    assert all(text in kept and text not in sweep.stdout for text in printed)
    preflight = given("preflight", study, "--workers", "1", "--json")
    assert json.loads(preflight.stdout)["result"]["status"] == "go"
    kept = hpo("logs", "talks", "--preflight").out
    assert all(text in kept and text not in preflight.stderr for text in printed)
