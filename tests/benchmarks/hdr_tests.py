"""`hdr`, trained in each fold, and all rivals, on three test sets: python -m tests.benchmarks.hdr_tests [TRAIN [FOLDS]]

Composed frames and a path tracer's frames, both under the panoramas of the fold's test split, and the stereo pair.
Trained are the default and one variant, on TRAIN examples (256) for as many epochs as at full fidelity. What is
independent is the panorama, of which the three folds test eight; the interval of a lead is Student's over them. All
frames of the stereo pair are of one photograph, so that its numbers have no interval. Settings of rivals are tuned as
promotion tunes them. FOLDS, the first of which are run, is 3 unless it is given.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from hpo import Method, Split, Tuned, crossed_interval, fit, tune_baselines
from objectives.common.batches import parts_of
from objectives.common.columns import columns_over
from objectives.hdr import FULL, HDR, baseline, loss, parallax
from objectives.hdr.data import Batch
from objectives.hdr.splits import Scenes
from studies.hdr import study

NETWORKS: dict[str, HDR] = {"default": HDR(), "Huber 1": HDR(huber_delta=1.0)}
HIDDEN = ", layers hidden"
SETS: tuple[Scenes, ...] = ("composed", "rendered")
STEREO = "stereo pair"
EXAMPLES = 96  # of each test set
SCORING_BATCH = 16

Scores = dict[str, list[Tensor]]  # method -> score of each example, fold by fold


def main() -> None:
    torch.set_num_threads(1)
    train = int(sys.argv[1]) if len(sys.argv) > 1 else 256
    scores: dict[str, Scores] = defaultdict(lambda: defaultdict(list))
    sources: dict[str, list[Tensor]] = defaultdict(list)
    for fold in range(int(sys.argv[2]) if len(sys.argv) > 2 else HDR.folds):
        methods = {**_networks(fold, train), **_rivals(fold)}
        for name, batch in _test_sets(HDR(fold=fold)):
            sources[name].append(batch.source_B)
            for method, score in methods.items():
                for column, values in _columns(score, batch).items():
                    if column in ("score", "score_without_layers"):
                        scores[name][method + HIDDEN * (column != "score")].append(values)
        for name in scores:
            _print_table(name, scores[name], torch.cat(sources[name]))


def _networks(fold: int, train: int) -> dict[str, Method[Batch]]:
    trained: dict[str, Method[Batch]] = {}
    for name, task in NETWORKS.items():
        started = time.process_time()
        fidelity = replace(FULL, train=train)
        *_, last = fit(replace(task, fold=fold), study.recipe, fidelity, seed=fold, device="cpu")
        last.model.load_state_dict(last.best_weights)
        seconds = time.process_time() - started
        print(f"fold {fold}, {name}: {seconds:.0f} CPU s, validation {last.best:.2f} dB", flush=True)
        trained[name] = partial(loss.model_scores, last.model.eval())
    return trained


def _test_sets(task: HDR) -> Iterator[tuple[str, Batch]]:
    for scenes in SETS:
        yield scenes, _batch(replace(task, scenes=scenes), "test", EXAMPLES)
    yield STEREO, parallax.examples(FULL.size, task.base)


def _batch(task: HDR, split: Split, count: int) -> Batch:
    fidelity = replace(FULL, train=count, val=count, test=count)
    fixed = replace(task, flip=False, layers_absent=0.0)
    return next(fixed.batches(split, fidelity, count, torch.Generator().manual_seed(0)))


def _rivals(fold: int) -> dict[str, Method[Batch]]:
    rivals = dict(baseline.rivals())
    for name, tuning in tune_baselines(study, fold=fold).items():
        print(f"  {name}: {tuning}", flush=True)
        if isinstance(rival := rivals[name], Tuned):
            rivals[name] = rival.with_settings(tuning.settings)
    return rivals


def _columns(method: Callable[[Batch], Mapping[str, Tensor]], batch: Batch) -> Mapping[str, Tensor]:
    return columns_over(method, parts_of(batch, SCORING_BATCH))


def _print_table(name: str, scores: Scores, sources: Tensor) -> None:
    together = {method: torch.cat(parts).double().numpy() for method, parts in scores.items()}
    count = len(sources.unique())
    print(f"\n{name}: {len(sources)} examples, {count} {'source' if count == 1 else 'sources'}; score, and leads of")
    print(" " * 34 + "".join(f"{network:>26}" for network in NETWORKS))
    for method, score in sorted(together.items(), key=lambda item: -item[1].mean()):
        leads = [_interval(together[network] - score, sources.numpy()) for network in NETWORKS]
        print(f"{method:24}{score.mean():7.2f} dB" + "".join(f"{lead:>26}" for lead in leads), flush=True)


def _interval(lead: np.ndarray, sources: np.ndarray) -> str:
    """The mean over the sources, with its 95 % interval."""
    means = np.array([lead[sources == source].mean() for source in np.unique(sources)])
    if len(means) == 1:
        return f"{means[0]:+.2f}"
    interval = crossed_interval(means[None])
    return f"{interval.mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


if __name__ == "__main__":
    main()
