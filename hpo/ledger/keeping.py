"""The records of studies, kept up to date with what their folders say."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo.ledger.folder import Ledger, person
from hpo.ledger.harvest import further, harvest
from hpo.ledger.name import CONCLUDED
from hpo.ledger.record import HARNESS, OWN, Record
from hpo.ledger.verdicts import moved
from hpo.page.status import statuses
from hpo.storage.folder import RunFolder

LEDGER = "experiments"
REHEARSAL = "-smoke"  # the end of a rehearsed study's name: like a preflight, no experiment unless a record names it
INTERVAL_S = 60.0  # between two updates of a record while its study runs
LARGEST_SHARE = 0.01  # of the time of a study that runs


@dataclass(frozen=True)
class Synced:
    """What came of bringing one study's record up to date."""

    study: str
    id: str
    message: str
    has_moved: bool = False  # the record has another status than before


def sync(ledger: Ledger, runs: Path, study: str | None = None) -> list[Synced]:
    """Bring the records of all studies in a folder, or of one, up to date; a study without a record gets one.

    Raises Refused where nothing has been run. A study that cannot be read leaves its record as it was, and a concluded
    one is frozen; both are said in the messages.
    """
    names = [study] if study else [status.study for status in statuses(runs, None)]
    blocks = {name: harvest(RunFolder(runs / name)) for name in names}
    began = {name: (block or {}).get("study", {}).get("began", "") for name, block in blocks.items()}
    ledger.make()
    in_order = sorted(names, key=lambda name: (began[name], name))
    with ledger.locked():
        results = [_enter(ledger, name, blocks[name]) for name in in_order]
    return [synced for synced in results if synced]


def _complain(text: str) -> None:
    print(f"hpo: {text}", file=sys.stderr)


@contextmanager
def entered(
    folder: RunFolder,
    *,
    quiet: bool = False,
    say: Callable[[str], None] = print,
    warn: Callable[[str], None] = _complain,
) -> Iterator[Callable[[], None]]:
    """Keep the study's record up to date, if a ledger lies beside the folder of runs.

    It is when this ends, however it ends, and where what this yields is called: at most every INTERVAL_S seconds, so
    that it may be called at any time, and a process that is killed leaves a record that is hardly older.

    At the end `say` is called with each change of a status, unless `quiet`. Trouble with the ledger goes to `warn`, by
    default a line on standard error, and is no failure of the study's.
    """
    runs = folder.path.absolute().parent
    ledger = Ledger(runs.parent / LEDGER)
    due = time.monotonic()
    moves: list[Synced] = []

    def update() -> None:
        moves.extend(synced for synced in sync(ledger, runs, folder.path.name) if synced.has_moved)

    def update_when_due() -> None:
        nonlocal due
        began = time.monotonic()
        if began >= due and ledger.path.is_dir():
            with suppress(Exception):  # what is wrong is said at the end
                update()
            ended = time.monotonic()
            due = ended + max(INTERVAL_S, (ended - began) / LARGEST_SHARE)

    try:
        yield update_when_due
    finally:
        if ledger.path.is_dir():
            try:
                update()
            except Exception as error:
                warn(f"the ledger was not brought up to date ({error}); run: hpo ledger sync")
        if not quiet:
            for synced in moves:
                say(f"ledger: {synced.id}: {synced.message}")


def _enter(ledger: Ledger, name: str, block: dict[str, Any] | None) -> Synced | None:
    """Write one study's block into its record. None for a study that is no experiment."""
    record = ledger.of_study(name)
    if record is None and (name.endswith(REHEARSAL) or (block and "sweep" not in block)):
        return None
    if block is None:
        record_id = record.id if record else "–"
        return Synced(name, record_id, "not read: hpo status says why; its record stays as it was")
    if record is None:
        began = block["study"].get("began", "")
        record = ledger.create(
            ledger.next_id(name), {"title": "", "study": name, "owner": person()}, who=HARNESS, at=began
        )
    kept = _with_block(record, name, block)
    if record.status in CONCLUDED:
        has_changed = record.kept != kept
        remark = ", and its study has changed since: set it to wip to take that up" if has_changed else ""
        return Synced(name, record.id, f"{record.status}{remark}")
    updated = ledger.write(_advanced(replace(record, kept=kept)))
    if updated.status == record.status:
        return Synced(name, record.id, record.status)
    return Synced(name, record.id, f"{record.status} -> {updated.status}", has_moved=True)


def _with_block(record: Record, name: str, block: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a record, with the block of one of its studies anew. The first one's stands for the record."""
    others = {study: part for study, part in record.part("further").items() if study in record.studies}
    if name == record.study:
        others.pop(name, None)
        kept = {key: record.kept[key] for key in OWN if key in record.kept} | block
    else:
        others[name] = further(block)
        kept = {key: value for key, value in record.kept.items() if key != "further"}
    return kept | {"further": others} if others else kept


def _advanced(record: Record) -> Record:
    """The record with the status that its study has reached.

    Work begins with the first trial, and ends when nothing that was asked for is left to do: at the times that the
    trials have, so that it does not matter when the ledger was told.
    """
    blocks = {record.study: record.kept, **record.part("further")}
    parts = [blocks.get(name, {}).get("study", {}) for name in record.studies]
    states = {part.get("state", "none") for part in parts}
    if record.status == "planned" and states != {"none"}:
        record = _moved_at(record, "wip", min((part["began"] for part in parts if "began" in part), default=""))
    if record.status == "wip" and states == {"complete"}:
        record = _moved_at(record, "analysis", max(part.get("ended", "") for part in parts))
    return record


def _moved_at(record: Record, status: str, time: str) -> Record:
    """The record with another status, at a time of its studies but not before what stands in its history."""
    at = max(time, *(str(event["at"]) for event in record.history))
    return moved(record, status, at=at, who=HARNESS)
