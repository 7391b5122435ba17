"""Real sweeps and promotions, played again: what the estimator of the time left says at each moment, and what is true.

`python -m tests.replay` prints the figures; `python -m tests.replay FOLDER KIND [FIRST WARMUP]` records runs/STUDY,
which was trained in one go, as tests/replays/STUDY-KIND.json.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from hpo.storage.summary import Row
from hpo.storage.time_left import Pruning, seconds_left

REPLAYS = Path(__file__).parent / "replays"
MOMENTS = 200  # at which a recording is asked for the time left
BEGAN, ENDED, WORKER = 2, 3, 4  # columns of a trial in a recording
ALLOWED = 0.25  # of the truth


@dataclass(frozen=True)
class Played:
    """A trial as it was recorded, in seconds since the first one began."""

    number: int
    state: str
    began: float
    ended: float
    worker: int
    epochs: tuple[float, ...]  # what each epoch took

    def at(self, now: float, kind: str, epochs: int) -> Row:
        """Its row at a moment after it began. What its epochs leave over is time to load, before the first one."""
        loading = (self.ended - self.began) - sum(self.epochs)
        done = sum(self.began + loading + spent <= now for spent in itertools.accumulate(self.epochs))
        row = Row(kind, self.number, "running", epoch=done, epochs=epochs, began=self.began, worker=str(self.worker))
        if now >= self.ended:
            return replace(row, state=self.state, epoch=len(self.epochs), seconds=sum(self.epochs), ended=self.ended)
        pace = sum(self.epochs[1:done]) / (done - 1) if done > 1 else None
        return replace(row, seconds=now - self.began, pace=pace)


@dataclass(frozen=True)
class Recording:
    """A sweep, or a promotion, that was trained in one go."""

    name: str
    kind: str
    rounds: tuple[int, ...]  # how many trials each has; a sweep is one round
    pruning: tuple[int, int] | None  # the number of the first trial that may be pruned, and the epochs of the warm-up
    workers: int
    epochs: int
    trials: tuple[Played, ...]

    @property
    def seconds(self) -> float:
        return max(trial.ended for trial in self.trials)

    def rows(self, now: float) -> list[Row]:
        return [trial.at(now, self.kind, self.epochs) for trial in self.trials if trial.began <= now]

    def moments(self) -> list[float]:
        """Those after the first tenth."""
        return [float(moment) for moment in np.linspace(0.1, 1, MOMENTS, endpoint=False) * self.seconds]

    def ratios(self) -> list[float]:
        """What was estimated over what was true, at each moment; 0 where nothing was said."""
        return [(self._estimate(now) or 0.0) / (self.seconds - now) for now in self.moments()]

    def _estimate(self, now: float) -> float | None:
        pruning = None if self.pruning is None else Pruning(*self.pruning)
        return seconds_left(self.rows(now), self.rounds, workers=self.workers, epochs=self.epochs, pruning=pruning)

    @property
    def share_near(self) -> float:
        """In which share of the time after the first tenth the estimate was within a quarter of the truth."""
        return float(np.mean([abs(ratio - 1) <= ALLOWED for ratio in self.ratios()]))


def read(path: Path) -> Recording:
    record = json.loads(path.read_text())
    trials = tuple(Played(*trial[:-1], tuple(trial[-1])) for trial in record.pop("trials"))
    return Recording(name=path.stem, trials=trials, **record)


def recordings() -> list[Recording]:
    return [read(path) for path in sorted(REPLAYS.glob("*.json"))]


def record(folder: Path, kind: str, pruning: list[int] | None) -> None:
    """Write down what the folder of a study that was trained in one go says."""
    name = folder.name if kind == "sweep" else f"{folder.name}.promotion"
    times: dict[tuple[str, int], float] = {}
    workers: dict[int, int] = {}
    for line in (folder / "events.log").read_text().splitlines():
        event = json.loads(line)
        if event.get("study") == name and event["event"] in ("submit", "start", "end"):
            times[event["event"], event["trial"]] = datetime.fromisoformat(event["at"]).timestamp()
            if event["event"] == "start":
                workers[event["trial"]] = event["pid"]
    first, pids = min(times.values()), sorted(set(workers.values()))
    trials = []
    for result in sorted((folder / kind).glob("*/result.json")):
        number, outcome = int(result.parent.name), json.loads(result.read_text())
        epochs = [round(epoch["seconds"], 3) for epoch in outcome["history"]]
        began, ended = (round(times[event, number] - first, 3) for event in ("submit", "end"))
        trials.append([number, outcome["state"], began, ended, pids.index(workers[number]), epochs])
    _cut_loading(trials)
    rounds = [len(trials)]
    if kind == "promotion":
        selection = json.loads((folder / "promotion.json").read_text())
        rounds = [(each["others"] + 1) * len(each["seeds"]) for each in selection["rounds"]]
    most = max(len(trial[-1]) for trial in trials)
    head = json.dumps({"kind": kind, "rounds": rounds, "pruning": pruning, "workers": len(pids), "epochs": most})
    rows = ",\n".join(json.dumps(trial) for trial in trials)
    (REPLAYS / f"{folder.name}-{kind}.json").write_text(f'{head[:-1]}, "trials": [\n{rows}\n]}}\n')


def _cut_loading(trials: list[list[Any]]) -> None:
    """Let the first trial of each worker begin without loading: in `hpo run` the preflight has loaded the workers."""
    loaded: set[int] = set()
    beside = statistics.median(ended - began - sum(epochs) for _, _, began, ended, _, epochs in trials)
    for trial in trials:
        if trial[WORKER] not in loaded:
            loaded.add(trial[WORKER])
            trial[BEGAN] = round(trial[ENDED] - sum(trial[-1]) - beside, 3)
    first = min(trial[BEGAN] for trial in trials)
    for trial in trials:
        trial[BEGAN], trial[ENDED] = round(trial[BEGAN] - first, 3), round(trial[ENDED] - first, 3)


def main() -> None:
    if len(sys.argv) > 1:
        record(Path(sys.argv[1]), sys.argv[2], [int(word) for word in sys.argv[3:]] or None)
        return
    print(f"{'':28} trials workers   within 25 %   ratio at 10 % 25 % 50 % 75 % 90 % of the time")
    for recording in recordings():
        ratios = recording.ratios()
        at = [ratios[int((share - 0.1) / 0.9 * MOMENTS)] for share in (0.1, 0.25, 0.5, 0.75, 0.9)]
        print(
            f"{recording.name:28} {sum(recording.rounds):6} {recording.workers:7} {100 * recording.share_near:11.0f} %"
            f"   {'':11} {' '.join(f'{ratio:.2f}' for ratio in at)}"
        )


if __name__ == "__main__":
    main()
