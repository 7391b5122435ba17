"""optuna-dashboard, to look at a study while it runs: on loopback alone, and read-only."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from hpo.errors import Refused
from hpo.storage.database import read_only_storage, stored_study
from hpo.storage.folder import RunFolder
from hpo.storage.transient import failures_as_halted

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK = "127.0.0.1"  # the dashboard asks for no password
READING = ("GET", "HEAD")  # requests that change nothing


class _Quiet(WSGIRequestHandler):
    """Prints no line for each request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name in the library
        pass


@failures_as_halted()
def dashboard_server(folder: RunFolder, port: int) -> WSGIServer:
    """A server that shows a study as it is at each moment; `serve_forever()` starts it.

    It reads the study's own storage, through connections that cannot write. Raises Refused where there is no storage,
    where the port is taken, and where optuna-dashboard is not installed.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise Refused("the dashboard is not installed; pip install 'hpo[dashboard]'") from error
    if stored_study(folder, folder.path.name) is None:  # read by a connection that can mend what a crash has left
        raise Refused(f"there is no storage of {folder.path} to show; a sweep makes it")
    app = _reading_alone(wsgi(read_only_storage(folder.storage)))
    try:
        return make_server(LOOPBACK, port, app, handler_class=_Quiet)
    except OSError as error:
        raise Refused(f"--port: must be free; {port} is not ({error.strerror})") from error


@failures_as_halted()
def address(folder: RunFolder, port: int) -> str:
    """The page of the study itself: a database may hold many."""
    storage = read_only_storage(folder.storage)
    number = storage.get_study_id_from_name(folder.name_of(folder.path.name))
    return f"http://{LOOPBACK}:{port}/dashboard/studies/{number}"


def _reading_alone(app: WSGIApplication) -> WSGIApplication:
    """The application without what changes a study: notes, renaming, deleting. The page shows the reason."""

    def reading_alone(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in READING:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": "hpo dashboard shows a study, and changes nothing"}).encode()]

    return reading_alone
