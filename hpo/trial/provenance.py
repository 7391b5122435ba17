"""What a result rests on, as hashes and versions: code, data, space, packages."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import platform
from importlib.metadata import version
from typing import Any

import torch

from hpo.code.harness import HARNESS, PROMOTION, code_hash
from hpo.data.batch import example_hash
from hpo.data.passes import TooManyBatches, one_pass
from hpo.plain import fingerprint, without_place
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Fidelity, Split, Task, in_fold


def identity(study: StudySpec) -> dict[str, str]:
    """What must not change while a study runs: each part by its hash or its name."""
    parts = {"cross-validation": f"{study.cross_validate} parts"} if study.cross_validate > 1 else {}
    return {
        **parts,
        "direction": study.task.direction,
        "goal": study.task.goal,
        "space": fingerprint(study.space),
        "task": fingerprint(without_place(study.task)),
        "recipe": fingerprint(study.recipe),
        "fidelity": fingerprint(study.cheap),
        "pruning": fingerprint(study.pruning),
        "seed": str(study.seed),
        "code": code_hash(type(study.task)),
        "data": data_hash(study.configure({}, study.cheap).task, study.cheap),
    }


def promotion_identity(study: StudySpec) -> dict[str, str]:
    """The parts of the identity that are others at full fidelity. Reads the test split."""
    task = study.configure({}, study.full).task
    return {
        "fidelity": fingerprint(study.full),
        "code": code_hash(type(study.task), HARNESS + PROMOTION),
        "data": data_hash(task, study.full, ("train", "val", "test")),
    }


def data_hash(task: Task[Any], fidelity: Fidelity, splits: tuple[Split, ...] = ("train", "val")) -> str:
    """12 hex digits over the validation split and one epoch of training batches, as the engine is served them. The
    test split belongs to promotion, which alone asks for it. Of a split that goes on, what was asked for counts."""
    digest = hashlib.sha256()
    folds = range(task.folds if "test" in splits else 1)
    for fold, split in itertools.product(folds, splits):
        with contextlib.suppress(TooManyBatches):  # preflight says it, with where to look
            for batch in one_pass(in_fold(task, fold), split, fidelity, 64, generator("data hash")):
                digest.update(example_hash([batch]).encode())
    return digest.hexdigest()[:12]


def versions() -> dict[str, str]:
    """Versions that a reader needs to repeat a result."""
    packages = {name: version(name) for name in ("torch", "optuna", "numpy", "plotly", "joblib")}
    return {
        "python": platform.python_version(),
        **packages,
        "processor": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
