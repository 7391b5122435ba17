"""The soak: for an hour, or SOAK_SECONDS, studies are swept and promoted while faults of every kind strike them. When a
study is done, a fresh process checks its invariants. Figures are printed every minute."""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hpo.study import StudySpec
from tests.faults import check, servers
from tests.faults.processes import alive, code_of, end_group, group
from tests.faults.running import WHILE_IT_RUNS
from tests.faults.scene import DAMAGED, REFUSED, TRIALS_FAILED, Fault, Scene
from tests.faults.servers import Dask, Postgres
from tests.faults.soaked import soaked
from tests.faults.standstill import check_standstill, is_over
from tests.faults.stopped import WHILE_IT_IS_STOPPED
from tests.faults.studies import asked, curve, events

SECONDS = float(os.environ.get("SOAK_SECONDS", 3600))
SEED = int(os.environ.get("SOAK_RANDOM", 0))
SHARES = {"sequential": 0.35, "parallel": 0.4, "many": 0.25}
LADDERS = 0.5  # share of the studies whose trials pause
PATIENCE_S = 900  # for one command, on a machine that is busy with something else


@dataclass
class Figures:
    """What was done so far, and what came of it."""

    began: float = field(default_factory=time.monotonic)
    rounds: Counter = field(default_factory=Counter)
    trials: int = 0
    commands: int = 0
    faults: Counter = field(default_factory=Counter)
    violations: Counter = field(default_factory=Counter)
    recovered_s: dict[str, list[float]] = field(default_factory=dict)  # by mode; of commands that were repeated
    said: float = field(default_factory=time.monotonic)

    def say(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self.said < 60:
            return
        self.said = time.monotonic()
        kinds = ", ".join(f"{name} {count}/{self.violations[name]}" for name, count in sorted(self.faults.items()))
        print(
            f"soak {(time.monotonic() - self.began) / 60:.0f} min: {dict(self.rounds)} rounds, {self.trials} trials, "
            f"{self.commands} commands; {self.faults.total()} faults, {self.violations.total()} violations; "
            f"recovery {self._recovery()}; faults/violations by kind: {kinds}",
            flush=True,
        )

    def _recovery(self) -> str:
        return "; ".join(
            f"{mode}: median {statistics.median(times):.2f} s, p95 {statistics.quantiles(times, n=20)[-1]:.2f} s of "
            f"{len(times)}"
            for mode, times in sorted(self.recovered_s.items())
            if len(times) > 1
        )


@dataclass
class Soak:
    base: Path
    disk: Path | None
    stack: ExitStack
    figures: Figures = field(default_factory=Figures)
    references: dict[tuple[int, bool], Path] = field(default_factory=dict)
    server: Postgres | None = None
    cluster: Dask | None = None

    # -- one round -----------------------------------------------------------------------------------------------------
    def round(self, number: int, rng: random.Random, mode: str) -> None:
        deed = rng.choice(["", "", "", "die", "hang"]) if mode != "sequential" and rng.random() < 0.4 else ""
        runs = (self.disk if self.disk and mode != "many" else self.base) / f"round-{number}"
        runs.mkdir()
        scene = Scene(
            runs,
            mode,
            rng.randrange(3),
            deed,
            rng.random() < LADDERS,
            rng,
            self.disk if self.disk in runs.parents else None,
            tainted=bool(deed),
        )
        struck: list[str] = []
        try:
            if mode == "many":
                scene.server, scene.cluster = self.machines()
                scene.server.fresh()
            reference = self.reference(scene.seed, is_ladder=scene.is_ladder) if mode == "sequential" else None
            self.through(scene, "sweep", 6, struck)
            self.check(scene, reference)
            if rng.random() < 0.5 and not deed:
                self.through(scene, "promote", 3, struck)
                self.check(scene, reference)
        except AssertionError as violation:
            self.report(scene, struck, violation)
        finally:
            for pid in scene.pids:
                end_group(pid)
                with suppress(ChildProcessError):
                    code_of(pid)
        self.figures.rounds[mode] += 1
        shutil.rmtree(runs)
        scene.log.unlink(missing_ok=True)

    def through(self, scene: Scene, verb: str, faults: int, struck: list[str]) -> None:
        """Repeat the command until it has done its work, with up to so many faults on the way."""
        scene.verb, broken = verb, False
        while True:
            scene.excused = {TRIALS_FAILED} if scene.deed else set()
            if broken and scene.rng.random() < 0.4 and verb == "sweep":
                self.strike(scene, scene.rng.choice(WHILE_IT_IS_STOPPED), struck)
            before, started = scene.progress(), time.monotonic()
            scene.pid, waiting = scene.command(verb), broken
            self.figures.commands += 1
            while alive(scene.pid):
                if waiting and scene.progress() - before:
                    self.figures.recovered_s.setdefault(scene.mode, []).append(time.monotonic() - started)
                    waiting = False
                if faults and scene.progress() - before and scene.rng.random() < 0.05 and scene.holds():
                    faults -= self.strike(scene, scene.rng.choice(WHILE_IT_RUNS[scene.mode]), struck)
                assert time.monotonic() - started < PATIENCE_S, f"hpo {verb} has not ended after {PATIENCE_S} s"
                self.figures.say()
                time.sleep(0.01)
            code = code_of(scene.pid)
            assert code == 0 or code in scene.excused, f"hpo {verb} ended with {code}; allowed were {scene.excused}"
            if code in (DAMAGED, REFUSED):
                assert code_of(scene.command("rebuild")) == 0, "hpo rebuild failed"
            if code == 0 or (code == TRIALS_FAILED and is_over(scene)):
                return
            check_standstill(scene)
            broken = True

    def strike(self, scene: Scene, fault: Fault, struck: list[str]) -> bool:
        done = fault(scene)
        if done:
            struck.append(fault.__name__)
            self.figures.faults[fault.__name__] += 1
        return done

    def report(self, scene: Scene, struck: list[str], violation: AssertionError) -> None:
        last = struck[-1] if struck else "none"
        self.figures.violations[last] += 1
        kept = Path(tempfile.mkdtemp(prefix="hpo-violation-"))
        shutil.copytree(scene.runs, kept / "runs")
        if scene.log.exists():
            shutil.copy(scene.log, kept / "log")
        print(
            f"VIOLATION ({scene.mode}{', ladder' if scene.is_ladder else ''}, seed {scene.seed}, "
            f"{scene.deed or 'no deed'}, faults {struck}): {violation}\n"
            f"kept in {kept}",
            flush=True,
        )
        self.figures.say(now=True)

    # -- what must hold ------------------------------------------------------------------------------------------------
    def check(self, scene: Scene, reference: Path | None) -> None:
        study = soaked(scene.seed, scene.deed, is_ladder=scene.is_ladder)
        where = ["--url", scene.server.url] if scene.server else []
        where += ["--ladder", str(study.cheap.epochs)] if scene.is_ladder else []
        done = subprocess.run(
            [sys.executable, check.__file__, str(scene.folder), str(study.trials), *where],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [], done.stdout
        query = scene.server.query if scene.server else check.sqlite_query(scene.folder / "study.db")
        rows = check.rows(query, "soaked")
        self.figures.trials += len(rows)
        for number, row in rows.items():
            died = any(event["trial"] == number and event["deaths"] >= 3 for event in events(scene.folder, "death"))
            assert row["state"] != "FAIL" or died or scene.tainted, f"trial {number} failed: {row['attributes']}"
        self.undisturbed(scene, study, rows)
        if reference and scene.exact:
            assert timeless(rows) == timeless(check.rows(check.sqlite_query(reference / "study.db"), "soaked")), "I7"
            if scene.verb == "promote":
                assert promoted(scene.folder) == promoted(reference), "I7 of the promotion"
        for pid in scene.pids:
            gone = time.monotonic() + 30
            while group(pid) and time.monotonic() < gone:
                time.sleep(0.05)
            assert not group(pid), f"I11 processes are left: {group(pid)}"

    def undisturbed(self, scene: Scene, study: StudySpec, rows: Mapping[int, Any]) -> None:
        """I7: every trial's curve is that of a run of its params alone, as far as it went."""
        for number in rows:
            params = asked(scene.folder, number)
            result = json.loads((scene.folder / "sweep" / f"{number:04d}" / "result.json").read_text())
            if params.get("task.deed") or result["state"] == "failed":
                continue
            bests = [epoch["best"] for epoch in result["history"]]
            assert bests == curve(study, params, number)[: len(bests)], f"I7 trial {number} came out otherwise"

    # -- what is needed for it -----------------------------------------------------------------------------------------
    def reference(self, seed: int, *, is_ladder: bool) -> Path:
        """A sweep and a promotion that nothing happened to."""
        if (seed, is_ladder) not in self.references:
            runs = self.base / f"reference-{seed}{'-ladder' if is_ladder else ''}"
            scene = Scene(runs, "sequential", seed, "", is_ladder, random.Random(0), None)
            scene.runs.mkdir()
            for verb in ("sweep", "promote"):
                assert code_of(scene.command(verb)) == 0, scene.log.read_text()
            self.references[seed, is_ladder] = scene.folder
        return self.references[seed, is_ladder]

    def machines(self) -> tuple[Postgres, Dask]:
        if self.server is None:
            base = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="hpo-postgres-")))
            base.chmod(0o755)  # the user postgres must come in
            self.server = self.stack.enter_context(servers.postgres(base / "server"))
            os.environ["PGPASSFILE"] = str(self.server.passfile)
            surroundings = {**os.environ, "OMP_NUM_THREADS": "1"}
            self.cluster = self.stack.enter_context(servers.dask(base / "dask", surroundings, workers=2))
        return self.server, self.cluster


def timeless(rows: dict) -> dict:
    for row in rows.values():
        row["attributes"].pop("seconds", None)
    return rows


def promoted(folder: Path) -> dict:
    """The verdict but for the clock, and the winner's weights."""
    verdict = json.loads((folder / "verdict.json").read_text())
    for result in verdict["results"]:
        for run in result["runs"]:
            del run["seconds"]
    return {"verdict": verdict, "weights": (folder / "winner" / "weights.safetensors").read_bytes()}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """12 MB in memory; None where it cannot be mounted."""
    where = tmp_path / "disk"
    where.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", where], capture_output=True)
    yield where if mounted.returncode == 0 else None
    if mounted.returncode == 0:
        subprocess.run(["umount", "-l", where], check=True)


@pytest.mark.soak
def test_an_hour_of_faults_violates_nothing(tmp_path: Path, small_disk: Path | None, warm: None) -> None:
    for module in ("ledger.harvest", "checking.preflight", "promotion.promote", "trial.rebuild"):
        importlib.import_module(f"hpo.{module}")  # once here, and not in every fork
    lacking = servers.missing()
    print(
        f"\nsoak of {SECONDS:.0f} s; "
        + (
            f"many machines are NOT TESTED: they need {lacking}"
            if lacking
            else "PostgreSQL and Dask in a quarter of the rounds"
        )
        + ("" if small_disk else "; no disk to fill: not root"),
        flush=True,
    )
    shares = {mode: share for mode, share in SHARES.items() if mode != "many" or not lacking}
    rng = random.Random(SEED)
    with ExitStack() as stack:
        soak = Soak(tmp_path, small_disk, stack)
        while time.monotonic() - soak.figures.began < SECONDS:
            mode = rng.choices(list(shares), list(shares.values()))[0]
            soak.round(sum(soak.figures.rounds.values()), random.Random(rng.random()), mode)
        soak.figures.say(now=True)
    assert not soak.figures.violations
