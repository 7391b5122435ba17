"""A model before and after training: the one that a run starts from, its running average, and a copy of its state."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hpo.contract.returned import checked_terms, made_model
from hpo.data.passes import seed_globals
from hpo.errors import one_line
from hpo.seeds import derive
from hpo.task import Moment, Task

Tensors = tuple[Tensor, ...] | list[Tensor]
UNKNOWN_TO_SAFETENSORS = (torch.complex128, torch.complex32)
START = Moment(epoch=0, epochs=1, step=0, steps=1)


def initial_model(task: Task[Any], seed: int, first_batch: Callable[[], NamedTuple]) -> nn.Module:
    """The model that a run with this seed starts from, on the CPU.

    Lazy modules get their shapes from the loss of `first_batch()`, a training batch, which is asked for only where
    there are some. Raises ValueError where that loss does not reach one of them.
    """
    seed_globals(derive(seed, "model"))
    model = made_model(task)
    if _lazy_names(model):
        batch = first_batch()
        seed_globals(derive(seed, "model"))
        _give_shapes(task, model, batch)
    return model


def _give_shapes(task: Task[Any], model: nn.Module, batch: NamedTuple) -> None:
    for training in (False, True):  # in eval mode no dropout is drawn and no statistics move
        model.train(training)
        with torch.no_grad():
            checked_terms(task, task.loss(model, batch, START))
        if not _lazy_names(model):
            return
    raise ValueError(
        f"{type(task).__name__}.model() has lazy modules that the loss of a training batch does not reach, so their "
        f"shapes stay unknown: {_lazy_names(model)[:5]}"
    )


def _lazy_names(model: nn.Module) -> list[str]:
    named = itertools.chain(model.named_parameters(), model.named_buffers())
    return [name for name, tensor in named if is_lazy(tensor)]


class RunningAverage(AveragedModel):
    """The exponential running average of a model: average <- decay * average + (1 - decay) * model, after every step.

    Only dense floating-point and complex tensors are averaged. Other tensors, such as counts, indices and masks, and
    the extra state of modules are copied. The first update copies everything. Raises ValueError for a model that cannot
    be copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

        def update(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
            pairs = list(zip(averages, current, strict=True))
            averaged = [pair for pair in pairs if _can_be_averaged(pair[0])]
            if averaged:
                average(*zip(*averaged, strict=True), count)
            for copied, tensor in pairs:
                if not _can_be_averaged(copied):
                    copied.copy_(tensor)

        try:
            super().__init__(model, multi_avg_fn=update, use_buffers=True)
        except RuntimeError as error:  # as of torch.nn.utils.weight_norm, which its parametrization has replaced
            raise ValueError(f"recipe.ema needs a model that copy.deepcopy can copy: {one_line(error)}") from error
        self.with_extra_state = parts_with_extra_state(self.module)

    def update_parameters(self, model: nn.Module) -> None:
        super().update_parameters(model)
        for name, part in self.with_extra_state.items():
            part.set_extra_state(copy.deepcopy(model.get_submodule(name).get_extra_state()))


def _can_be_averaged(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and (tensor.is_floating_point() or tensor.is_complex())


def parts_with_extra_state(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of a model that have a get_extra_state() of their own, by name."""
    return {
        name: part
        for name, part in model.named_modules()
        if type(part).get_extra_state is not nn.Module.get_extra_state
    }


def copied_to_cpu(model: nn.Module) -> dict[str, Any]:
    """A copy of the model's state dict, on the CPU.

    Its values are tensors, and what get_extra_state() of a module returns. Raises ValueError where that is something
    that no file of weights can hold.
    """
    return {name: _copied(name, value) for name, value in model.state_dict().items()}


def _copied(name: str, value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.dtype in UNKNOWN_TO_SAFETENSORS or value.is_quantized:
            raise ValueError(
                f"the model's state_dict() holds {name!r} as {value.dtype} in the layout {value.layout}, which no file "
                f"of weights can hold; what model() makes alike every time may be registered with persistent=False"
            )
        return value.detach().cpu().clone()
    if isinstance(value, dict) and all(isinstance(key, bool | int | float | str | None) for key in value):
        return {key: _copied(name, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(name, item) for item in value)
    if isinstance(value, bool | int | float | str | None):
        return value
    raise ValueError(
        f"the model's state_dict() holds a {type(value).__name__} in {name!r}; get_extra_state() must return tensors, "
        f"numbers, strings, booleans and None, or lists, tuples and dicts of them"
    )
