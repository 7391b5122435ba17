"""The settings of tuned baselines: chosen on training examples by the study's own sampler, in as many trials.

A network is searched, so a method that it is compared with is searched too, and on no other data than the network may
learn from. What was chosen is kept in the study's folder.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState
from pydantic import TypeAdapter, ValidationError

from hpo import space
from hpo.contract.returned import checked_methods
from hpo.contract.tuned import Tuned
from hpo.data.batch import examples_in
from hpo.data.passes import one_pass, seeded
from hpo.engine.evaluation import judge_methods, scores_of
from hpo.errors import Damaged, SweepFailed
from hpo.files import write_json
from hpo.formatting import count, setting
from hpo.plain import fingerprint, plain, without_place
from hpo.seeds import generator
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Check, Fidelity, Task
from hpo.trial.guard import attempt

optuna.logging.set_verbosity(optuna.logging.WARNING)  # a search says what it does to those who watch it

SAME = 1e-6  # relative difference up to which a method that is scored again has the same score
Watch = Callable[[str], None]  # is called before each trial with what is done


@dataclass(frozen=True)
class Tuning:
    """What the search of a baseline's settings came to."""

    settings: Mapping[str, Any]  # that were chosen
    value: float  # the goal with them, on the training examples
    default: float | None  # the goal with the defaults there; None where they failed
    trials: int
    failed: int  # trials that raised an exception, or whose goal was no finite number
    examples: int  # training examples
    question: str  # a fingerprint of what was searched, and on what

    @property
    def choice(self) -> str:
        """The settings in words: "gamma 0.38, tv_weight 0.06"."""
        return ", ".join(f"{name} {setting(value)}" for name, value in self.settings.items())

    @property
    def budget(self) -> str:
        """What the choice rests on: "tuned on 64 training examples, 24 trials"."""
        failed = f", of which {self.failed} failed" if self.failed else ""
        return f"tuned on {count(self.examples, 'training example')}, {count(self.trials, 'trial')}{failed}"

    def __str__(self) -> str:
        return f"{self.choice}, {self.budget}"


def tune_baselines(study: StudySpec, fidelity: Fidelity | None = None, *, fold: int = 0) -> dict[str, Tuning]:
    """Choose the settings of the task's tuned baselines on training examples of a fold, and return them by name.

    `fidelity` is the study's full one unless it is given. Raises SweepFailed where a method fails in every trial.
    """
    return {search.name: search.run() for search in _searches(study, fidelity or study.full, fold)}


def tuning_seconds(study: StudySpec, folder: RunFolder) -> float:
    """About how long the search of all settings takes, in all folds: one trial of each method is timed, its defaults.

    0 where the folder keeps settings already.
    """
    if folder.baselines.exists():
        return 0.0
    one_trial = sum(search.seconds() for search in _searches(study, study.full, 0))
    return one_trial * study.trials * study.task.folds


def keep_tunings(study: StudySpec, folder: RunFolder, fold: int, watch: Watch) -> dict[str, Tuning]:
    """The settings of the task's tuned baselines at full fidelity, by name; each search is kept when it has ended.

    A search that is kept is not repeated, unless the method has another score with what was chosen. Raises SweepFailed
    where a method fails in every trial, and Damaged where the file of the folder cannot be read.
    """
    kept = _read(folder)
    tunings = {}
    for search in _searches(study, study.full, fold):
        before = kept.get(search.question)
        tuning = before if before and search.still_holds(before) else search.run(watch)
        tunings[search.name] = kept[search.question] = tuning
        if tuning is not before:
            write_json(folder.baselines, [plain(asdict(each)) for each in kept.values()])
    return tunings


def _read(folder: RunFolder) -> dict[str, Tuning]:
    """The searches that the folder keeps, by their questions."""
    if not folder.baselines.exists():
        return {}
    try:
        tunings = TypeAdapter(list[Tuning]).validate_python(json.loads(folder.baselines.read_text()))
    except (json.JSONDecodeError, ValidationError) as error:
        raise Damaged(f"{folder.baselines} is damaged; remove it and promote again") from error
    return {tuning.question: tuning for tuning in tunings}


def _searches(study: StudySpec, fidelity: Fidelity, fold: int) -> Iterator[_Search]:
    """A search for each tuned baseline of the default configuration."""
    task, recipe = study.configure({}, fidelity, fold=fold)
    batches: dict[int, tuple[NamedTuple, ...]] = {}  # by how many examples a method wants: most want as many
    for name, method in checked_methods(task, task.baselines(fidelity)).items():
        if isinstance(method, Tuned):
            least = method.examples
            if least not in batches:
                batches[least] = _training_batches(study, task, fidelity, recipe.batch_size, least)
            yield _Search(study, task, fidelity, name, method, batches[least])


def _training_batches(
    study: StudySpec, task: Task[Any], fidelity: Fidelity, batch_size: int, least: int
) -> tuple[NamedTuple, ...]:
    """The first batches of a pass over the training split, until they hold as many examples."""
    batches: list[NamedTuple] = []
    examples = 0
    for batch in one_pass(task, "train", fidelity, min(batch_size, least), generator(study.seed, "baselines")):
        batches.append(batch)
        examples += examples_in(batch)
        if examples >= least:
            break
    if not batches:
        raise SweepFailed(f"{type(task).__name__} has no training example to tune a baseline on")
    return tuple(batches)


@dataclass(frozen=True)
class _Search:
    """The search of one method's settings."""

    study: StudySpec
    task: Task[Any]
    fidelity: Fidelity
    name: str
    method: Tuned[Any]
    batches: tuple[NamedTuple, ...]

    @property
    def examples(self) -> int:
        return sum(map(examples_in, self.batches))

    @property
    def question(self) -> str:
        """A fingerprint of what the result depends on, but for the code."""
        study, method = self.study, self.method
        budget = {"trials": study.trials, "startup": study.startup_trials, "seed": study.seed}
        searched = {"space": method.space, "defaults": method.defaults, "examples": self.examples}
        place = {"name": self.name, "task": without_place(self.task), "fidelity": self.fidelity}
        return fingerprint({**budget, **searched, **place})

    def run(self, watch: Watch = lambda _: None) -> Tuning:
        """Try as many settings as the study has trials, the defaults first. Of equal ones the first is chosen."""
        search = optuna.create_study(direction=self.study.direction.value)
        tried: list[_Tried] = []
        for number in range(self.study.trials):
            watch(f"tuning {self._title}: trial {number + 1} of {self.study.trials}")
            trial = self._ask(search, number)
            settings = space.suggest(trial, self.method.space, partial(self._sampler, number))
            tried.append(self._try(settings))
            if tried[-1].value is None:
                search.tell(trial, state=TrialState.PRUNED)  # TPE takes it for the worst
            else:
                search.tell(trial, tried[-1].value)
        scored = [each for each in tried if each.value is not None]
        if not scored:
            raise SweepFailed(f"baseline {self.name!r} failed in each of {len(tried)} trials: {tried[-1].reason}")
        best = self.study.direction.best(scored, key=lambda each: each.value)
        assert best.value is not None
        return Tuning(
            settings=best.settings,
            value=best.value,
            default=tried[0].value,
            trials=len(tried),
            failed=len(tried) - len(scored),
            examples=self.examples,
            question=self.question,
        )

    def seconds(self) -> float:
        """How long a trial takes that is not the first."""
        self._try(self.method.defaults)
        began = time.perf_counter()
        self._try(self.method.defaults)
        return time.perf_counter() - began

    def still_holds(self, tuning: Tuning) -> bool:
        """Whether earlier settings still come to the same score: the code of the method may have changed."""
        value = self._try(tuning.settings).value
        return value is not None and math.isclose(value, tuning.value, rel_tol=SAME)

    @property
    def _title(self) -> str:
        task = self.task
        return f"{self.name} (fold {getattr(task, 'fold', 0) + 1} of {task.folds})" if task.folds > 1 else self.name

    def _sampler(self, number: int, *parameter: str) -> optuna.samplers.BaseSampler:
        return self.study.tpe(self.method.space, "baseline", self.name, number, *parameter)

    def _ask(self, search: optuna.Study, number: int) -> optuna.Trial:
        search.sampler = self._sampler(number)
        if number == 0:
            search.enqueue_trial(self.method.defaults)
        return search.ask()

    def _try(self, settings: Mapping[str, Any]) -> _Tried:
        """Score the method with these settings. An exception in it ends the trial alone."""
        value = attempt(self.name, partial(self._goal, settings))
        if isinstance(value, Check):
            return _Tried(settings, None, value.seen)
        if not math.isfinite(value):
            return _Tried(settings, None, f"{self.task.goal} was {value}")
        return _Tried(settings, value)

    def _goal(self, settings: Mapping[str, Any]) -> float:
        methods = {self.name: self.method.with_settings(settings)}
        with seeded("baseline", self.name):
            rows = judge_methods(self.task, methods, self.batches)[self.name]
        return scores_of(self.task, rows.columns)[self.task.goal]


@dataclass(frozen=True)
class _Tried:
    """Settings that were tried."""

    settings: Mapping[str, Any]
    value: float | None  # the goal; None where the trial failed
    reason: str = ""  # why it failed
