"""What a study's data is known by: the content of the files that its task declares, or else the batches themselves.

Neither is read again while nothing says that it changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import time
from collections.abc import Callable
from typing import Any, get_args

from hpo.code.harness import code_hash
from hpo.data.batch import example_hash, examples_in
from hpo.data.passes import TooManyBatches, one_pass
from hpo.plain import fingerprint, plain, without_place
from hpo.seeds import generator
from hpo.storage.folder import Kind, RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity, Split, Task, in_fold
from hpo.trial.contents import Watch, content_hash, files_of
from hpo.trial.kept_data import KeptData
from hpo.trial.opened_files import are_unchanged, opened_files, states_of
from hpo.trial.record import read_asked

CONTENT = "files "  # begins what data is known by, where that is the content of files
FIRST = 4  # examples of each split that are compared at every start
FIRST_S = 1.0  # where they take no longer than that
SWEEP: tuple[Split, ...] = ("train", "val")
PROMOTION: tuple[Split, ...] = ("train", "val", "test")


def watch_nothing(number: int, thing: str) -> None:
    """Show nothing of how far a reading has come."""


def data_identity(
    study: StudySpec,
    fidelity: Fidelity,
    splits: tuple[Split, ...] = SWEEP,
    *,
    kept: KeptData | None = None,
    watch: Watch = watch_nothing,
    earlier: str | None = None,
) -> str:
    """What the data is known by at a fidelity.

    `kept` is what earlier calls have found out, and `watch` is called with how much has been read. `earlier` is what
    the data of this study was known by when it began: by its batches, in versions that knew no files.
    """
    kept = KeptData() if kept is None else kept
    files = files_of(study.task)
    content = content_hash(files, kept, watch) if files else ""
    if content and (earlier is None or earlier.startswith(CONTENT)):
        return f"{CONTENT}{content}"
    key = _key(study, fidelity, splits, content)
    record = kept[key]
    if record and (content or _is_unchanged(record, lambda: study.configure({}, fidelity).task, fidelity, splits)):
        return str(record["hash"])
    with opened_files() as paths:
        task = study.configure({}, fidelity).task
        started = time.monotonic()
        firsts = _first_hash(task, fidelity, splits)
        is_quick = time.monotonic() - started < FIRST_S
        digest = data_hash(task, fidelity, splits, watch)
    record = {"hash": digest, "first": firsts if is_quick else None, "opened": states_of(paths)}
    kept.keep(key, record, time.monotonic() - started)
    return digest


def known_as(study: StudySpec, known: str, example: str) -> str:
    """What the data is known by at the cheap fidelity, in the way in which `example` is: by content or by batches.

    `known` is what it is known by here.
    """
    if known.startswith(CONTENT) == example.startswith(CONTENT):
        return known
    return data_identity(study, study.cheap, earlier=example)


def data_before(folder: RunFolder) -> str | None:
    """What the data was known by when the study in a folder began; None where nothing has been run."""
    trials = [folder.trial(kind, number) for kind in get_args(Kind) for number in folder.numbers(kind)]
    asked = (read_asked(trial) for trial in trials)
    known = next((each.identity["data"] for each in asked if each and "data" in each.identity), None)
    try:
        return known or json.loads(folder.preflight.read_bytes())["identity"].get("data")
    except (OSError, ValueError, LookupError, TypeError):
        return None


def data_hash(
    task: Task[Any], fidelity: Fidelity, splits: tuple[Split, ...] = SWEEP, watch: Watch = watch_nothing
) -> str:
    """12 hex digits over the validation split and one epoch of training batches, as the engine is served them. The
    test split belongs to promotion, which alone asks for it. Of a split that goes on, what was asked for counts."""
    digest, examples = hashlib.sha256(), 0
    folds = range(task.folds if "test" in splits else 1)
    watch(examples, "example")
    for fold, split in itertools.product(folds, splits):
        with contextlib.suppress(TooManyBatches):  # preflight says it, with where to look
            for batch in one_pass(in_fold(task, fold), split, fidelity, 64, generator("data hash")):
                digest.update(example_hash([batch]).encode())
                with contextlib.suppress(ValueError):  # of a batch that cannot be counted: a check explains it
                    examples += examples_in(batch)
                watch(examples, "example")
    return digest.hexdigest()[:12]


def _key(study: StudySpec, fidelity: Fidelity, splits: tuple[Split, ...], content: str) -> str:
    """All that the batches follow from. Without the content of files, the same files elsewhere may be others."""
    parts = {
        "code": code_hash(type(study.task)),
        "task": without_place(study.task) if content else plain(study.task),
        "fidelity": fidelity,
        "splits": splits,
        "content": content,
    }
    return f"batches {fingerprint(parts)}"


def _is_unchanged(
    record: Any, configured: Callable[[], Task[Any]], fidelity: Fidelity, splits: tuple[Split, ...]
) -> bool:
    """Whether nothing speaks against it that the batches are those of the record."""
    if not are_unchanged(record["opened"]):
        return False
    return record["first"] is None or record["first"] == _first_hash(configured(), fidelity, splits)


def _first_hash(task: Task[Any], fidelity: Fidelity, splits: tuple[Split, ...]) -> str:
    digest = hashlib.sha256()
    for split in splits:
        batches = one_pass(in_fold(task, 0), split, fidelity, FIRST, generator("data hash"))
        digest.update(example_hash([next(batches, None)]).encode())
    return digest.hexdigest()[:12]
