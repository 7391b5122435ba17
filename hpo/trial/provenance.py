"""What a result rests on, as hashes and versions: code, data, space, packages."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distributions, packages_distributions, version
from typing import Any

import torch
from optuna.distributions import distribution_to_json

from hpo.code import harness
from hpo.code.closure import code_of
from hpo.code.harness import HARNESS, CodeIdentity, code_hash, code_identity
from hpo.contract.optuna_objects import settings
from hpo.plain import fingerprint, plain, without_place
from hpo.space import Distribution, When, describe, distribution_of
from hpo.storage.folder import Kind
from hpo.study import StudySpec
from hpo.task import Task
from hpo.trial.contents import Watch
from hpo.trial.data_identity import PROMOTION, data_identity, watch_nothing
from hpo.trial.kept_data import KeptData


def identity(
    study: StudySpec, *, kept: KeptData | None = None, watch: Watch = watch_nothing, earlier: str | None = None
) -> dict[str, str]:
    """What must not change while a study runs: each part by its hash or its name. The packages may: their versions are
    recorded. `kept`, `watch` and `earlier` are those of `data_identity`."""
    parts = {"cross-validation": f"{study.cross_validate} parts"} if study.cross_validate > 1 else {}
    warm = {"warm": study.warm} if study.warm else {}
    search = {"search": fingerprint(settings(study.search))} if study.search else {}
    limits = {"limits": fingerprint(_limits(study))} if study.limits else {}
    goals = {"goals": ", ".join(study.goals)} if study.goals else {}
    return {
        **parts,
        **warm,
        **search,
        **limits,
        **goals,
        "direction": study.task.direction,
        "goal": study.task.goal,
        "space": fingerprint(study.space),
        "task": fingerprint(without_place(study.task)),
        "recipe": fingerprint(study.recipe),
        "fidelity": fingerprint(study.cheap),
        "pruning": fingerprint(study.pruning_rule),
        "seed": str(study.seed),
        "code": code_hash(type(study.task)),
        "packages": fingerprint(packages(type(study.task))),
        "data": data_identity(study, study.cheap, kept=kept, watch=watch, earlier=earlier),
    }


def promotion_identity(
    study: StudySpec, *, kept: KeptData | None = None, watch: Watch = watch_nothing, earlier: str | None = None
) -> dict[str, str]:
    """The parts of the identity that are others at full fidelity. Reads the test split."""
    return {
        "fidelity": fingerprint(study.full),
        "code": code_hash(type(study.task), HARNESS + harness.PROMOTION),
        "data": data_identity(study, study.full, PROMOTION, kept=kept, watch=watch, earlier=earlier),
    }


def identity_details(study: StudySpec, kind: Kind = "sweep") -> dict[str, Any]:
    """What the hashes of the identity are of: of the sweep's, or of the promotion's."""
    is_sweep = kind == "sweep"
    pruning = {"pruning": plain(study.pruning_rule)} if is_sweep else {}  # a promotion prunes nothing
    search = {"search": settings(study.search)} if is_sweep and study.search else {}
    return {
        "space": {name: _entry(entry) for name, entry in study.space.items()},
        "task": without_place(study.task),
        "recipe": plain(study.recipe),
        "fidelity": plain(study.cheap if is_sweep else study.full),
        **pruning,
        **search,
        "limits": _limits(study),
        "code": code_details(code_identity(type(study.task), HARNESS if is_sweep else HARNESS + harness.PROMOTION)),
        "packages": packages(type(study.task)),
    }


def _limits(study: StudySpec) -> dict[str, float]:
    return {name: float(most) for name, most in study.limits.items()}


def _entry(entry: Distribution | When) -> dict[str, Any]:
    distribution = distribution_of(entry)
    text = describe(distribution)
    if isinstance(entry, When):
        text = f"when({entry.parent!r}, {entry.value!r}, {text})"
    return {"text": text, "distribution": distribution_to_json(distribution)}


def code_details(identity: CodeIdentity) -> dict[str, Any]:
    """Each file that counts, with the digests of what is defined in it."""
    harness = {file: {"the file": digest} for file, digest in identity.harness.items()}
    return {"root": identity.code.root, "files": {**identity.code.files, **harness}}


def packages(task: type[Task[Any]]) -> dict[str, str]:
    """The versions of Python, of the packages that train, and of those that the task's code imports."""
    names = ("torch", "optuna", "numpy", *code_of(task).packages)
    found = {name: _version(name) for name in names}
    return {"python": platform.python_version(), **{name: text for name, text in found.items() if text}}


@functools.lru_cache(maxsize=256)
def _version(name: str) -> str | None:
    """The version of an installed package, by the name that it is imported under; None where it is no package."""
    try:
        return version(name)
    except PackageNotFoundError:
        distribution = _distribution_of(name)
        return version(distribution) if distribution else None


def _distribution_of(name: str) -> str | None:
    """The distribution that a package belongs to. Most say so; to look through the files of all takes long."""
    for distribution in distributions():
        if name in (distribution.read_text("top_level.txt") or "").split():
            return distribution.metadata["Name"]
    return next(iter(_looked_through().get(name, ())), None)


@functools.lru_cache(maxsize=1)
def _looked_through() -> Mapping[str, Sequence[str]]:
    return packages_distributions()


def versions() -> dict[str, str]:
    """Versions that a reader needs to repeat a result."""
    packages = {name: version(name) for name in ("torch", "optuna", "numpy", "plotly", "joblib")}
    return {
        "python": platform.python_version(),
        **packages,
        "processor": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
    }
