"""What a result rests on, as hashes and versions: code, data, space, packages."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch

import hpo
from hpo.plain import fingerprint
from hpo.seeds import generator
from hpo.study import StudySpec
from hpo.task import Fidelity, Split, Task, example_hash

# What a trial's value depends on. The command line and the report may change between two runs of a study.
_HARNESS = (
    "task.py",
    "seeds.py",
    "schedule.py",
    "space.py",
    "recipe.py",
    "study.py",
    "engine/*.py",
    "trial/objective.py",
)


def identity(study: StudySpec) -> dict[str, str]:
    """What must not change while a study runs: each part by its hash or its name."""
    return {
        "direction": study.task.direction,
        "goal": study.task.goal,
        "space": fingerprint(study.space),
        "task": fingerprint(study.task),
        "recipe": fingerprint(study.recipe),
        "fidelity": fingerprint(study.cheap),
        "pruning": fingerprint(study.pruning),
        "seed": str(study.seed),
        "code": code_hash(study.task),
        "data": data_hash(study.configure({}, study.cheap).task, study.cheap),
    }


def code_hash(task: Task) -> str:
    """12 hex digits over the source of the task's module, of all that it imports from beside itself, and of the parts
    of the harness that a trial's value depends on."""
    digest = hashlib.sha256()
    package = Path(hpo.__file__).parent
    files = {path for pattern in _HARNESS for path in package.glob(pattern)} | _own_sources(type(task).__module__)
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def data_hash(task: Task, fidelity: Fidelity, splits: tuple[Split, ...] = ("train", "val")) -> str:
    """12 hex digits over the validation split and one epoch of training batches, as the engine is served them. The
    test split belongs to promotion, which alone asks for it."""
    digest = hashlib.sha256()
    for split in splits:
        for batch in task.batches(split, fidelity, 64, generator("data hash")):
            digest.update(example_hash(batch).encode())
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


def _own_sources(module: str) -> set[Path]:
    """Files of a module and, through their import statements, of all modules under the same top-level package."""
    top, found, waiting = module.split(".")[0], {}, [module]
    while waiting:
        name = waiting.pop()
        path = None if name in found else _source(name)
        if path:
            found[name] = path
            waiting += [other for other in _imports(path, name) if other.split(".")[0] == top]
            waiting += [name.rpartition(".")[0]] if "." in name else []  # a package's own file runs before its modules
    return set(found.values())


def _source(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    if file:
        return Path(file)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None  # `from a import b` where b is a function
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _imports(path: Path, module: str) -> Iterator[str]:
    is_package = path.name == "__init__.py"
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")[: len(module.split(".")) - node.level + is_package]
                base = ".".join([*parents, base]).strip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
