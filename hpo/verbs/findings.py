"""What a study has found, for a notebook or another program: the numbers of its report, and its figures."""

from __future__ import annotations

from hpo.page.collect import collect
from hpo.page.figures import Figures
from hpo.page.figures import figures as drawn
from hpo.page.findings import Findings
from hpo.storage.transient import failures_as_halted
from hpo.verbs.opening import AnyStudy, open_results
from hpo.verbs.options import Folder, Options


@failures_as_halted()
def findings(study: AnyStudy, *, smoke: bool = False, data: Folder | None = None, runs: Folder = "runs") -> Findings:
    """Everything that the report of a study says, as records: `sweep`, `promotion`, `preflight`, `missing` and more.

    What has not been run yet is None. Raises Refused where nothing has been run.
    """
    opened = open_results("report", study, Options(smoke=smoke, data=data, runs=runs))
    return collect(opened.study, opened.folder)


@failures_as_halted()
def figures(study: AnyStudy, *, smoke: bool = False, data: Folder | None = None, runs: Folder = "runs") -> Figures:
    """Every figure of a study's report by name, as plotly figures that stand alone: "history", "curves", "importance",
    "slice task.width", "parallel", "timeline"; after a promotion "scores", "leads", "agreement" and "training"; after a
    preflight "overfit"; and "chart TITLE" for each of the task's own.

    What has not been run yet has no figure. Raises Refused where nothing has been run.
    """
    return drawn(findings(study, smoke=smoke, data=data, runs=runs))
