"""What is used of torch beside its public interface. Read in torch 2.13; tests/test_private.py fails when it goes.

torch's optimizers import its compiler when they are made, only to tell it what it must not compile. That takes a second
of every process, and nobody may want to compile anything.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

COMPILER = "torch._dynamo"
STEP = "_use_grad"  # the function around the step of each optimizer of torch's
KEPT_FROM_COMPILER = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")


@functools.cache  # once a process
def leave_out_compiler() -> None:
    """Let torch's optimizers work without the compiler, until somebody else imports it. Their numbers are the same."""
    for name in KEPT_FROM_COMPILER:
        method: Any = vars(Optimizer).get(name)
        if hasattr(method, "__wrapped__"):
            setattr(Optimizer, name, _unless_compiled(method, method.__wrapped__))
    kinds: list[Any] = [kind for kind in vars(torch.optim).values() if isinstance(kind, type)]
    for kind in kinds:
        step = vars(kind).get("step")
        if is_kept_from_compiler(step):
            kind.step = _unless_compiled(step, _with_grad_mode(step.__wrapped__))


def is_kept_from_compiler(step: Any) -> bool:
    """Whether it is the step of an optimizer of torch's, as torch has made it."""
    return getattr(getattr(step, "__code__", None), "co_name", "") == STEP and hasattr(step, "__wrapped__")


def _unless_compiled(method: Callable[..., Any], direct: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        chosen = method if COMPILER in sys.modules else direct
        return chosen(*args, **kwargs)

    return called


def _with_grad_mode(step: Callable[..., Any]) -> Callable[..., Any]:
    """The step as torch takes it: with gradients where the optimizer is differentiable, and else without."""

    def taken(optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        with torch.set_grad_enabled(optimizer.defaults["differentiable"]):
            return step(optimizer, *args, **kwargs)

    return taken
