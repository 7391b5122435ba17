"""The storage of a study: opened, created, and compared with what is asked of it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError

from hpo.direction import Direction
from hpo.errors import Damaged, Refused
from hpo.storage import postgresql, sqlite
from hpo.storage.folder import SQLITE, Kind, RunFolder
from hpo.storage.identity import Details, differences, differing_parts, keep_details, package_note
from hpo.storage.owner import owner_of, require_not_taken
from hpo.storage.transient import retry_storage

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the command line says what matters

REBUILD = "rebuild it from them: hpo rebuild STUDY"


def open_storage(url: str, *, create: bool = False) -> optuna.storages.BaseStorage:
    """The storage behind a URL. SQLite is opened with a rollback journal and full syncs.

    Only the coordinator creates. Raises Refused where there is none.
    """
    if not url.startswith(SQLITE):
        storage = optuna.storages.RDBStorage(url, postgresql.CONNECTION, skip_table_creation=not create)
        return optuna.storages.get_storage(storage)
    path = Path(url.removeprefix(SQLITE))
    if not create and not (path.exists() and path.stat().st_size):
        raise Refused(f"there is no storage {path}; a sweep makes it")
    engine = {"creator": functools.partial(sqlite.connect, path, "rwc" if create else "rw")}
    storage = optuna.storages.RDBStorage(f"{SQLITE}study.db", engine, skip_table_creation=not create)
    return optuna.storages.get_storage(storage)


def read_only_storage(url: str) -> optuna.storages.BaseStorage:
    """The storage behind a URL, by connections that cannot write. There must be one."""
    if url.startswith(SQLITE):
        creator = functools.partial(sqlite.connect, Path(url.removeprefix(SQLITE)), "ro")
        return optuna.storages.get_storage(
            optuna.storages.RDBStorage(f"{SQLITE}study.db", {"creator": creator}, skip_table_creation=True)
        )
    storage = optuna.storages.RDBStorage(url, postgresql.READ_ONLY, skip_table_creation=True)
    return optuna.storages.get_storage(storage)


def worker_storage(url: str) -> optuna.storages.BaseStorage:
    """The storage, opened once in a process that runs many trials."""
    path = Path(url.removeprefix(SQLITE))
    return _opened_once(url, path.stat().st_ino if path.exists() else 0)


@functools.lru_cache(maxsize=1)
def _opened_once(url: str, inode: int) -> optuna.storages.BaseStorage:  # noqa: ARG001  # another file of that name
    return open_storage(url)


def open_study(
    folder: RunFolder,
    kind: Kind,
    name: str,
    direction: str,
    identity: Mapping[str, str],
    pruner: optuna.pruners.BasePruner | None = None,
    details: Details = MappingProxyType({}),
) -> optuna.Study:
    """Create a study, or open one that asked the same question. `details` say what the hashes in `identity` are of.

    Raises Refused where another folder owns it or anything in `identity` differs, and Damaged where the storage of
    trials that have run is missing or broken.
    """
    _require_sound(folder, kind)
    storage = retry_storage(lambda: open_storage(folder.storage, create=True))
    known = {study.study_name: owner_of(study.user_attrs) for study in retry_storage(storage.get_all_studies)}
    stored_name = folder.name_of(name)
    require_not_taken(folder, name, known.get(stored_name))
    folder.keep_elsewhere()
    if stored_name not in known and folder.numbers(kind):
        raise Damaged(
            f"the storage {folder.storage} knows nothing of the {len(folder.numbers(kind))} trials in "
            f"{folder.path / kind}; {REBUILD}"
        )
    study = retry_storage(
        lambda: optuna.create_study(
            study_name=stored_name,
            storage=storage,
            direction=optuna.study.StudyDirection[Direction(direction).name],
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(seed=0),  # whoever asks for a trial sets its own first
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    )
    before = study.user_attrs.get("identity")
    if before is None and not study.get_trials(deepcopy=False):
        retry_storage(lambda: study.set_user_attr("identity", dict(identity)))
    else:
        require_equal(folder, name, before or {}, identity, details)
    keep_details(folder, identity, details)
    return study


def name_metric(study: optuna.Study, goal: str) -> None:
    """Give the value of a study's trials its name, which Optuna's own tools show. Writes nothing where it has it."""
    if study.metric_names != [goal]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([goal])


def require_same(
    folder: RunFolder, name: str, identity: Mapping[str, str], details: Details = MappingProxyType({})
) -> None:
    """Raise Refused if a study of that name asked another question. Creates nothing."""
    before = stored_identity(folder, name)
    if before is not None:
        require_equal(folder, name, before, identity, details)


def stored_identity(folder: RunFolder, name: str) -> Mapping[str, str] | None:
    """The identity of a study in the storage; None where there is none, or it cannot be read."""
    try:
        stored = stored_study(folder, name)
        return stored.user_attrs.get("identity") if stored else None
    except (StorageInternalError, sqlalchemy.exc.SQLAlchemyError):
        return None  # whoever opens it to write says what is wrong with it


def package_changes(folder: RunFolder, name: str, details: Details) -> str:
    """A line about the packages that have another version than when the study began; empty where there is none."""
    before = retry_storage(lambda: stored_identity(folder, name))
    return "" if before is None else package_note(folder, before, details)


def require_equal(
    folder: RunFolder, name: str, before: Mapping[str, str], identity: Mapping[str, str], details: Details
) -> None:
    """Raise Refused where two identities differ, with what differs in words. `details` are those of the second."""
    differing = differing_parts(before, identity)
    if not differing:
        return
    parts = "\n".join(f"  {line}" for line in differences(folder, before, identity, details))
    raise Refused(
        f"study {name!r} exists with other {', '.join(differing)}:\n{parts}\n"
        "its trials cannot be compared with new ones. Undo the change, or give the study another name, or another "
        "folder (--runs DIR), or remove the old one"
    )


def _require_sound(folder: RunFolder, kind: Kind) -> None:
    """Raise Damaged where the SQLite file beside trials that have run is missing or broken: that is no new study.

    Raises Refused for links, which lead elsewhere.
    """
    for path in (folder.path / kind, *(folder.path / kind).glob("*")):
        if path.is_symlink():
            raise Refused(f"{path} must be a folder, and is a link")
    if not folder.storage.startswith(SQLITE):
        return
    database, trials = folder.database, len(folder.numbers(kind))
    if database.is_symlink():
        raise Refused(f"{database} must be a file, and is a link")
    if not database.exists() or not database.stat().st_size:
        if trials:
            state = "empty" if database.exists() else "missing"
            raise Damaged(
                f"the storage {database} is {state}, but {trials} trials lie in {folder.path / kind}; {REBUILD}"
            )
        return
    damage = retry_storage(lambda: sqlite.integrity(database))
    if damage != sqlite.SOUND:
        raise Damaged(f"the storage {database} is damaged ({damage}); {REBUILD}")


def stored_study(folder: RunFolder, name: str, generation: int | None = None) -> optuna.Study | None:
    """A study to read, or None where it is not there: its newest generation, or the one given. Creates nothing."""
    try:
        return optuna.load_study(study_name=folder.name_of(name, generation), storage=open_storage(folder.storage))
    except (KeyError, Refused):
        return None


def value_of(trial: optuna.trial.FrozenTrial) -> float:
    """The value of a trial that was completed."""
    assert trial.value is not None
    return trial.value
