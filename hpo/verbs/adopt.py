"""Optuna studies that hpo did not run: reported on as they are, or adopted."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import optuna

from hpo.contract.study_fields import NAME
from hpo.errors import Refused
from hpo.files import write_whole
from hpo.formatting import first_lines, listed
from hpo.ledger.keeping import entered
from hpo.page.findings import Missing
from hpo.page.foreign import collect_foreign, render_foreign
from hpo.space import distribution_of
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.foreign import Foreign, foreign_study
from hpo.storage.transient import failures_as_halted
from hpo.study import StudySpec
from hpo.trial.adopting import SHOWN, AdoptedTrial, adopted_trial, names_of
from hpo.trial.adoption import Adoption, make_storage, read_adoption, write_adoption
from hpo.trial.foreign import attribute_text, direction_and_goal, searched_space, tools_of
from hpo.trial.provenance import versions
from hpo.trial.record import write_asked, write_outcome
from hpo.verbs.command_log import log_command
from hpo.verbs.display import Display
from hpo.verbs.load import load_study
from hpo.verbs.options import Folder
from hpo.verbs.progress import display_for


@failures_as_halted()
def report_on(url: str, *, study: str | None = None, runs: Folder = "runs", progress: bool | Display = False) -> Path:
    """Write runs/THEIRS/report.html about any Optuna study, and return its path. Nothing is written to `url`.

    `url` is an SQLAlchemy URL without a password, or the path of an SQLite database or of a journal file; `study` is
    the study's name, where there are several. Raises Refused where it cannot be read.
    """
    with foreign_study(url, study) as foreign:
        name = foreign.study.study_name
        folder = RunFolder(Path(runs) / folder_name(name))
        _require_own(folder)
        findings = collect_foreign(foreign.study, origin_of(foreign), [_adoption(foreign)])
        page = render_foreign(findings)
    folder.make()
    write_whole(folder.report, page.encode("utf-8", "replace"))
    display_for(progress).report_written(folder.report)
    return folder.report


@failures_as_halted()
def adopt(
    name: str,
    url: str,
    *,
    study: str | None = None,
    task: str | Path | None = None,
    rename: Mapping[str, str] | None = None,
    runs: Folder = "runs",
    progress: bool | Display = False,
) -> Adoption:
    """Make an Optuna study that hpo did not run a study of ours, runs/NAME, and return its record.

    `url` and `study` are as for `report_on`, and nothing is written there. Trials that ended are kept with their
    curves and attributes, those that did not as failed ones, or as pruned where hpo had paused them. With `task`, a
    study file whose space has the parameters, they can be promoted: a trial outside that space is set aside. `rename`
    maps their names of parameters to ours, and to "" what is set aside in every trial.

    Raises Refused where there is a study of that name, or where the parameters do not fit the task.
    """
    folder = RunFolder((Path(runs) / name).absolute())
    _require_new(name, folder)
    spec = replace(load_study(task), name=name) if task is not None else None
    with foreign_study(url, study) as foreign:
        adoption, trials = _adopted(name, foreign, spec, rename or {})
    adoption = replace(adoption, task=None if task is None else _place(task))
    _require_something(adoption, trials)
    display = display_for(progress)
    argv = _argv(name, url, study, task, rename or {}, runs)
    with (
        entered(folder, say=display.say, warn=display.warn),
        display.bar("adopt", len(trials)) as update,
    ):
        _write(folder, adoption, trials, argv, watch=lambda done: update(done, ""))
    display.adopted(folder.path, adoption, Counter(trial.outcome.state for trial in trials))
    return adoption


def report_adopted(folder: RunFolder, adoption: Adoption, display: Display) -> Path:
    """Write the report of a study that was adopted without a task."""
    command = shlex.join(["hpo", "adopt", f"{adoption.name}-2", "--from", adoption.url, "--study", adoption.study])
    missing = Missing(
        "No task: adopt it again with one, under another name, to promote it.", f"{command} --task STUDY.py"
    )
    stored = stored_study(folder, adoption.name)
    if stored is None:
        raise Refused(f"{folder.path} has no storage; run: hpo rebuild {adoption.name}")
    origin = {
        "Adopted": adoption.sentence,
        "Goal": f"{adoption.direction} {adoption.goal}",
        **({"Left traces in it": listed(adoption.tools)} if adoption.tools else {}),
        **({"Attributes of the study": attribute_text(adoption.attributes)} if adoption.attributes else {}),
        "Versions": ", ".join(f"{package} {text}" for package, text in adoption.versions.items()),
    }
    write_whole(folder.report, render_foreign(collect_foreign(stored, origin, [missing])).encode("utf-8", "replace"))
    display.report_written(folder.report.resolve())
    return folder.report.resolve()


# -- adopting --------------------------------------------------------------------------------------------------------
def _require_new(name: str, folder: RunFolder) -> None:
    if not NAME.fullmatch(name):
        raise Refused(
            f"NAME: must be 1 to 64 letters, digits, '.', '_' or '-', and start with a letter or digit (it names a "
            f"folder); got {name!r}"
        )
    if folder.path.exists() and any(folder.path.iterdir()):
        before = read_adoption(folder)
        reason = before.sentence if before else "It holds a study already."
        raise Refused(f"{folder.path} is there, and nothing in it is overwritten. {reason} Choose another name")
    folder.check_writable()


def _adopted(
    name: str, foreign: Foreign, spec: StudySpec | None, rename: Mapping[str, str]
) -> tuple[Adoption, list[AdoptedTrial]]:
    """The record of the adoption, and what is to be written of each trial."""
    theirs = foreign.study.get_trials(deepcopy=False)
    direction, goal = direction_and_goal(foreign.study)
    if spec is not None and spec.direction is not direction:
        raise Refused(
            f"study {foreign.study.study_name!r} is to {direction} its goal, and the task to {spec.direction} "
            f"{spec.task.goal!r}: its trials would be ranked the wrong way round"
        )
    searched = searched_space(theirs)
    space = spec.space if spec else None
    names = names_of(list(searched), rename, space)
    ours = {names[name]: entry for name, entry in searched.items() if names[name]}
    if space is not None:
        ours = {name: distribution_of(entry) for name, entry in space.items()}
    adoption = Adoption(
        name=name,
        url=foreign.url,
        study=foreign.study.study_name,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        direction=direction,
        goal=goal,
        trials=len(theirs),
        names=names,
        set_aside={},
        tools=tuple(tools_of(theirs)),
        attributes=dict(foreign.study.user_attrs),
    )
    trials = [adopted_trial(trial, direction, names, ours, space, adoption.identity) for trial in theirs]
    set_aside = {trial.asked.number: trial.misfit for trial in trials if trial.misfit}
    return replace(adoption, set_aside=set_aside), trials


def _require_something(adoption: Adoption, trials: Sequence[AdoptedTrial]) -> None:
    """Raise Refused where nothing can come of the study."""
    if not trials:
        raise Refused(f"study {adoption.study!r} in {adoption.url} has no trials")
    if adoption.task is not None and all(trial.outcome.state != "complete" for trial in trials):
        lines = [f"trial {number}: {why}" for number, why in adoption.set_aside.items()]
        listed_lines = "\n  ".join(first_lines(lines, SHOWN))
        raise Refused(f"no completed trial fits the space of {adoption.task}:\n  {listed_lines}")


def _place(task: str | Path) -> str:
    """The study file, to be found again from another folder; or its name in ./studies."""
    return str(Path(task).resolve()) if Path(task).is_file() else str(task)


def _argv(
    name: str, url: str, study: str | None, task: str | Path | None, rename: Mapping[str, str], runs: Folder
) -> list[str]:
    words = ["hpo", "adopt", name, "--from", url]
    words += ["--study", study] if study else []
    words += ["--task", str(task)] if task is not None else []
    for theirs, ours in rename.items():
        words += ["--map", f"{theirs}={ours}"]
    return [*words, *(["--runs", str(runs)] if str(runs) != "runs" else [])]


def _write(
    folder: RunFolder,
    adoption: Adoption,
    trials: Sequence[AdoptedTrial],
    argv: Sequence[str],
    watch: Callable[[int], None],
) -> None:
    """Write everything beside the folder, and put it in its place when it is whole."""
    beside = RunFolder(folder.path.with_name(f".{folder.path.name}.{os.getpid()}.tmp"))
    beside.make()
    try:
        for trial in trials:
            path = beside.trial("sweep", trial.asked.number)
            write_asked(path, trial.asked)
            write_outcome(path, trial.outcome, inputs=adoption.url)
        write_adoption(beside, adoption)
        log_command(beside, argv)
        make_storage(beside, adoption, beside.database, watch)
        os.rename(beside.path, folder.path)
    except OSError as error:
        raise Refused(f"{folder.path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside.path, ignore_errors=True)


# -- reporting -------------------------------------------------------------------------------------------------------
def folder_name(study: str) -> str:
    """The name of a study as one that a folder can have; where it has to be changed, with a part of its hash."""
    if NAME.fullmatch(study):
        return study
    readable = re.sub(r"[^A-Za-z0-9._-]+", "_", study).strip("._-")[:40]
    digest = hashlib.sha256(study.encode("utf-8", "replace")).hexdigest()[:8]
    return f"{readable or 'study'}-{digest}"


def origin_of(foreign: Foreign) -> dict[str, str]:
    """Where a study was read from, when, and what its goal is."""
    direction, goal = direction_and_goal(foreign.study)
    return {
        "Storage": foreign.url,
        "Study": foreign.study.study_name,
        "Read": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, by Optuna {optuna.__version__}",
        "Goal": f"{direction} {goal}",
    }


def _require_own(folder: RunFolder) -> None:
    """Raise Refused where the folder holds more than an earlier report of this kind."""
    others = [path.name for path in folder.path.glob("*") if path != folder.report] if folder.path.is_dir() else []
    if others:
        raise Refused(
            f"{folder.path} is the folder of a study already (it holds {sorted(others)[0]}); name another folder with "
            f"--runs DIR"
        )


def _adoption(foreign: Foreign) -> Missing:
    name = foreign.study.study_name
    words = ["hpo", "adopt", folder_name(name), "--from", foreign.url, "--study", name]
    return Missing(
        "No task: what these scores are worth at full fidelity can be shown once a task is there.",
        shlex.join([*words, "--task", "STUDY.py"]),
    )
