"""Where a study is kept: its folder, its storage, and the lock that makes its coordinator the only one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import optuna
from sqlalchemy import event

optuna.logging.set_verbosity(optuna.logging.WARNING)  # the command line says what matters

BUSY_S = 60  # how long to wait for a database that somebody else has locked


class Refused(ValueError):
    """The request cannot be met as it stands; nothing was written. The message says what to do."""


@dataclass(frozen=True)
class RunFolder:
    """Everything of one study: runs/<study>/."""

    path: Path

    @property
    def storage(self) -> str:
        return f"sqlite:///{self.path.resolve() / 'study.db'}"

    @property
    def preflight(self) -> Path:
        return self.path / "preflight.json"

    @property
    def selection(self) -> Path:
        return self.path / "promotion.json"

    @property
    def export(self) -> Path:
        return self.path / "winner"

    @property
    def pictures(self) -> Path:
        return self.path / "pictures"

    @property
    def commands(self) -> Path:
        return self.path / "commands.log"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def trial(self, kind: str, number: int) -> Path:
        """The folder of one trial of the "sweep" or the "promotion"."""
        return self.path / kind / f"{number:04d}"

    def make(self) -> None:
        """Create the folder. Raises Refused where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error.strerror) from error
        self.check_writable()

    def check_writable(self) -> None:
        """Raise Refused unless the folder, or the one that it would be created in, can be written. Writes nothing."""
        nearest = next(path for path in (self.path, *self.path.resolve().parents) if path.exists())
        if not nearest.is_dir():
            raise self._unwritable(f"{nearest} is a file")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise self._unwritable(f"no permission to write in {nearest}")

    def _unwritable(self, why: str) -> Refused:
        return Refused(f"the run folder {self.path} must be a folder that can be written: {why}; name another one "
                       f"with --runs DIR")  # fmt: skip

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study. One process at a time asks and tells; the kernel frees the lock if that one dies."""
        self.make()
        with open(self.path / "lock", "a+") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                holder = file.read().strip() or "?"
                raise Refused(f"{self.path} is in use by process {holder}; wait until it has ended, or stop it: this "
                              f"command then goes on where it stopped") from error  # fmt: skip
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """The storage behind a URL. SQLite is opened with a rollback journal, full syncs and a patient busy wait."""
    if not url.startswith("sqlite"):
        return optuna.storages.get_storage(url)
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_S}})

    @event.listens_for(storage.engine, "connect")
    def durable(connection, _) -> None:
        connection.execute("PRAGMA synchronous=FULL")

    return optuna.storages.get_storage(storage)


def open_study(
    url: str, name: str, direction: str, identity: dict[str, str],
    sampler: optuna.samplers.BaseSampler | None = None, pruner: optuna.pruners.BasePruner | None = None,
) -> optuna.Study:  # fmt: skip
    """Create a study, or open one that asked the same question. Raises Refused where anything in `identity` differs."""
    storage = open_storage(url)
    existing = {study.study_name: study for study in storage.get_all_studies()}.get(name)
    if existing is not None:
        before = existing.user_attrs.get("identity", {})
        differing = sorted(key for key in {*before, *identity} if before.get(key) != identity.get(key))
        if differing:
            raise Refused(
                f"study {name!r} exists with other {', '.join(differing)}:\n"
                + "\n".join(f"  {key}: {before.get(key)} there, {identity.get(key)} now" for key in differing)
                + "\nits trials cannot be compared with new ones. Undo the change, or give the study another name, or "
                  "another folder (--runs DIR), or remove the old one"
            )  # fmt: skip
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(study_name=name, storage=storage, direction=direction, load_if_exists=True,
                                sampler=sampler, pruner=pruner or optuna.pruners.NopPruner())  # fmt: skip
    if existing is None:
        study.set_user_attr("identity", identity)
    return study
