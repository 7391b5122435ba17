"""A week of a team, in minutes: `python -m tests.faults.week FOLDER`.

Ann, Ben and Cem share a PostgreSQL server, and Ann has a Dask cluster; Dua looks at all of it, all the time. Workers,
coordinators and the server are killed, code and space are edited, a folder is copied, a promotion is made again. At the
end every trial that had ever ended must still be there, byte by byte, and storage and folders must agree.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import check, servers
from tests.faults.processes import children, until
from tests.faults.servers import Dask, Postgres
from tests.faults.studies import at_work

ROOT = Path(__file__).parents[2]
KILLED, REFUSED, TAKEN = -signal.SIGKILL, 2, 2
STUDY = """
from dataclasses import dataclass

from hpo import Fidelity, Recipe, StudySpec, choose, log, uniform
from tests.faults.studies import CHEAP, Victim


@dataclass(frozen=True)
class Paced(Victim):
    def loss(self, model, batch, at):
        if {fault}:
            raise ValueError(f"a shift of {{self.shift:.3f}} is too much for the camera")
        return super().loss(model, batch, at)


study = StudySpec(
    name="{name}",
    task=Paced(pace={pace}),
    recipe=Recipe(lr=0.1, batch_size=16, ema=0.5),
    space={{"recipe.lr": {lr}, "task.shift": uniform(-1, 1), "task.dropout": choose(0.0, 0.2)}},
    smoke=CHEAP,
    cheap=CHEAP,
    full=Fidelity(size=CHEAP.size, train=64, val=32, epochs={epochs}, test=40),
    trials={trials},
    keep=1,
    seeds=2,
    pruning=None,
)
"""


@dataclass
class Account:
    """Every record of a trial that has ended, as it was first seen."""

    records: dict[str, Path] = field(default_factory=dict)  # by the hash of the content

    def note(self, runs: Path) -> None:
        """Take the records that are there now."""
        for path in runs.glob("*/*/*/result*.json"):
            with contextlib.suppress(FileNotFoundError):  # it was set aside a moment ago
                self.records.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)

    def lost(self, folder: Path) -> list[Path]:
        """Where the records were that are nowhere below the folder now."""
        present = {hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("result*.json")}
        return [path for digest, path in self.records.items() if digest not in present]


@dataclass
class Person:
    """Somebody with a checkout, a folder of runs, and a way to run studies."""

    name: str
    home: Path
    where: list[str]  # options of every command that trains
    environment: dict[str, str]
    account: Account
    study: dict[str, object] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        return self.home / "runs"

    @property
    def file(self) -> Path:
        return self.home / f"{self.study['name']}.py"

    @property
    def folder(self) -> Path:
        return self.runs / str(self.study["name"])

    def edit(self, **changes: object) -> None:
        """Write the study file, with other values than before."""
        plain = {"fault": "False", "pace": 0.1, "trials": 8, "lr": "log(1e-3, 0.5)", "epochs": 5}
        self.study = {**plain, **self.study, **changes}
        self.home.mkdir(exist_ok=True)
        self.file.write_text(STUDY.format(**self.study))

    def start(self, verb: str, *words: str) -> subprocess.Popen[bytes]:
        """`hpo VERB STUDY`, in a session of its own."""
        options = self.where if verb in ("sweep", "promote") else []
        command = [sys.executable, "-m", "hpo", verb, str(self.file), "--runs", str(self.runs), *options, *words]
        with open(self.home / "terminal.log", "ab") as log:
            log.write(f"\n$ {' '.join(command[2:])}\n".encode())
            log.flush()
            return subprocess.Popen(
                command, cwd=self.home, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def hpo(self, verb: str, *words: str, code: int = 0) -> None:
        """Run a command to its end, which must be with this exit code."""
        process = self.start(verb, *words)
        ended = process.wait(timeout=900)
        self.account.note(self.runs)
        assert ended == code, f"{self.name}: hpo {verb} {words} ended with {ended}, not {code}:\n{self.last()}"

    def last(self) -> str:
        """What the last command has said."""
        return (self.home / "terminal.log").read_text(errors="replace").rpartition("\n$ ")[2]

    def until_killed(self, verb: str, strike: Callable[[subprocess.Popen[bytes]], None], *words: str) -> None:
        """Begin a command, and strike when it has come an epoch farther."""
        kind = "promotion" if verb == "promote" else "sweep"
        before = set(self.folder.glob(f"{kind}/*/epoch-*.pt"))
        process = self.start(verb, *words)
        until(lambda: set(self.folder.glob(f"{kind}/*/epoch-*.pt")) - before or process.poll() is not None, 300)
        strike(process)
        self.account.note(self.runs)


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL a command and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.wait(60) in (KILLED, 0)


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, as a batch system sends it."""
    process.terminate()
    assert process.wait(120) in (143, 0)


@dataclass
class Onlooker:
    """Somebody who looks at every study all the time. Every answer must be a whole document."""

    people: list[Person]
    environment: dict[str, str]
    looks: int = 0
    cpu_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """`hpo status --json` of everybody, until stopped."""
        while not self.stopped.wait(0.5):
            for person in self.people:
                if list(person.runs.glob("*/preflight.json")):
                    self._look_at(person)

    def _look_at(self, person: Person) -> None:
        command = [sys.executable, "-m", "hpo", "status", "--json", "--runs", str(person.runs)]
        before = os.times()
        done = subprocess.run(command, cwd=person.home, env=self.environment, capture_output=True, text=True)
        after = os.times()
        self.looks += 1
        self.cpu_s.append(after.children_user + after.children_system - before.children_user - before.children_system)
        try:
            json.loads(done.stdout)
        except ValueError:
            self.wrong.append(f"status of {person.name} ended with {done.returncode}: {done.stderr[-300:]}")


@dataclass
class Team:
    """Who is there, and what they share."""

    base: Path
    server: Postgres
    cluster: Dask
    environment: dict[str, str]
    rng: random.Random
    account: Account = field(default_factory=Account)

    def person(self, name: str, *where: str) -> Person:
        home = self.base / name
        home.mkdir()
        return Person(name, home, list(where), self.environment, self.account)

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


# -- the days ----------------------------------------------------------------------------------------------------------
def monday(team: Team, ann: Person, ben: Person) -> None:
    """Ann sweeps on the cluster; a worker and her coordinator are killed. Ben takes the same name."""
    ann.edit(name="rings", pace=0.3)
    ann.hpo("preflight")

    def kill_a_worker(process: subprocess.Popen[bytes]) -> None:
        os.kill(team.rng.choice(at_work(ann.folder) or children(process.pid)), signal.SIGKILL)
        until(lambda: len(list(ann.folder.glob("sweep/*/result.json"))) >= 2 or process.poll() is not None, 300)
        kill_all(process)

    ann.until_killed("sweep", kill_a_worker)
    ann.hpo("sweep")
    ben.edit(name="rings")
    ben.hpo("preflight")
    ben.hpo("sweep", code=TAKEN)
    assert "taken by" in ben.last(), ben.last()
    assert "rebuild" not in ben.last(), ben.last()
    team.say("Monday: Ann's worker and coordinator were killed, and her sweep is whole. Ben's name was taken")


def tuesday(team: Team, ben: Person) -> None:
    """Ben's task has a fault; he mends it, and the failed trials are trained again."""
    ben.edit(name="spirals", fault="0.2 < abs(self.shift) < 0.9", pace=0.05)
    ben.hpo("preflight")
    process = ben.start("sweep")
    code = process.wait(600)
    failed = _states(ben).get("failed", 0)
    assert failed, "no trial has failed"
    ben.account.note(ben.runs)
    ben.edit(fault="False")
    ben.hpo("preflight")
    ben.hpo("retry", "--failed", "--accept", "code")
    ben.until_killed("sweep", kill_all, "--accept", "code")
    ben.hpo("sweep", "--accept", "code")
    assert not _states(ben).get("failed", 0), _states(ben)
    team.say(f"Tuesday: {failed} of Ben's trials had failed (exit {code}); mended, retried, killed, whole")


def _states(person: Person) -> dict[str, int]:
    """How many trials of the sweep are in each state, by their records."""
    states: dict[str, int] = {}
    for path in person.folder.glob("sweep/*/result.json"):
        state = json.loads(path.read_text())["state"]
        states[state] = states.get(state, 0) + 1
    return states


def wednesday(team: Team, ben: Person, cem: Person) -> None:
    """Cem works in a copy of Ben's folder. When Ben goes on, the copy is older, and may only be read."""
    cem.study = dict(ben.study)
    cem.edit()
    shutil.copytree(ben.folder, cem.folder)
    cem.hpo("report")
    ben.edit(trials=10)
    ben.hpo("preflight")
    ben.hpo("sweep", "--accept", "code")
    cem.edit(trials=12)
    cem.hpo("preflight")
    process = cem.start("sweep", "--accept", "code")
    assert process.wait(300) != 0, "the sweep in an older copy has gone on"
    cem.hpo("report")
    team.say("Wednesday: Cem's older copy was read, and refused where it would have written")


def thursday(team: Team, cem: Person) -> None:
    """Cem widens a range and tries a configuration of his own, in SQLite."""
    cem.where = ["--workers", "2", "--device", "cpu"]
    cem.study = {}
    cem.edit(name="moons", trials=6)
    cem.hpo("preflight")
    cem.until_killed("sweep", ask_to_stop)
    cem.hpo("sweep")
    cem.edit(lr="log(1e-4, 0.9)", trials=9)
    cem.hpo("preflight")
    cem.hpo("sweep", "--accept", "space", "--try", "recipe.lr=0.02")
    team.say("Thursday: Cem has widened a range, and tried a configuration of his own")


def friday(team: Team, ann: Person) -> None:
    """Ann promotes on the cluster, under fire; then the server is restarted; then the full fidelity is another."""
    ann.until_killed("promote", kill_all)
    process = ann.start("promote")
    until(lambda: list(ann.folder.glob("promotion/*/result.json")), 600)
    team.server.stop()
    team.server.start()
    code = process.wait(900)
    if code:
        ann.hpo("promote")
    ann.hpo("report")
    ann.edit(epochs=6)
    ann.hpo("promote", "--again")
    ann.hpo("report")
    team.say(f"Friday: Ann's promotion survived a kill and a restart of the server (exit {code}), and was made again")


def sunday(team: Team, people: list[Person]) -> list[str]:
    """The reckoning: what is wrong, a line each."""
    wrong = [f"lost: {path}" for path in team.account.lost(team.base)]
    for person in people:
        for folder in sorted(path.parent for path in person.runs.glob("*/sweep")):
            if (person.name, folder.name) == ("cem", "spirals"):
                continue  # the study is Ben's, and this is how it was on Wednesday
            in_server = (folder / "storage").exists()
            query = team.server.query if in_server else check.sqlite_query(folder / "study.db")
            stored = set(check.rows(query, _name(folder)))
            recorded = {int(path.parent.name) for path in folder.glob("sweep/*/result.json")}
            if stored != recorded:
                wrong.append(f"{person.name}/{folder.name}: {sorted(recorded)} in folders, {sorted(stored)} stored")
    return wrong


def _name(folder: Path) -> str:
    """The name of the newest generation of a study in its storage."""
    changes = folder / "changes.json"
    number = len(json.loads(changes.read_text())) + 1 if changes.exists() else 1
    return folder.name if number == 1 else f"{folder.name}@{number}"


@contextlib.contextmanager
def team_of(base: Path, seed: int = 0) -> Iterator[Team]:
    """A server, a cluster of two workers, and an empty folder."""
    base.mkdir(parents=True, exist_ok=True)
    base.chmod(0o755)  # the user postgres must come in
    with servers.postgres(base / "server") as server:
        server.fresh()
        environment = {
            **os.environ,
            "PGPASSFILE": str(server.passfile),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }
        with servers.dask(base / "dask", environment, workers=2) as cluster:
            yield Team(base, server, cluster, environment, random.Random(seed))


def week(team: Team) -> list[str]:
    """Live through it; returns what is wrong in the end."""
    storage = ["--storage", team.server.url]
    on_cluster = ["--backend", "dask", "--scheduler", team.cluster.address]
    ann = team.person("ann", *storage, *on_cluster)
    ben = team.person("ben", *storage, "--workers", "2", "--device", "cpu")
    cem = team.person("cem", *storage, "--workers", "1", "--device", "cpu")
    dua = Onlooker([ann, ben, cem], team.environment)
    watching = threading.Thread(target=dua.look, daemon=True)
    watching.start()
    monday(team, ann, ben)
    tuesday(team, ben)
    wednesday(team, ben, cem)
    thursday(team, cem)
    friday(team, ann)
    dua.stopped.set()
    watching.join()
    wrong = [*dua.wrong, *sunday(team, [ann, ben, cem])]
    team.say(f"Dua has looked {dua.looks} times, for {min(dua.cpu_s):.2f} to {max(dua.cpu_s):.2f} CPU seconds")
    team.say(f"Sunday: {len(team.account.records)} records of trials accounted for; wrong: {len(wrong)}")
    return wrong


if __name__ == "__main__":
    with team_of(Path(sys.argv[1])) as this_team:
        complaints = week(this_team)
    print("\n".join(complaints))
    sys.exit(bool(complaints))
