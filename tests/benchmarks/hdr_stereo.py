"""The default's runs of a promotion of `hdr` on the stereo pair: python -m tests.benchmarks.hdr_stereo RUNS

They have had the full budget. RUNS is the folder that `hpo promote hdr` has written, runs/hdr. All patches are of one
photograph, so that there is no interval over photographs: printed are the median, the least and the largest run.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from hpo import Method
from objectives.common.batches import parts_of
from objectives.common.columns import columns_over
from objectives.hdr import FULL, HDR, baseline, loss, parallax
from objectives.hdr.data import Batch
from tests.benchmarks.measured import spread

RIVALS = ("harmonic", "layered")  # they have no settings
SCORING_BATCH = 16


def main() -> None:
    torch.set_num_threads(1)
    batch = parallax.examples(FULL.size, HDR.base)
    rivals = {name: _score(baseline.rivals()[name], batch)["score"] for name in RIVALS}
    runs = [_score(method, batch) for method in _default_runs(Path(sys.argv[1]))]
    for name, score in rivals.items():
        print(f"{name}: {score:.2f} dB")
    for column in ("score", "score_without_layers"):
        scores = [run[column] for run in runs]
        print(f"default, {column}: {spread(scores)} dB")
        for name, rival in rivals.items():
            print(f"  ahead of {name}: {spread([score - rival for score in scores], '+.2f')} dB")


def _default_runs(study: Path) -> list[Method[Batch]]:
    """The default's network of each run, with the weights of its best epoch."""
    methods: list[Method[Batch]] = []
    for run in sorted((study / "promotion").iterdir()):
        if json.loads((run / "trial.json").read_text())["attributes"]["candidate"] == "default":
            model = HDR().model()
            model.load_state_dict(load_file(run / "weights.safetensors"))
            methods.append(partial(loss.model_scores, model.eval()))
    return methods


def _score(method: Method[Batch], batch: Batch) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in columns_over(method, parts_of(batch, SCORING_BATCH)).items()}


if __name__ == "__main__":
    main()
