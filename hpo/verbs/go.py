"""Whether preflight lets a study be searched, or the user does in spite of it."""

from __future__ import annotations

from hpo.checking import kept
from hpo.checking.preflight import Preflight
from hpo.errors import NoGo, Refused
from hpo.verbs.opening import Opened


def require_go_or_force(opened: Opened) -> None:
    """Raise Refused without a fresh preflight that did not say no-go, unless `force` is set, which is recorded."""
    if not opened.options.force:
        kept.require_go(opened.folder, opened.identity, opened.help_command("preflight"), opened.details)
    elif not passed_before(opened):
        kept.record_force(opened.folder)


def passed_before(opened: Opened) -> bool:
    """Whether a preflight of this very code, data and space is there, and did not say no-go."""
    try:
        kept.require_go(opened.folder, opened.identity, "", opened.details)
    except Refused:
        return False
    return True


def require_passed_or_force(result: Preflight, opened: Opened) -> None:
    """Raise NoGo after a preflight that says no-go, unless `force` is set, which is recorded."""
    if result.status != "no-go":
        return
    if not opened.options.force:
        failed = ", ".join(check.name for check in result.checks if check.status == "no-go")
        raise NoGo(f"the preflight of {opened.study.name} said no-go ({failed}); mend that and run it again")
    kept.record_force(opened.folder)
