"""From what the user names, with options, to a study that a verb can work on.

Everything that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cloudpickle

from hpo.contract.study_fields import NAME
from hpo.errors import Refused
from hpo.files import check_encoding
from hpo.storage.folder import SQLITE, RunFolder
from hpo.storage.identity import Details
from hpo.study import StudySpec
from hpo.trial.adoption import Adoption, read_adoption
from hpo.trial.data_identity import data_before
from hpo.trial.kept_data import KeptData
from hpo.trial.provenance import identity, identity_details, promotion_identity
from hpo.verbs.data_progress import data_progress
from hpo.verbs.devices import check_device, places
from hpo.verbs.display import Display
from hpo.verbs.load import load_study
from hpo.verbs.options import Folder, Options, help_command
from hpo.verbs.scheduler import scheduler_address

AnyStudy: TypeAlias = StudySpec | str | Path


@dataclass(frozen=True)
class Opened:
    """A study with its options applied, its folder, and what its trials depend on."""

    verb: str
    name: str  # as the user gave it
    study: StudySpec
    folder: RunFolder
    identity: dict[str, str]
    workers: int  # 0: all workers of a cluster
    on: str  # the backend, as coordinator.executor takes it
    options: Options
    data: KeptData = field(default_factory=KeptData)  # what is known of the data

    @property
    def details(self) -> Details:
        """What the hashes of the identity are of."""
        return identity_details(self.study)

    @property
    def argv(self) -> list[str]:
        """The command that does the same."""
        return ["hpo", self.verb, self.name, *self.options.words()]

    def help_command(self, verb: str) -> str:
        """The command for another verb on the same study."""
        return help_command(verb, self.name, self.options)


def open_study(verb: str, study: AnyStudy, options: Options, display: Display | None = None) -> Opened:
    """The study of a verb. Raises Refused for whatever in it or in its options cannot be used. Writes nothing."""
    configured, folder = located(study, options)
    spec = _with_budget(configured, options)
    folder.check_writable()
    on = _backend(options, folder)
    if verb != "preflight" and on != "inline":
        _require_sendable(spec)
    if options.backend != "dask":
        check_device(options.device)
    data = KeptData(folder)
    with data_progress(spec.name, display or Display()) as watch:
        known = identity(spec, kept=data, watch=watch, earlier=data_before(folder))
    return Opened(verb, given_name(study), spec, folder, known, _workers(options), on, options, data)


def identity_of_promotion(opened: Opened, display: Display) -> dict[str, str]:
    """The identity of the study's promotion."""
    with data_progress(opened.study.name, display) as watch:
        full = promotion_identity(opened.study, kept=opened.data, watch=watch, earlier=opened.identity["data"])
    return {**opened.identity, **full}


def open_results(verb: str, study: AnyStudy, options: Options) -> Opened:
    """A study that is only read. Raises Refused where nothing has been run."""
    (spec, folder), name = located(study, options), given_name(study)
    if not folder.path.is_dir():
        raise Refused(f"nothing has been run in {folder.path}; run: {help_command('run', name, options)}")
    return Opened(verb, name, spec, folder, identity={}, workers=0, on="", options=options)


def given_name(study: AnyStudy) -> str:
    """The word that a command would name the study by."""
    return study.name if isinstance(study, StudySpec) else str(study)


class Located(NamedTuple):
    """A study with the user's data and at the fidelity that the options ask for, and the folder that it is kept in."""

    study: StudySpec
    folder: RunFolder


def located(study: AnyStudy, options: Options) -> Located:
    """The study and its folder. Relative paths count from here: a study file may change the current folder."""
    runs, data = Path(options.runs).absolute(), _data_folder(options)
    spec = study if isinstance(study, StudySpec) else _loaded(study, options)
    if data is not None:
        spec = _with_data(spec, data)
    if options.smoke:
        spec = spec.as_smoke()
    return Located(spec, RunFolder(runs / spec.name, options.storage))


def _loaded(study: str | Path, options: Options) -> StudySpec:
    """The study of a file; of the name of an adopted study, that of the file with its task."""
    adoption = adoption_of(study, options.runs)
    if adoption is None:
        return load_study(study)
    if adoption.task is None:
        raise Refused(
            f"{study} was adopted without a task; adopt it again, under another name, with --task FILE: a study file "
            f"whose space has its parameters"
        )
    return replace(load_study(adoption.task), name=adoption.name)


def adoption_of(study: AnyStudy, runs: Folder) -> Adoption | None:
    """The record of an adopted study of that name; None where there is none."""
    is_name = isinstance(study, str) and NAME.fullmatch(study) is not None
    return read_adoption(RunFolder(Path(runs) / str(study))) if is_name else None


def require_own_trials(folder: RunFolder) -> None:
    """Raise Refused where the study's trials were adopted: no trial of ours can be compared with them."""
    adoption = read_adoption(folder)
    if adoption:
        raise Refused(
            f"{adoption.sentence} No other trials can be added to them: what they rest on is not known. Promote them "
            f"(hpo promote {adoption.name}), or sweep the study file under a name of its own"
        )


def _with_budget(study: StudySpec, options: Options) -> StudySpec:
    """The study with the numbers of trials, candidates and seeds that the options ask for."""
    return replace(
        study,
        trials=study.trials if options.trials is None else options.trials,
        keep=study.keep if options.keep is None else options.keep,
        seeds=study.seeds if options.seeds is None else options.seeds,
    )


def _data_folder(options: Options) -> Path | None:
    if options.data is None:
        return None
    path = Path(options.data)
    check_encoding("the data folder", path.resolve())
    if not path.is_dir():
        state = "is a file" if path.exists() else "is not there"
        raise Refused(f"--data: must be a folder; got {options.data}, which {state}")
    return path.resolve()


def _with_data(study: StudySpec, data: Path) -> StudySpec:
    if "data" not in {field.name for field in fields(study.task)}:
        raise Refused(f"--data: {type(study.task).__name__} has no field for a data folder, so --data cannot be used")
    return replace(study, task=replace(study.task, data=str(data)))


def _backend(options: Options, folder: RunFolder) -> str:
    if options.backend not in ("local", "inline", "dask"):
        raise Refused(f"--backend: must be local, inline or dask; got {options.backend!r}")
    if (options.backend == "dask") != (options.scheduler is not None):
        raise Refused("--backend dask needs --scheduler, an address or a file, and the reverse")
    if options.scheduler is None:
        return options.backend
    if folder.storage.startswith(SQLITE):
        raise Refused(
            "--backend dask: its workers write to the storage from several machines, which SQLite cannot "
            "bear; name a PostgreSQL one (--storage postgresql://USER@HOST/DATABASE), or start one of your own: "
            "hpo database start DIR"
        )
    return scheduler_address(options.scheduler)


def _require_sendable(study: StudySpec) -> None:
    """Refuse a study that no worker process can be given. A task of a notebook or script goes there as a value."""
    try:
        cloudpickle.dumps(study)
    except Exception as error:  # whatever an object raises that cannot be taken apart
        raise Refused(
            f"{type(study.task).__name__} cannot be given to worker processes: {error}; run it in this process "
            f'(--backend inline, or backend="inline"), or make that object inside the method that needs it'
        ) from error


def _workers(options: Options) -> int:
    if options.workers is not None:
        return options.workers
    if options.backend == "local":
        return places(options.device)
    return 1 if options.backend == "inline" else 0
