"""Preflight: prove that a task can be learned before money is spent."""

from __future__ import annotations

from hpo.checking import preflight as checking
from hpo.checking.preflight import Preflight
from hpo.storage.transient import failures_as_halted
from hpo.trial.guard import quits_as_errors
from hpo.verbs.command_log import begin
from hpo.verbs.devices import places
from hpo.verbs.display import Display
from hpo.verbs.opening import AnyStudy, Opened, open_study
from hpo.verbs.options import Folder, Options
from hpo.verbs.progress import display_for


@failures_as_halted()
@quits_as_errors()
def preflight(
    study: AnyStudy,
    *,
    smoke: bool = False,
    workers: int | None = None,
    data: Folder | None = None,
    device: str = "auto",
    runs: Folder = "runs",
    progress: bool | Display = False,
) -> Preflight:
    """Prove that the task can be learned before money is spent.

    A no-go is a result, not an error: see `status`. The result is kept in runs/STUDY/preflight.json.
    """
    options = Options(smoke=smoke, workers=workers, data=data, device=device, runs=runs)
    opened = open_study("preflight", study, options, display_for(progress))
    return preflight_stage(opened, display_for(progress))


def preflight_stage(opened: Opened, display: Display) -> Preflight:
    """The preflight of a study in which nothing is left to refuse."""
    begin(opened)
    with display.steps("preflight") as show:
        result = checking.preflight(
            opened.study,
            opened.folder,
            opened.identity,
            workers=opened.workers or places(opened.options.device),
            on=opened.on if opened.options.backend != "dask" else "local",
            device=opened.options.device,
            watch=show,
        )
    display.preflight_ended(opened, result)
    return result
