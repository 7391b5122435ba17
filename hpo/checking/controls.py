"""How controls change a batch, whatever its fields hold."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from hpo.task import Task


def filled(field: Any, items: list[Any]) -> Any:
    """A field like this one with other examples in it, which may come from batches that were padded otherwise."""
    if isinstance(field, Tensor):
        if field.is_nested:
            return torch.nested.as_nested_tensor(items, layout=field.layout)
        stacked = torch.stack([_fitted(item.to_dense(), field.shape[1:]) for item in items])
        return stacked if field.layout == torch.strided else stacked.to_sparse()
    if isinstance(field, MutableMapping):
        return {key: filled(value, [item[key] for item in items]) for key, value in field.items()}
    if isinstance(field, tuple) and hasattr(field, "_make"):
        return field._make(filled(value, [item[index] for item in items]) for index, value in enumerate(field))
    if isinstance(field, np.ndarray):
        return np.stack(items) if field.dtype != object else np.fromiter(items, dtype=object)
    return type(field)(items) if isinstance(field, list | tuple) else field


def without_inputs(task: Task[Any], batch: NamedTuple) -> NamedTuple:
    """The batch with nothing in the task's inputs that tells examples apart."""
    return batch._replace(**{name: zeroed(getattr(batch, name)) for name in task.inputs})


def zeroed(field: Any) -> Any:
    """The same field with nothing in it that tells examples apart: zeros, or one text for all."""
    if isinstance(field, Tensor):
        return torch.zeros_like(field)
    if isinstance(field, MutableMapping):
        return {key: zeroed(value) for key, value in field.items()}
    if isinstance(field, tuple) and hasattr(field, "_make"):
        return field._make(zeroed(value) for value in field)
    if isinstance(field, np.ndarray):
        return np.zeros_like(field) if field.dtype != object else np.full_like(field, field[0])
    if isinstance(field, list | tuple):
        return type(field)(_zeroed_item(item, field[0]) for item in field)
    return field


def _zeroed_item(item: Any, first: Any) -> Any:
    """An item of a list: a tensor keeps its shape."""
    return zeroed(item) if isinstance(item, Tensor | np.ndarray | MutableMapping) else first


def _fitted(item: Tensor, shape: torch.Size) -> Tensor:
    """The item cut to a shape, or repeated until it fills it."""
    for dim, size in enumerate(shape):
        if item.size(dim) == 0 and size > 0:
            return item.new_zeros(shape)
        if item.size(dim) != size:
            item = item.index_select(dim, torch.arange(size) % max(1, item.size(dim)))
    return item
