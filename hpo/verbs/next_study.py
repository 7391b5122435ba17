"""`hpo next`: the file of the study that should come after a sweep."""

from __future__ import annotations

import json
import keyword
import os
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from hpo import space as spaces
from hpo.errors import Refused
from hpo.formatting import count
from hpo.page.collect_sweep import collect_sweep
from hpo.page.next_space import Decision, NextSpace, is_writable, next_space
from hpo.plain import fingerprint
from hpo.space import Distribution, When
from hpo.storage.database import stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.reading import all_trials
from hpo.storage.transient import failures_as_halted, retry_storage
from hpo.study import StudySpec
from hpo.trial.guard import quits_as_errors
from hpo.trial.lifecycle import standing
from hpo.trial.warm import MOST
from hpo.verbs.init import write_new
from hpo.verbs.load import find_study, load_study, module_name
from hpo.verbs.opening import located
from hpo.verbs.options import Folder, Options, help_command

ENOUGH = 8  # completed trials


@dataclass(frozen=True)
class NextStudy:
    """The study file that was written."""

    path: Path
    decisions: tuple[Decision, ...]  # one for each hyperparameter of the earlier study


@failures_as_halted()
@quits_as_errors()
def next_study(study: str | Path, *, runs: Folder = "runs", storage: str | None = None) -> NextStudy:
    """Write STUDY_next.py beside a study file: a study whose space follows from what the sweep has shown.

    A range is widened where the best trials crowd at an edge, unless that edge is natural, and else narrowed to the
    best quarter and a margin, if the sweep tells the hyperparameter from chance. What does not matter is fixed at the
    best trial's value, where there are trials enough to tell. A comment on each line says why. The new study begins
    with the default and the best trials of this one.

    Raises Refused, and writes nothing, where the file exists, where the sweep is not finished or has completed fewer
    than 8 trials, and where the space has changed since.
    """
    path = find_study(str(study))
    target = path.with_name(f"{path.stem}_next.py")
    if os.path.lexists(target):
        raise Refused(f"{target} exists, and is not overwritten; rename it, or remove it")
    _require_importable(path)
    options = Options(runs=runs, storage=storage)
    spec, folder = located(load_study(path), options)
    sweep = _finished_sweep(spec, folder, help_command("sweep", str(study), options))
    result = next_space(spec, collect_sweep(spec, sweep))
    try:
        named = replace(result.study, name=f"{spec.name}_next", warm=spec.name)
    except ValueError as error:
        raise Refused(f"{target} would be no study: {error}") from error
    completed = len(sweep.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    write_new(target, _text(path, spec, NextSpace(named, result.decisions), completed))
    return NextStudy(target, result.decisions)


def _require_importable(path: Path) -> None:
    if not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise Refused(f"another study file cannot import {path.name}; rename it to letters, digits and _")


def _finished_sweep(study: StudySpec, folder: RunFolder, command: str) -> optuna.Study:
    """The sweep of the study, to read. Raises Refused where nothing can be learned from it yet."""
    sweep = retry_storage(lambda: stored_study(folder, study.name))
    if sweep is None:
        raise Refused(f"there is no sweep of {study.name!r} in {folder.path}; run: {command}")
    trials = all_trials(sweep)
    ended = sum(trial.state.is_finished() for trial in trials)
    asked = int(sweep.user_attrs.get("trials", 0))
    if ended < asked and not standing(sweep, asked, sweep.user_attrs.get("stop_after")).end:
        raise Refused(f"the sweep of {study.name!r} is not finished: {ended} of {asked} trials; go on: {command}")
    completed = sum(trial.state is TrialState.COMPLETE for trial in trials)
    if completed < ENOUGH:
        raise Refused(
            f"the next study needs {ENOUGH} completed trials to learn from; {study.name!r} has {completed}; "
            f"for more: {command} --trials {ended + ENOUGH - completed}"
        )
    if sweep.user_attrs.get("identity", {}).get("space") != fingerprint(study.space):
        raise Refused(f"the space of {study.name!r} has changed since it was swept; undo that, or sweep it: {command}")
    return sweep


# -- the text of the file --------------------------------------------------------------------------------------------
def _text(path: Path, earlier: StudySpec, result: NextSpace, completed: int) -> str:
    """The study file. It imports the earlier study and says what differs."""
    fixed = [decision for decision in result.decisions if decision.entry is None]
    lines = [
        f'"""The study after {earlier.name}, from its {count(completed, "completed trial")}. `hpo next` wrote it; '
        f'it is yours to change."""',
        "",
        "from dataclasses import replace",
        "",
        *_imports(path, earlier, result.decisions),
        "",
        "study = replace(",
        "    base,",
        f"    name={_literal(result.study.name)},",
        f"    warm={_literal(earlier.name)},  # after the default, its best {MOST} that lie in this space are trained",
        *_fixed("task", fixed),
        *_fixed("recipe", fixed),
        "    space={",
        *(f"        {_entry_line(earlier, decision)}" for decision in result.decisions if decision.entry is not None),
        "    },",
        ")",
    ]
    return "\n".join(lines) + "\n"


def _imports(path: Path, earlier: StudySpec, decisions: tuple[Decision, ...]) -> list[str]:
    """In the order that a linter wants: the user's own modules last."""
    _, module = module_name(path.resolve())
    own = f"from {module} import study as base"
    entries = [decision.entry for decision in decisions if decision.entry != earlier.space[decision.name]]
    names = {name for entry in entries if entry is not None for name in _functions(entry)}
    if not names:
        return [own]
    blank = [] if module.startswith("studies.") else [""]
    return [f"from hpo import {', '.join(sorted(names))}", *blank, own]


def _functions(entry: Distribution | When) -> list[str]:
    """The names of the functions that an entry is written with."""
    kind = _code(spaces.distribution_of(entry)).partition("(")[0]
    return [kind, "when"] if isinstance(entry, When) else [kind]


def _fixed(owner: str, decisions: list[Decision]) -> list[str]:
    """The lines that give the fields of the task or the recipe their values."""
    own = [decision for decision in decisions if decision.name.startswith(f"{owner}.")]
    if not own:
        return []
    return [
        f"    {owner}=replace(",
        f"        base.{owner},",
        *(
            f"        {decision.name.partition('.')[2]}={_literal(decision.value)},  # {decision.reason}"
            for decision in own
        ),
        "    ),",
    ]


def _entry_line(earlier: StudySpec, decision: Decision) -> str:
    assert decision.entry is not None
    name = _literal(decision.name)
    is_new = decision.entry != earlier.space[decision.name]
    code = _code(decision.entry) if is_new else f"base.space[{name}]"
    return f"{name}: {code},  # {decision.reason}"


def _code(entry: Distribution | When) -> str:
    """An entry of a space, as a study file writes it."""
    if isinstance(entry, When):
        return f"when({_literal(entry.parent)}, {_literal(entry.value)}, {_code(entry.distribution)})"
    assert is_writable(entry)
    if isinstance(entry, CategoricalDistribution):
        return f"choose({', '.join(_literal(choice) for choice in entry.choices)})"
    if isinstance(entry, IntDistribution):
        step = "" if entry.step == 1 else f", step={entry.step}"
        return f"integer({entry.low}, {entry.high}{step})"
    return f"{'log' if entry.log else 'uniform'}({entry.low!r}, {entry.high!r})"


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
