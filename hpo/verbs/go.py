"""Whether preflight lets a study be searched, or the user does in spite of it."""

from __future__ import annotations

from hpo.checking import preflight as checking
from hpo.errors import Refused
from hpo.verbs.opening import Opened


def require_go_or_force(opened: Opened) -> None:
    """Raise Refused without a fresh preflight that did not say no-go, unless `force` is set, which is recorded."""
    if not opened.options.force:
        checking.require_go(opened.folder, opened.identity, opened.help_command("preflight"), opened.details)
    elif not passed_before(opened):
        checking.record_force(opened.folder)


def passed_before(opened: Opened) -> bool:
    """Whether a preflight of this very code, data and space is there, and did not say no-go."""
    try:
        checking.require_go(opened.folder, opened.identity, "", opened.details)
    except Refused:
        return False
    return True
