"""Real sweeps and promotions, played again: what the estimator of the time left says at each moment, and what is true.

`python -m tests.replay` prints the figures. `python -m tests.replay FOLDER NAME sweep [FIRST WARMUP]` and `… promotion
[RATIO]` record what was trained in one go in a study's folder as tests/replays/NAME-KIND.json. FIRST and WARMUP are
those of its pruning; RATIO is how many times as many examples an epoch of the promotion has as one of the sweep.
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
from hpo.storage.time_left import Pace, Pruning, doubt, pace_of, seconds_left

REPLAYS = Path(__file__).parent / "replays"
MOMENTS = 60  # at which a recording is asked for the time left
BEGAN, ENDED = 2, 3  # columns of a trial in a recording
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
    before: Pace | None = None  # what is expected of a promotion, by its sweep

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
        return seconds_left(
            self.rows(now),
            self.rounds,
            workers=self.workers,
            epochs=self.epochs,
            pruning=pruning,
            before=self.before,
        )

    @property
    def share_near(self) -> float:
        """In which share of the time after the first tenth the estimate was within a quarter of the truth."""
        return float(np.mean([abs(ratio - 1) <= ALLOWED for ratio in self.ratios()]))

    @property
    def share_covered(self) -> float:
        """In which share of the time after the first tenth the truth lay in the range that is shown."""
        return float(np.mean([self._is_covered(now) for now in self.moments()]))

    def _is_covered(self, now: float) -> bool:
        estimate = self._estimate(now)
        ended = [row.seconds for row in self.rows(now) if row.has_ended and row.seconds]
        factor = doubt(ended, sum(self.rounds) - len(ended))
        return estimate is not None and 1 / factor <= (self.seconds - now) / estimate <= factor


def read(path: Path) -> Recording:
    record = json.loads(path.read_text())
    trials = tuple(Played(*trial[:-1], tuple(trial[-1])) for trial in record.pop("trials"))
    ratio = record.pop("ratio", None)
    before = None
    if ratio is not None:
        sweep = read(path.with_name(path.name.replace("-promotion", "-sweep")))
        pace = pace_of(sweep.rows(sweep.seconds))
        before = pace.times(ratio) if pace else None
    return Recording(name=path.stem, trials=trials, before=before, **record)


def recordings() -> list[Recording]:
    return [read(path) for path in sorted(REPLAYS.glob("*.json"))]


def record(folder: Path, name: str, kind: str, numbers: list[float]) -> None:
    """Write down what the folder of a study that was trained in one go says."""
    times: dict[tuple[str, int], float] = {}
    workers: dict[int, int] = {}
    for line in (folder / "events.log").read_text().splitlines():
        event = json.loads(line)
        if event["event"] in ("submit", "start", "end") and event["study"].endswith(".promotion") == (
            kind == "promotion"
        ):
            times[event["event"], event["trial"]] = datetime.fromisoformat(event["at"]).timestamp()
            if event["event"] == "start":
                workers[event["trial"]] = event["pid"]
    pids = sorted(set(workers.values()))
    trials = []
    for result in sorted((folder / kind).glob("*/result.json")):
        number, outcome = int(result.parent.name), json.loads(result.read_text())
        epochs = [round(epoch["seconds"], 3) for epoch in outcome["history"]]
        began, ended = (times[event, number] for event in ("submit", "end"))
        trials.append([number, outcome["state"], began, ended, pids.index(workers[number]), epochs])
    side_by_side = max(sum(trial[BEGAN] <= begun[BEGAN] < trial[ENDED] for trial in trials) for begun in trials)
    _cut_loading(trials, trials[:side_by_side])
    rounds = [len(trials)]
    head: dict[str, Any] = {"kind": kind, "rounds": rounds, "pruning": None}
    if kind == "promotion":
        selection = json.loads((folder / "promotion.json").read_text())
        head["rounds"] = [(each["others"] + 1) * len(each["seeds"]) for each in selection["rounds"]]
        head["ratio"] = numbers[0] if numbers else None
    elif numbers:
        head["pruning"] = [int(number) for number in numbers]
    opening = json.dumps(head | {"workers": side_by_side, "epochs": max(len(trial[-1]) for trial in trials)})
    rows = ",\n".join(json.dumps(trial) for trial in trials)
    (REPLAYS / f"{name}-{kind}.json").write_text(f'{opening[:-1]}, "trials": [\n{rows}\n]}}\n')


def _cut_loading(trials: list[list[Any]], first: list[list[Any]]) -> None:
    """Let the first trial of each worker begin without loading: in `hpo run` the preflight has loaded the workers.

    Times are from the first begin on then.
    """
    beside = statistics.median(ended - began - sum(epochs) for _, _, began, ended, _, epochs in trials)
    for trial in first:
        trial[BEGAN] = trial[ENDED] - sum(trial[-1]) - beside
    earliest = min(trial[BEGAN] for trial in trials)
    for trial in trials:
        trial[BEGAN], trial[ENDED] = round(trial[BEGAN] - earliest, 3), round(trial[ENDED] - earliest, 3)


def main() -> None:
    if len(sys.argv) > 1:
        folder, name, kind, *numbers = sys.argv[1:]
        record(Path(folder), name, kind, [float(number) for number in numbers])
        return
    print(f"{'':28} trials workers   within 25 %  in the range   ratio at 10 % 25 % 50 % 75 % 90 % of the time")
    for recording in recordings():
        ratios = recording.ratios()
        at = [ratios[int((share - 0.1) / 0.9 * MOMENTS)] for share in (0.1, 0.25, 0.5, 0.75, 0.9)]
        print(
            f"{recording.name:28} {sum(recording.rounds):6} {recording.workers:7} {100 * recording.share_near:11.0f} %"
            f"{100 * recording.share_covered:14.0f} %"
            f"   {'':11} {' '.join(f'{ratio:.2f}' for ratio in at)}"
        )


if __name__ == "__main__":
    main()
