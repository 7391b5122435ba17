"""Report: the page that shows what came of a study."""

from __future__ import annotations

from pathlib import Path

from hpo.page.report import write_report
from hpo.storage.folder import RunFolder
from hpo.storage.transient import failures_as_halted
from hpo.trial.guard import quits_as_errors
from hpo.verbs.adopt import report_adopted
from hpo.verbs.command_log import begin
from hpo.verbs.display import Display
from hpo.verbs.opening import AnyStudy, Opened, adoption_of, open_results
from hpo.verbs.options import Folder, Options
from hpo.verbs.progress import display_for
from hpo.verbs.watching import in_ledger


@failures_as_halted()
@quits_as_errors()
def report(
    study: AnyStudy,
    *,
    smoke: bool = False,
    data: Folder | None = None,
    runs: Folder = "runs",
    progress: bool | Display = False,
) -> Path:
    """Write runs/STUDY/report.html, which opens with no network, and return its path.

    Raises Refused where nothing has been run.
    """
    adoption = adoption_of(study, runs)
    if adoption is not None and adoption.task is None:
        return report_adopted(RunFolder(Path(runs) / adoption.name), adoption, display_for(progress))
    opened = open_results("report", study, Options(smoke=smoke, data=data, runs=runs))
    return report_stage(opened, display_for(progress))


def report_stage(opened: Opened, display: Display) -> Path:
    """The report of a study that has been run."""
    begin(opened)
    with in_ledger(opened, display):
        path = write_report(opened.study, opened.folder).resolve()
    display.report_written(path)
    return path
