"""Records of studies whose process was killed: it could not say any more that they do not run."""

from __future__ import annotations

import platform
from pathlib import Path

from hpo.errors import Refused
from hpo.ledger.folder import Ledger
from hpo.ledger.record import Record
from hpo.storage.folder import RunFolder


def mended(ledger: Ledger, runs: Path) -> list[Record]:
    """All records. One that says "running" is brought up to date first, where its study no longer runs.

    That is known of studies that were run on this machine.
    """
    records = ledger.records()
    killed = [study for record in records for study in _running(record) if _has_ended(RunFolder(runs / study))]
    if not killed:
        return records
    from hpo.ledger.keeping import sync  # needs torch and Optuna, which the records themselves do not

    for study in killed:
        try:
            sync(ledger, runs.absolute(), study)
        except Refused:
            continue  # the record stays as it was
    return ledger.records()


def _running(record: Record) -> list[str]:
    """The studies of a record that run, by what it says."""
    blocks = {record.study: record.kept, **record.part("further")}
    return [study for study, block in blocks.items() if block.get("study", {}).get("state") == "running"]


def _has_ended(folder: RunFolder) -> bool:
    if not folder.lock.is_file():
        return False
    from hpo.storage.held import is_held

    is_of_this_machine = f" on {platform.node()} " in folder.lock.read_text(errors="replace")
    return is_of_this_machine and not is_held(folder)
