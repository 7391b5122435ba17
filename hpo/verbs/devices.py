"""Which devices this machine has, and whether what is asked for is among them."""

from __future__ import annotations

import os

import torch

from hpo.errors import Refused
from hpo.study import StudySpec


def check_device(device: str) -> None:
    """Raise Refused unless `device` is auto, cpu, or a CUDA device of this machine."""
    kind, _, index = device.partition(":")
    known = device in ("auto", "cpu", "cuda") or (kind == "cuda" and index.isdecimal())
    if not known:
        raise Refused(f"--device: must be auto, cpu, cuda or cuda:N; got {device!r}")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise Refused(f"--device {device}: this machine has {torch.cuda.device_count() or 'no'} CUDA devices")


def check_shared(count: int, study: StudySpec, *, device: str, backend: str) -> None:
    """Raise Refused unless `count` devices of this machine, or processes, can share each run of a promotion."""
    if count == 1:
        return
    if backend == "dask":
        raise Refused("--devices: shares a run among devices of this machine; leave --backend dask out")
    if device.startswith("cuda:"):
        raise Refused(f"--devices {count}: takes the first {count} devices; give --device cuda, got {device}")
    if device != "cpu" and 0 < torch.cuda.device_count() < count:
        raise Refused(f"--devices {count}: this machine has {torch.cuda.device_count()} CUDA devices")
    task = type(study.task)
    if task.__module__ == "__main__":
        raise Refused(
            f"--devices {count}: its processes import the task, and {task.__name__} is defined in a notebook or a "
            "script; move it into a module and import it from there, or leave --devices out"
        )


def places(device: str) -> int:
    """How many trials have a place of their own on this machine: a GPU each, or a core each."""
    if device.startswith("cuda:"):
        return 1
    gpus = 0 if device == "cpu" else torch.cuda.device_count()
    return gpus or len(os.sched_getaffinity(0))
