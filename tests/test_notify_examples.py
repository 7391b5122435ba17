"""The commands that docs/notify.md shows, each with what it talks to: a server here, a folder, a package."""

from __future__ import annotations

import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

import hpo
from tests.test_news import INLINE, STUDY, appending, documents

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples" / "notify"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The documents of a sweep and a promotion that have run."""
    folder = tmp_path_factory.mktemp("told")
    where = {"runs": folder, "notify": appending(folder / "out")}
    hpo.sweep(STUDY, **where, **INLINE)
    hpo.promote(STUDY, **where, backend="inline", device="cpu")
    return documents(folder / "out")


def tell(
    example: str, told: list[dict[str, Any]], folder: Path, python: str = sys.executable, **environment: str
) -> None:
    """Start the example for each document, in the folder."""
    for document in told:
        subprocess.run(
            [python, EXAMPLES / f"to_{example}.py"],
            input=json.dumps(document),
            text=True,
            cwd=folder,
            env={**os.environ, **environment},
            check=True,
        )


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[str]:
    """Serve on loopback until this ends; yields the port."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield str(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_page_names_every_field_of_every_event(told: list[dict[str, Any]]) -> None:
    page = (ROOT / "docs" / "notify.md").read_text()
    fields = {name for document in told for name in document}
    fields |= {name for document in told for name in document.get("trial", {})}
    assert [name for name in sorted(fields) if f"`{name}`" not in page and f".{name}`" not in page] == []
    assert all(f"`{document['event']}`" in page for document in told)


def test_slack(told: list[dict[str, Any]], tmp_path: Path) -> None:
    posted: list[str] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with serving(HTTPServer(("127.0.0.1", 0), Webhook)) as port:
        tell("slack", told[-2:], tmp_path, SLACK_WEBHOOK=f"http://127.0.0.1:{port}/services/x")
    assert posted == [f"toy: {told[-1]['text']}"]


def test_mail(told: list[dict[str, Any]], tmp_path: Path) -> None:
    mails: list[str] = []

    class Mailbox(socketserver.StreamRequestHandler):
        """As much of SMTP as a client needs."""

        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mails.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 good\r\n")

    with serving(socketserver.TCPServer(("127.0.0.1", 0), Mailbox)) as port:
        tell("mail", told[-2:], tmp_path, MAIL_TO="me@example.org", MAIL_HOST="127.0.0.1", MAIL_PORT=port)
    (mail,) = mails
    assert "Subject: toy: promotion ended\r\n" in mail


def test_tensorboard(told: list[dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tell("tensorboard", told[:1], tmp_path)
    log = EventAccumulator(str(tmp_path / "tensorboard" / "toy" / "sweep" / "0"))
    log.Reload()
    history = json.loads(Path(told[0]["trial"]["folder"], "result.json").read_text())["history"]
    assert [event.value for event in log.Scalars("mse")][:2] == pytest.approx([epoch["value"] for epoch in history])


@pytest.mark.mlflow
def test_mlflow(told: list[dict[str, Any]], tmp_path: Path) -> None:
    """HPO_MLFLOW_PYTHON names a Python with mlflow."""
    python = os.environ["HPO_MLFLOW_PYTHON"]
    where = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db", "PYTHONPATH": ""}
    tell("mlflow", told[:1], tmp_path, python, **where)
    query = (
        "import json, mlflow; (run,) = mlflow.search_runs(experiment_names=['toy'], output_format='list')\n"
        "print(json.dumps([run.info.run_name, run.data.params, run.data.metrics, run.data.tags['state']]))"
    )
    environment = {**os.environ, **where}
    shown = subprocess.run(
        [python, "-c", query], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    name, params, metrics, state = json.loads(shown.stdout.splitlines()[-1])
    trial = told[0]["trial"]
    assert (name, state) == ("sweep 0", "complete")
    assert params == {name: str(value) for name, value in trial["params"].items()}
    assert metrics["best epoch mse"] == trial["scores"]["mse"] == trial["value"]


READ_WANDB = """
import glob, json, struct
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER = 32768, struct.Struct("<IHB")  # of a LevelDB log: a checksum, how many bytes follow, and which part
(path,) = glob.glob("wandb/offline-run-*/run-*.wandb")
content, at, parts = open(path, "rb").read(), 7, b""
project, config, history, summary = "", {}, [], {}
while at < len(content):
    if BLOCK - at % BLOCK < HEADER.size:
        at += BLOCK - at % BLOCK
    _, length, part = HEADER.unpack_from(content, at)
    at += HEADER.size + length
    parts += content[at - length : at]
    if part not in (1, 4):  # whole, or the last one
        continue
    record, parts = Record.FromString(parts), b""
    if record.run.project:
        project = [record.run.project, record.run.display_name]
        config = {item.key: json.loads(item.value_json) for item in record.run.config.update}
    if record.history.item:
        history.append({item.nested_key[0]: json.loads(item.value_json) for item in record.history.item})
    for item in record.summary.update:
        summary[item.key or item.nested_key[0]] = json.loads(item.value_json)
print(json.dumps([project, config, history, summary]))
"""


@pytest.mark.mlflow
def test_wandb(told: list[dict[str, Any]], tmp_path: Path) -> None:
    """HPO_WANDB_PYTHON names a Python with wandb, which writes into a folder."""
    python = os.environ.get("HPO_WANDB_PYTHON")
    if python is None:
        pytest.skip("HPO_WANDB_PYTHON names no Python with wandb")
    tell("wandb", told[:1], tmp_path, python, WANDB_MODE="offline", WANDB_SILENT="true", PYTHONPATH="")
    query = [python, "-c", READ_WANDB]
    shown = subprocess.run(
        query, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""}, stdout=subprocess.PIPE, check=True
    )
    titles, config, history, summary = json.loads(shown.stdout)
    trial = told[0]["trial"]
    result = json.loads(Path(trial["folder"], "result.json").read_text())
    assert titles == ["toy", "sweep 0"]
    assert {name: config[name] for name in trial["params"]} == trial["params"]
    assert [(row["_step"], row["mse"]) for row in history] == [
        (each["epoch"], each["value"]) for each in result["history"]
    ]
    assert (summary["state"], summary["mse"]) == ("complete", trial["scores"]["mse"])
