"""What a trial has printed. Needs torch only where the study is named by a file of another name, which is loaded."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path

from hpo.errors import Refused
from hpo.files import check_encoding
from hpo.formatting import listed
from hpo.output.kept import OUTPUT
from hpo.output.reading import text_of
from hpo.storage.folder import Kind, RunFolder
from hpo.trial.sealed import RESULT, read_sealed

NAMED = 8  # numbers that an error names


@dataclass(frozen=True)
class TrialLog:
    """The log of a trial, of a run of a promotion, or of a preflight."""

    study: str
    kind: str  # "sweep", "promotion" or "preflight"
    number: int | None  # None: of a preflight
    path: Path  # of the file, which a trial of an older version has not
    state: str  # "complete", "pruned", "failed"; of a preflight "go", "caution", "no-go"; "" where it has not ended

    @property
    def text(self) -> str:
        """All that was printed; where nothing was kept, why the trial ended."""
        if self.path.exists():
            return text_of(self.path)
        record = read_sealed(self.path.with_name(RESULT)) or {}
        lines = [record.get("traceback", ""), record.get("reason", "")]
        return "".join(f"{line.rstrip()}\n" for line in lines if line)

    def has_ended(self) -> bool:
        """Whether the trial has ended by now."""
        return self.path.with_name(RESULT).exists()


def logs(
    study: str,
    number: int | None = None,
    *,
    promotion: bool = False,
    preflight: bool = False,
    runs: str | Path = "runs",
) -> TrialLog:
    """The log of a trial of the sweep or, with `promotion`, of a run of the promotion; or that of the last preflight.

    Without a number: of the last one that failed or, where none has, of the one that was written to last. `study` is
    its name or its file. Raises Refused where there is no such study or trial.
    """
    folder = _folder(study, Path(runs).absolute())
    if preflight:
        if promotion or number is not None:
            raise Refused("a preflight has one log; give neither a number nor --promotion")
        return TrialLog(folder.path.name, "preflight", None, folder.preflight_log, _word(folder.preflight, "status"))
    kind: Kind = "promotion" if promotion else "sweep"
    numbers = folder.numbers(kind)
    if not numbers:
        raise Refused(f"no {kind} of {folder.path.name!r} has been run in {folder.path.parent}")
    if number is None:
        number = _most_telling(folder, kind, numbers)
    if number not in numbers:
        raise Refused(f"the {kind} of {folder.path.name!r} has no number {number}; the numbers are {_shown(numbers)}")
    return _log(folder, kind, number)


def _shown(numbers: list[int]) -> str:
    """The numbers; of many, the first and the last."""
    if len(numbers) > NAMED:
        return f"{numbers[0]} to {numbers[-1]}"
    return listed([str(number) for number in numbers])


def _log(folder: RunFolder, kind: Kind, number: int) -> TrialLog:
    trial = folder.trial(kind, number)
    state = _word(trial / RESULT, "state")
    return TrialLog(folder.path.name, kind, number, trial / OUTPUT, state)


def _most_telling(folder: RunFolder, kind: Kind, numbers: list[int]) -> int:
    """The last trial that failed or, where none has, the one whose log was written to last."""
    for number in reversed(numbers):
        log = _log(folder, kind, number)
        if log.path.exists() and log.state == "failed":  # a run that was given up has no log
            return number
    return max(numbers, key=lambda number: _written(folder.trial(kind, number)))


def _written(trial: Path) -> float:
    log = trial / OUTPUT
    return log.stat().st_mtime if log.exists() else 0.0


def _word(record: Path, field: str) -> str:
    """What a record says, which is not checked here; "" where it says nothing."""
    try:
        return str(json.loads(record.read_bytes())[field])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _folder(study: str, runs: Path) -> RunFolder:
    check_encoding("the study", Path(study))
    for name in (study, Path(study).stem):
        if (runs / name).is_dir() and name not in ("", ".", ".."):
            return RunFolder(runs / name)
    from hpo.verbs.load import find_study, load_study

    try:
        file = find_study(study)
    except Refused as error:
        there = sorted(path.name for path in runs.glob("*") if path.is_dir())
        raise Refused(f"no study {study!r} has been run in {runs}; {_hint(study, there)}") from error
    name = load_study(file).name
    if not (runs / name).is_dir():
        raise Refused(f"nothing has been run in {runs / name}")
    return RunFolder(runs / name)


def _hint(study: str, there: list[str]) -> str:
    close = difflib.get_close_matches(Path(study).stem, there, n=1)
    return f"did you mean {close[0]!r}?" if close else f"studies there are: {', '.join(there) or 'none'}"
