"""Work on a folder of a user's own files: which files are read, where the outputs go, and how a stopped run goes on.

    plan = plan_folder(folder, out, why_not)             # every file is a job or is skipped with a reason
    for result in carry_out(plan, settings, make):       # Skipped, then Made or Failed for each job
        ...

Subfolders are walked, and mirrored in OUT. OUT/hpo-record.jsonl says which outputs are whole, what they were made of,
and with which settings. So the same command goes on after Ctrl-C or a kill, and no file is ever overwritten.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from objectives.common.content import content_hash
from objectives.common.record import Entry, Record
from objectives.common.walk import Skipped, WhyNot, list_files, summary_of_skipped

ENDS_THE_RUN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})  # the next file would fail in the same way


@dataclass(frozen=True)
class Job:
    """One output, and the files that it is made of."""

    name: str  # names the job in the record and in messages: a file's path inside its folder
    inputs: tuple[Path, ...]
    output: Path


@dataclass(frozen=True)
class Made:
    """An output that is whole."""

    job: Job
    output: Path
    facts: Mapping[str, Any]  # what `make` returned, as it is in the record
    kept: bool  # an earlier run had made it


@dataclass(frozen=True)
class Failed:
    """A job without an output."""

    job: Job
    reason: str


Result = Skipped | Made | Failed
Make = Callable[[Job, Path], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Plan:
    """What a command will do. Nothing was written yet."""

    out: Path
    jobs: tuple[Job, ...]
    skipped: tuple[Skipped, ...] = ()


def plan_folder(folder: Path, out: Path, why_not: WhyNot, *, suffix: str = ".png") -> Plan:
    """One job for each file in `folder` and its subfolders for which `why_not` returns None.

    Raises ValueError where `folder` is no folder, `out` is the same one, or nothing in it can be read.
    """
    paths, skipped = list_files(folder, why_not, leave_out=out)
    if not paths:
        reasons = "; ".join(summary_of_skipped(skipped)) or "the folder is empty"
        raise ValueError(f"{folder} holds no file that can be read: {reasons}")
    outputs = name_outputs(paths, folder, out, suffix)
    jobs = tuple(Job(str(path.relative_to(folder)), (path,), output) for path, output in outputs.items())
    return Plan(out, jobs, tuple(skipped))


def name_outputs(paths: Sequence[Path], folder: Path, out: Path, suffix: str = ".png") -> dict[Path, Path]:
    """The output for each path: NAME.png in the same subfolder of `out`, for an input NAME.jpg.

    Where another input has the same NAME, or is itself called NAME as photo.jpg is for photo.jpg.png, it is
    NAME.jpg.png. So no two inputs share an output, whether or not a file system tells upper from lower case.
    """
    stems = Counter(_key(path.with_suffix("")) for path in paths)
    names = {_key(path) for path in paths}
    outputs = {}
    for path in paths:
        stem = _key(path.with_suffix(""))
        is_alone = stems[stem] == 1 and stem not in names
        name = (path.stem if is_alone else path.name) + suffix
        outputs[path] = out / path.parent.relative_to(folder) / name
    return outputs


def carry_out(plan: Plan, settings: Mapping[str, Any], make: Make) -> Iterator[Result]:
    """Make every output that is not there yet: what is skipped, then what became of each job, in order.

    `make(job, path)` writes the output to `path`, a temporary name with the output's suffix, and returns facts for the
    record: plain JSON values. Whatever exception it raises makes the job Failed, and the next one follows; a full disk
    ends the run. `settings`, plain JSON values, are what the outputs depend on beside their inputs: the winner's hash,
    options.

    Raises ValueError before anything is written where `plan.out` holds outputs of other settings, or files under the
    names of outputs that no such run has written; OSError where it cannot be written.
    """
    with Record(plan.out, settings) as record:
        _check_free(plan, record)
        yield from plan.skipped
        for job in plan.jobs:
            yield _attempt(job, plan.out, record, make)


def _key(path: Path) -> tuple[Path, str]:
    return path.parent, path.name.casefold()


def _check_free(plan: Plan, record: Record) -> None:
    """Raise ValueError where another file has the name of an output that is to be made."""
    to_make = [job for job in plan.jobs if not _is_made(job, plan.out, record)]
    taken = [job.output for job in to_make if os.path.lexists(job.output)]
    if taken:
        more = f", and so are {len(taken) - 1} more" if len(taken) > 1 else ""
        raise ValueError(f"{taken[0]} is there already and is not overwritten{more}; name another folder")


def _is_made(job: Job, out: Path, record: Record) -> bool:
    entry = record.entries.get(job.name)
    return entry is not None and os.path.lexists(out / entry.output)


def _attempt(job: Job, out: Path, record: Record, make: Make) -> Made | Failed:
    try:
        return _keep_or_make(job, out, record, make)
    except OSError as error:
        if error.errno in ENDS_THE_RUN:
            raise
        return Failed(job, _sentence(error))
    except Exception as error:  # one file must not stop the others, whatever is wrong with it
        return Failed(job, _sentence(error))


def _keep_or_make(job: Job, out: Path, record: Record, make: Make) -> Made:
    sha256 = content_hash(job.inputs)
    if _is_made(job, out, record):
        return _kept(job, record.entries[job.name], out, sha256)
    job.output.parent.mkdir(parents=True, exist_ok=True)
    part = job.output.with_name(f".part-{job.output.name}")
    try:
        facts = dict(make(job, part) or {})
        if os.path.lexists(job.output):
            raise ValueError(f"{job.output} has appeared meanwhile and is not overwritten")
        # Recorded first: a kill between the two leaves an entry without a file, which is then made again.
        record.add(Entry(job.name, sha256, str(job.output.relative_to(out)), facts), part)
        part.rename(job.output)
    finally:
        part.unlink(missing_ok=True)
    return Made(job, job.output, facts, kept=False)


def _kept(job: Job, entry: Entry, out: Path, sha256: str) -> Made:
    output = out / entry.output
    if entry.sha256 != sha256:
        raise ValueError(
            f"it has changed since {output} was made of it, which is not overwritten; remove that file, or name "
            "another folder"
        )
    return Made(job, output, entry.facts, kept=True)


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split()) or "no further words"
    return text if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {text}"
