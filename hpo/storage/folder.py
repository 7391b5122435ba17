"""Where the files of a study are: runs/<study>/."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpo.errors import Damaged, Refused
from hpo.files import check_encoding, make_folder, write_whole

SQLITE = "sqlite:///"
Kind = Literal["sweep", "promotion"]  # what a trial belongs to: each kind is an Optuna study of its own


def promotion_name(study: str) -> str:
    """The name of the Optuna study that holds a study's promotion."""
    return f"{study}.promotion"


@dataclass(frozen=True)
class RunFolder:
    """Everything of one study: runs/<study>/."""

    path: Path
    url: str | None = None  # of a storage elsewhere; None: the one it has been kept in, or else the folder's own SQLite

    @property
    def storage(self) -> str:
        if self.url:
            return self.url
        return self.kept_elsewhere or f"{SQLITE}{self.database}"

    @property
    def database(self) -> Path:
        return self.path.resolve() / "study.db"

    @property
    def elsewhere(self) -> Path:
        return self.path / "storage"  # holds the URL, where that is not the folder's own

    @property
    def kept_elsewhere(self) -> str | None:
        """The URL that the study has been kept in, where that is not the folder's own database."""
        return self.elsewhere.read_text().strip() if self.elsewhere.exists() else None

    def keep_elsewhere(self) -> None:
        """Keep the URL of a storage elsewhere: the study is kept there from now on, without being told so again."""
        if self.url and self.url != self.kept_elsewhere:
            write_whole(self.elsewhere, f"{self.url}\n".encode())

    @property
    def owner(self) -> Path:
        return self.path / "owner"  # holds the id that the study has in the storage too

    @property
    def events(self) -> Path:
        return self.path / "events.log"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"  # what the coordinator says of the study while it works

    @property
    def schedulers(self) -> Path:
        return self.path / "schedulers"  # the addresses at which a Dask scheduler has answered, one a line

    @property
    def preflight(self) -> Path:
        return self.path / "preflight.json"

    @property
    def preflight_log(self) -> Path:
        return self.path / "preflight.log"  # what the last preflight has printed

    @property
    def gate(self) -> Path:
        return self.path / "gate.json"  # whether the cheap fidelity ranks like the full one

    @property
    def warm(self) -> Path:
        return self.path / "warm.json"  # the configurations of an earlier study that the sweep begins with

    @property
    def tries(self) -> Path:
        return self.path / "tries.json"  # the configurations that --try has given

    @property
    def changes(self) -> Path:
        return self.path / "changes.json"  # of the study, that were accepted

    @property
    def data(self) -> Path:
        return self.path / "data.json"  # what is known of the data, so that a resume does not read it again

    @property
    def moved(self) -> Path:
        return self.path / "moved.json"  # how many of the changes have moved to set-aside/ what they set aside

    @property
    def generation(self) -> int:
        """1, and 1 more for each change of the study that was accepted."""
        try:
            return len(json.loads(self.changes.read_bytes())) + 1 if self.changes.exists() else 1
        except ValueError as error:
            raise Damaged(f"{self.changes} is damaged ({error})") from error

    def name_of(self, study: str, generation: int | None = None) -> str:
        """The name of a study, or of a promotion, in the storage: of its newest generation, or of the one given."""
        number = self.generation if generation is None else generation
        return study if number == 1 else f"{study}@{number}"

    @property
    def identity(self) -> Path:
        return self.path / "identity"  # what the study's hashes are of, a file for each

    @property
    def adoption(self) -> Path:
        return self.path / "adopted.json"  # where the trials come from that hpo did not run

    @property
    def selection(self) -> Path:
        return self.path / "promotion.json"

    @property
    def baselines(self) -> Path:
        return self.path / "baselines.json"  # the settings of tuned baselines, found on training examples

    @property
    def looks(self) -> Path:
        return self.path / "looks.json"  # the verdicts so far: each has read the test split

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

    @property
    def verdict(self) -> Path:
        return self.path / "verdict.json"

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    def trial(self, kind: Kind, number: int) -> Path:
        """The folder of one trial of the "sweep" or the "promotion"."""
        return self.path.absolute() / kind / f"{number:04d}"

    def numbers(self, kind: Kind) -> list[int]:
        """The numbers of the trials that have a folder, in order."""
        return sorted(int(path.name) for path in (self.path / kind).glob("*") if path.name.isdecimal())

    def make(self) -> None:
        """Create the folder. Raises Refused where it cannot be written."""
        try:
            make_folder(self.path)
        except OSError as error:
            raise self._unwritable(str(error.strerror)) from error
        self.check_writable()

    def check_writable(self) -> None:
        """Raise Refused unless the folder, or the one that it would be made in, can be written. Writes nothing."""
        check_encoding("the run folder", self.path.absolute())
        nearest = next(path for path in (self.path, *self.path.resolve().parents) if path.exists())
        if not nearest.is_dir():
            raise self._unwritable(f"{nearest} is a file")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise self._unwritable(f"no permission to write in {nearest}")
        if self.path.is_dir() and self.path.stat().st_mode & stat.S_IWOTH:
            raise self._unwritable("it is world-writable; run chmod o-w")

    def _unwritable(self, why: str) -> Refused:
        return Refused(
            f"the run folder {self.path} must be a folder that can be written: {why}; name another one with --runs DIR"
        )
