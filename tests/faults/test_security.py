"""Hostile names, paths, links, files and database rows, and secrets. What is refused is refused before anything is
written, and what is read cannot run code, fill the memory or lead out of the study's folder."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import pickle
import shutil
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import pytest
import torch
from optuna.exceptions import StorageInternalError

import hpo.cli.main
from hpo.cli.dashboard import LOOPBACK, dashboard_server
from hpo.engine.checkpoint import newest
from hpo.errors import Damaged, Halted, Refused
from hpo.files import write_whole
from hpo.storage.database import read_only_storage
from hpo.storage.folder import RunFolder
from hpo.storage.locks import lease
from hpo.storage.postgresql import check_url
from hpo.study import StudySpec
from hpo.trial import record
from hpo.trial.record import Asked, Outcome
from tests.faults.processes import code_of, end_group, start, until
from tests.faults.servers import held_port, listens, port_of
from tests.faults.studies import EPOCH, INTERRUPTED, interrupted, stored, swept, victims

SECRET = "canary-5e1f"


# -- secrets -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"postgresql://me:{SECRET}@[::1]:5432/db",
        f"postgresql://host/db?user=me&password={SECRET}",
        f"postgresql+psycopg://me:{SECRET}@/db?host=/run",
        f"mysql://me:{SECRET}@host/db",
        f"redis://:{SECRET}@host",
        f"sqlite:///{SECRET}.db",
        f"postgresql://me:{SECRET}@host:port/db",
        f"://{SECRET}",
        f"{SECRET}",
        f"postgresql://{{{SECRET}}}@host/db",
        f"postgresql://host/db?sslpassword={SECRET}",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str, folder: Path, capfd) -> None:
    with pytest.raises(Refused) as refused:
        check_url(url)
    assert SECRET not in str(refused.value)

    def act() -> None:
        sys.argv = [
            "hpo",
            "sweep",
            str(Path(__file__).with_name("slow.py")),
            "--force",
            "--runs",
            str(folder.parent),
            "--storage",
            url,
            "--debug",
        ]
        hpo.cli.main.main()

    code_of(start(act))
    said = capfd.readouterr()
    assert f"Refused: {refused.value}" in said.err
    assert not list(folder.parent.iterdir()), "nothing was written"


@pytest.mark.parametrize("url", ["postgresql://me@host/db", "postgresql+psycopg://host:5433/db?sslmode=require"])
def test_a_url_without_one_is_taken(url: str) -> None:
    assert check_url(url) == url


# -- names and paths ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/etc/x",
        "x/../../y",
        "",
        ".",
        "..",
        "-rf",
        ".hidden",
        "a\0b",
        "a\nb",
        "a b",
        "\u202eevil",
        "\ud800",
        "<script>",
        "a" * 65,
        "ä",
        "%s%n",
        "con:",
        "x\\y",
        None,
        7,
    ],
)
def test_a_name_that_is_no_plain_word_names_no_folder(name) -> None:
    with pytest.raises(ValueError, match="name"):
        victims(name=name)


def test_a_folder_that_everybody_may_write_to_is_refused(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(Refused, match="world-writable"):
        swept(victims(trials=1), folder)
    assert not list(folder.iterdir())


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory, warm: None) -> Path:
    """An interrupted sweep, to be copied: what is planted in the folder of its open trial will be looked at."""
    folder = tmp_path_factory.mktemp("broken") / "victims"
    interrupted(folder)
    return folder


@pytest.fixture
def outside(folder: Path) -> Path:
    """A folder that is not the study's, with one file."""
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "treasure").write_text("untouched")
    return folder.parent / "outside"


LINKS = {  # what lies there is a link to: a folder, or a file; what the sweep then does
    "lock": (OSError, "symbolic link|loop|Too many levels"),
    "study.db": (Refused, "is a link"),
    "sweep": (Refused, "is a link"),
    "sweep/0001": (Refused, "is a link"),
    "sweep/0000": (Refused, "is a link"),
    "sweep/0001/lock": (OSError, "symbolic link|loop|Too many levels"),
    "sweep/0001/result.json": None,
    "sweep/0001/trial.json": None,
    "sweep/0001/deaths.json": None,
    f"sweep/0001/epoch-000003-{'0' * 16}.pt": None,
    "events.log": None,
}


@pytest.mark.parametrize("name", LINKS)
def test_links_in_the_places_of_our_files_are_not_followed(
    folder: Path, broken_off: Path, outside: Path, name: str
) -> None:
    """Nothing that they lead to is read or changed: what matters is refused, the rest is replaced or passed over."""
    shutil.copytree(broken_off, folder)
    place, to = (
        folder / name,
        outside if name.startswith("sweep") and "." not in name and "lock" not in name else outside / "treasure",
    )
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.symlink_to(to)
    if LINKS[name]:
        with pytest.raises(LINKS[name][0], match=LINKS[name][1]):
            swept(INTERRUPTED, folder)
    else:
        swept(INTERRUPTED, folder)
        assert {row["state"] for row in stored(folder).values()} == {"COMPLETE"}
    assert [path.name for path in outside.iterdir()] == ["treasure"]
    assert (outside / "treasure").read_text() == "untouched"


def test_the_log_of_commands_is_not_written_through_a_link(folder: Path, outside: Path, capfd) -> None:
    slow = folder.parent / "slow"
    slow.mkdir()
    (slow / "commands.log").symlink_to(outside / "treasure")

    def act() -> None:
        sys.argv = ["hpo", "sweep", str(Path(__file__).with_name("slow.py")), "--force", "--runs", str(folder.parent)]
        hpo.cli.main.main()

    code_of(start(act))
    assert "commands.log" in capfd.readouterr().err
    assert (outside / "treasure").read_text() == "untouched"


def test_a_temporary_file_that_was_planted_is_not_written_through(tmp_path: Path, monkeypatch) -> None:
    import platform

    treasure = tmp_path / "treasure"
    treasure.write_text("untouched")
    (tmp_path / f".file.{platform.node()}.{os.getpid()}.tmp").symlink_to(treasure)
    write_whole(tmp_path / "file", b"content")
    assert treasure.read_text() == "untouched"
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_pipe_in_the_place_of_a_file_blocks_nobody(folder: Path, broken_off: Path) -> None:
    """A FIFO that nobody writes to would be read for ever, one that nobody reads would be waited for."""
    shutil.copytree(broken_off, folder)
    for name in ("result.json", "deaths.json", f"epoch-000003-{'0' * 16}.pt"):
        os.mkfifo(folder / "sweep" / "0001" / name)
    (folder / "events.log").unlink()
    os.mkfifo(folder / "events.log")
    assert code_of(start(lambda: swept(INTERRUPTED, folder)), 60) == 0
    assert {row["state"] for row in stored(folder).values()} == {"COMPLETE"}
    (folder / "sweep" / "0002" / "trial.json").unlink()
    os.mkfifo(folder / "sweep" / "0002" / "trial.json")
    assert code_of(start(lambda: swept(INTERRUPTED, folder)), 60) == 1, "refused: the record is lost"
    lease_of = folder / "sweep" / "0001"
    os.mkfifo(lease_of / "lock")
    assert code_of(start(lambda: lease(lease_of).__enter__()), 60) == 1, "refused"


# -- hostile checkpoints -----------------------------------------------------------------------------------------------
def plant(folder: Path, content: bytes, epoch: int = 3) -> None:
    """A checkpoint whose checksum holds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"epoch-{epoch:06d}-{hashlib.sha256(content).hexdigest()[:16]}.pt").write_bytes(content)


def saved(state) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


class Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


def deflated(content: bytes) -> bytes:
    """The same archive, compressed: 200 MB of zeros in 200 kB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            target.writestr(item.filename, source.read(item))
    return buffer.getvalue()


def test_a_checkpoint_that_would_fill_the_memory_is_refused_before_it_does(tmp_path: Path) -> None:
    """A view of 4 TB over one number, in whatever it lies; a compressed archive of 200 MB."""
    vast = torch.zeros(1).expand(10**12)
    for number, content in enumerate(
        [
            saved({"identity": "", "model": {"w": vast}}),
            saved({"identity": "", "record": [({"w": vast},)]}),
            deflated(saved({"identity": "", "model": torch.zeros(5 * 10**7)})),
        ]
    ):
        folder = tmp_path / str(number)
        plant(folder, content)
        with pytest.raises(ValueError, match="larger than its file"):
            newest(folder)


def test_a_buffer_that_is_one_number_expanded_is_no_attack(tmp_path: Path) -> None:
    plant(tmp_path, saved({"identity": "", "model": {"w": torch.ones(1).expand(3, 1000, 1000)}}))
    assert newest(tmp_path)["model"]["w"].sum() == 3e6


def _legacy(state) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


MARKER = Path(tempfile.gettempdir()) / f"hpo-payload-{os.getpid()}"
HOSTILE = {
    "code": saved({"identity": Payload(MARKER)}),
    "code, legacy": _legacy({"identity": Payload(MARKER)}),
    "bare pickle": pickle.dumps({"identity": Payload(MARKER)}),
    "not ours": saved({"identity": "mine"}),
    "a list": saved([1, 2]),
    "a tensor": saved(torch.zeros(3)),
    "no archive": b"PK\x03\x04 nothing",
    "empty": b"",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_checkpoint_runs_nothing_and_costs_its_own_trial_alone(
    folder: Path, broken_off: Path, content: bytes
) -> None:
    """Its checksum holds, so it is no accident: the trial fails and says why."""
    shutil.copytree(broken_off, folder)
    plant(folder / "sweep" / "0001", content)
    swept(INTERRUPTED, folder)
    assert [row["state"] for row in stored(folder).values()] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert stored(folder)[1]["attributes"]["reason"]
    assert not MARKER.exists()


def test_a_folder_that_was_planted_for_a_trial_to_come_is_refused(folder: Path) -> None:
    swept(victims(trials=1), folder)
    plant(folder / "sweep" / "0001", HOSTILE["not ours"])
    with pytest.raises(Damaged, match="trial 1: is not in the storage"):
        swept(victims(trials=2), folder)


# -- hostile records and rows ------------------------------------------------------------------------------------------
def sealed(path: Path, record: dict) -> None:
    """A record whose checksum holds."""
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**record, "sha256": digest}))


WHOLE = {**asdict(Outcome("complete", value=1.0, epochs=1, history=(EPOCH,))), "inputs": "x"}


@pytest.mark.parametrize(
    "change",
    [
        {"state": "running"},
        {"value": "1.5"},
        {"value": None},
        {"value": [1]},
        {"extra": 1},
        {"state": ["complete"]},
        {"history": 7},
        {"history": ["x"]},
        {"history": [{"best": 1.0}]},
        {"scores": "all"},
        {"units": {}},
        {"reason": 3},
        {"seconds": "long"},
        {"value": True},
        {"epochs": 1.5},
    ],
    ids=str,
)
def test_a_record_of_the_wrong_kind_is_no_record_though_its_checksum_holds(tmp_path: Path, change: dict) -> None:
    sealed(tmp_path / "result.json", WHOLE)
    assert record.read_outcome(tmp_path, "x") is not None
    sealed(tmp_path / "result.json", {**WHOLE, **change})
    assert record.read_outcome(tmp_path, "x") is None


def test_a_record_that_is_vast_or_deep_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_bytes(b"[" * 200_000)
    assert record.read_outcome(tmp_path) is None
    with open(tmp_path / "result.json", "wb") as file:
        file.truncate(2**40)
    assert record.read_outcome(tmp_path) is None


def test_what_a_record_says_about_numbers_survives_being_written(tmp_path: Path) -> None:
    """NaN and infinity, which JSON does not have, and a string and a mapping that look like our names for them."""
    outcome = Outcome(
        "failed",
        reason="NaN",
        scores={"a": float("inf"), "b": float("-inf")},
        history=(replace(EPOCH, loss=float("nan"), lr={"number": 0.1}),),
        chosen={"mapping": {"number": 7}, "string": "NaN"},
    )
    record.write_outcome(tmp_path, outcome, "x")
    again = record.read_outcome(tmp_path, "x")
    assert again.scores == outcome.scores
    assert again.reason == "NaN"
    assert again.chosen == outcome.chosen
    assert math.isnan(again.history[0].loss)
    assert again.history[0].lr == {"number": 0.1}


def test_a_trial_json_leads_nowhere(folder: Path) -> None:
    """Paths and numbers in it are not used: a trial's folder is named by its number in the storage."""
    swept(victims(trials=2), folder)
    asked = record.read_asked(folder / "sweep" / "0001")
    record.write_asked(folder / "sweep" / "0001", Asked(0, asked.params, {}, asked.identity))
    swept(victims(trials=3), folder)
    assert sorted(path.name for path in (folder / "sweep").iterdir()) == ["0000", "0001", "0002"]


def test_a_log_line_cannot_be_forged(folder: Path) -> None:
    """A reason with line breaks and terminal commands stays inside its one line."""
    from hpo import events

    events.keep(folder.parent / "log")
    try:
        events.record("end", reason='x"}\n{"event": "forged"}\r\x1b[2J\u202e')
    finally:
        events._log = None
    lines = (folder.parent / "log").read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].isprintable()


def test_a_lease_is_not_given_through_a_link(folder: Path) -> None:
    target = folder.parent / "target"
    target.mkdir()
    folder.symlink_to(target)
    with pytest.raises(Halted, match="is a link"), lease(folder):
        pass
    assert not list(target.iterdir())


# -- the dashboard -----------------------------------------------------------------------------------------------------
def listening(pid: int) -> set[str]:
    """The addresses that a process listens on, as the kernel writes them."""
    inodes = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()}
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1].split(":")[0])
    return found


def answered(path: str, port: int) -> str:
    """What the dashboard answers to a request."""
    return urllib.request.urlopen(f"http://{LOOPBACK}:{port}{path}", timeout=60).read().decode()


def test_the_dashboard_listens_on_loopback_alone_and_cannot_touch_the_study(folder: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    swept(victims(trials=2), folder)
    before, holder = (folder / "study.db").read_bytes(), held_port()
    port = port_of(holder)
    pid = start(lambda: dashboard_server(RunFolder(folder), port).serve_forever())
    until(lambda: listens(port))
    assert listening(pid) == {"0100007F"}
    assert "victims" in answered("/api/studies", port)
    for method, path in (("DELETE", "/api/studies/1"), ("PUT", "/api/studies/1/note"), ("POST", "/api/studies")):
        request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", b"{}", method=method)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(request, timeout=60)
    end_group(pid)
    code_of(pid)
    assert (folder / "study.db").read_bytes() == before
    assert not list(folder.glob("study.db?*"))


def test_the_dashboard_shows_a_study_that_goes_on_as_it_is_at_each_moment(folder: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    swept(victims(trials=2), folder)
    port = port_of(held_port())
    pid = start(lambda: dashboard_server(RunFolder(folder), port).serve_forever())
    until(lambda: listens(port))
    assert len(json.loads(answered("/api/studies/1", port))["trials"]) == 2
    swept(victims(trials=3), folder)
    until(lambda: len(json.loads(answered("/api/studies/1", port))["trials"]) == 3)
    end_group(pid)
    code_of(pid)


def test_connections_of_the_dashboard_cannot_write(folder: Path) -> None:
    swept(victims(trials=2), folder)
    storage = read_only_storage(RunFolder(folder).storage)
    study = optuna.load_study(study_name="victims", storage=storage)
    assert len(study.trials) == 2
    with pytest.raises(StorageInternalError) as refused:
        study.set_user_attr("note", "mine")
    assert "readonly database" in str(refused.value.__cause__)


def test_nothing_listens_while_a_sweep_runs(folder: Path) -> None:
    pid = start(lambda: (swept(victims(trials=1), folder), time.sleep(60)))
    until(lambda: (folder / "sweep/0000/result.json").exists())
    assert listening(pid) == set()
    end_group(pid)
    code_of(pid)


def test_a_study_is_a_frozen_value() -> None:
    assert StudySpec.__dataclass_params__.frozen
