"""A study that was changed since it began: what a user must accept, and what is done then."""

from __future__ import annotations

from collections.abc import Mapping

from hpo.errors import Refused
from hpo.promotion.looks import keep_looks
from hpo.storage.database import require_equal, stored_identity
from hpo.storage.folder import promotion_name
from hpo.storage.identity import differences, differing_parts, keep_details
from hpo.storage.locks import study_lock
from hpo.trial.changes import Change, accept, code_note, read_changes
from hpo.trial.generations import change_of, change_of_promotion, finish_change
from hpo.trial.ownership import require_claimable_if_readable, require_first_change
from hpo.trial.provenance import identity_details
from hpo.verbs.opening import Opened
from hpo.verbs.options import ACCEPTABLE

OF_FULL = ("fidelity", "data", "code")  # parts of a promotion's identity that may be others in a new promotion


def require_same_or_accepted(opened: Opened) -> Change | None:
    """The change that the user accepts now; None where there is none. Writes nothing.

    Raises Refused for a change that was not accepted, or that cannot be, and for a study that another folder owns or
    has gone on with.
    """
    name, folder = opened.study.name, opened.folder
    require_claimable_if_readable(folder, name)
    changes = read_changes(folder)
    before = stored_identity(folder, name) or (changes[-1].now if changes else None)
    parts = differing_parts(before, opened.identity) if before else []
    if not before or not parts:
        return None
    if not set(parts) <= set(ACCEPTABLE):
        require_equal(folder, name, before, opened.identity, opened.details)
    change = change_of(opened.study, folder, before, opened.identity, opened.details)
    require_first_change(folder, name)
    missing = [part for part in parts if part not in opened.options.accept]
    if missing:
        raise Refused(_question(opened, change))
    return change


def require_same_promotion_or_again(opened: Opened, identity: Mapping[str, str]) -> Change | None:
    """The change that a new promotion on fresh seeds makes, where the one that is there was of another full fidelity;
    None where it was not. `identity` is that of the promotion. Writes nothing.

    Raises Refused where that was not asked for, and where something else differs.
    """
    folder, name = opened.folder, promotion_name(opened.study.name)
    before, details = stored_identity(folder, name) or identity, identity_details(opened.study, "promotion")
    parts = differing_parts(before, identity)
    if not parts:
        return None
    if not set(parts) <= set(OF_FULL):
        require_equal(folder, name, before, identity, details)
    lines = differences(folder, before, identity, details)
    if not opened.options.again:
        listed = "\n".join(f"  {line}" for line in lines)
        raise Refused(
            f"the promotion of {opened.study.name!r} was of another full {', '.join(parts)}:\n{listed}\n"
            f"undo the change, or promote anew, on fresh seeds, which is another look at the test split:\n"
            f"  {opened.help_command('promote')} --again\n"
            f"then the promotion that is there is kept in set-aside/, and the report shows both"
        )
    return change_of_promotion(folder, opened.identity, parts, lines)


def _question(opened: Opened, change: Change) -> str:
    differences = "\n".join(f"  {line}" for line in change.differences)
    options = " ".join(f"--accept {part}" for part in change.parts)
    kept = "the promotion that is there is kept in set-aside/; " if set(change.moved) - _trials(change) else ""
    return (
        f"study {opened.study.name!r} exists with other {', '.join(change.parts)}:\n{differences}\n"
        f"undo the change, or give the study another name, or another folder (--runs DIR), or go on with it:\n"
        f"  {opened.help_command('preflight')}\n  {opened.help_command('sweep')} {options}\n"
        f"then: {change.outcome}; {kept}nothing is destroyed"
    )


def _trials(change: Change) -> set[str]:
    return {place for place in change.moved if place.startswith("sweep/")}


def go_on(opened: Opened, change: Change | None) -> str:
    """Bring the study into the generation that the change begins, or into which an interrupted command was bringing
    it. Returns what to tell the user, or nothing."""
    if change is None and not read_changes(opened.folder):
        return ""
    with study_lock(opened.folder):
        if change:
            keep_looks(opened.folder)
            keep_details(opened.folder, opened.identity, opened.details)
            accept(opened.folder, change)
        finish_change(opened.study, opened.folder, opened.identity)
    note = code_note(opened.folder)
    if change is None:
        return note
    kept = f"; the promotion that was there is kept in {_aside(opened)}" if "promotion.json" in change.moved else ""
    return f"{', '.join(change.parts)} accepted: {change.outcome}{kept}" + (f"\n{note}" if note else "")


def _aside(opened: Opened) -> str:
    """Where the newest change has put what it set aside."""
    return f"set-aside/{opened.folder.generation - 1}"
