"""What the fields of a batch may hold, and how they are counted, cut, moved and hashed.

A field is a tensor or a numpy array whose first dimension is the example, a list or tuple with one item for each
example, a dict or NamedTuple of such, or None. Nested and sparse tensors are tensors.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard, TypeVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from hashlib import _Hash

BatchT = TypeVar("BatchT", bound=NamedTuple)

ALLOWED = "a tensor, a list or an array with one item for each example, a dict of such, or None"


def examples_in(batch: object) -> int:
    """How many examples a batch has: the length of its first tensor, or of its first list where it has no tensor.

    Raises ValueError where it has neither.
    """
    lists = []
    for leaf in _leaves(batch):
        if isinstance(leaf, Tensor) and leaf.dim() > 0:
            return leaf.size(0)
        if isinstance(leaf, list | tuple) or (isinstance(leaf, np.ndarray) and leaf.ndim > 0):
            lists.append(len(leaf))
    if not lists:
        raise ValueError(f"a batch needs a tensor or a list with one item for each example; got {type(batch).__name__}")
    return lists[0]


def rows(value: Any, chosen: slice) -> Any:
    """The same batch, or field, with these examples alone."""
    if isinstance(value, Tensor):
        return _tensor_rows(value, chosen)
    return _rebuilt(value, lambda field: rows(field, chosen), lambda items: items[chosen])


def pieces(batch: BatchT, count: int) -> list[BatchT]:
    """The batch in at most `count` pieces of neighbouring examples, of equal size but for the last."""
    if count == 1:
        return [batch]
    examples = examples_in(batch)
    size = math.ceil(examples / count)
    return [rows(batch, slice(start, start + size)) for start in range(0, examples, size)]


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same batch, or field, with every tensor in it changed, also those inside lists and dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, np.ndarray):
        return value
    return _rebuilt(
        value,
        lambda field: map_tensors(change, field),
        lambda items: type(items)(map_tensors(change, item) for item in items),
    )


def tensors_in(value: object) -> Iterator[Tensor]:
    """Every tensor of a batch or field, also those inside lists and dicts. Nested ones are given part by part."""
    for leaf in _leaves(value):
        if isinstance(leaf, Tensor):
            yield from _dense_parts(leaf)
        elif isinstance(leaf, list | tuple):
            for item in leaf:
                yield from tensors_in(item)


def misfits(name: str, value: object, examples: int) -> Iterator[str]:
    """Why a field cannot be part of a batch of so many examples; nothing where it can."""
    if isinstance(value, MutableMapping):
        for key, item in value.items():
            yield from misfits(f"{name}[{key!r}]", item, examples)
    elif _is_named_tuple(value):
        for key, item in zip(value._fields, value, strict=True):
            yield from misfits(f"{name}.{key}", item, examples)
    elif isinstance(value, Tensor):
        if value.dim() == 0 or value.size(0) != examples:
            yield f"{name} must be a tensor whose first dimension is the {examples} examples"
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0):
        if len(value) != examples:
            yield f"{name} must have one item for each of the {examples} examples; it has {len(value)}"
    elif value is not None:
        yield f"{name} must be {ALLOWED}; it is of type {type(value).__name__}"


def example_hash(fields: Iterable[object]) -> str:
    """Return the sha256 of the fields' contents, as hex digits: of tensors the bytes, shapes and dtypes.

    Text, numbers, arrays, lists, dicts and dataclasses count with what they hold, other things with their type alone.
    """
    digest = hashlib.sha256()
    for field in fields:
        _feed(digest, field)
    return digest.hexdigest()


def example(value: object, row: int) -> Any:
    """One example of a batch or of a field."""
    if isinstance(value, MutableMapping):
        return {key: example(item, row) for key, item in value.items()}
    if _is_named_tuple(value):
        return [example(item, row) for item in value]
    return value[row] if isinstance(value, Tensor | list | tuple | np.ndarray) else value


def same_but_for_padding(a: object, b: object) -> bool:
    """Whether two examples are the same, where one may come from a batch that was padded further.

    Padding is what the smaller one lacks, and has one value throughout.
    """
    if isinstance(a, MutableMapping) and isinstance(b, MutableMapping):
        return a.keys() == b.keys() and all(same_but_for_padding(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same_but_for_padding, a, b))
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape != b.shape and a.dim() == b.dim():
        common = tuple(slice(min(sizes)) for sizes in zip(a.shape, b.shape, strict=True))
        is_padded = _is_padding(a, common) and _is_padding(b, common)
        return is_padded and example_hash([a[common]]) == example_hash([b[common]])
    return example_hash([a]) == example_hash([b])


def without_padding(value: Any) -> Any:
    """The same example without the zeros that fill its tensors up to the size of the batch's largest example.

    Tensors of one shape that differ still differ after it. Padding with another value stays.
    """
    if isinstance(value, MutableMapping):
        return {key: without_padding(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_padding(item) for item in value]
    return _trimmed(value) if isinstance(value, Tensor) else value


# -- by kind of field ------------------------------------------------------------------------------------------------
def _is_named_tuple(value: object) -> TypeGuard[NamedTuple]:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _leaves(value: object) -> Iterator[object]:
    """The fields of a batch, those of dicts and NamedTuples inside it one by one."""
    if isinstance(value, MutableMapping):
        for item in value.values():
            yield from _leaves(item)
    elif _is_named_tuple(value):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _rebuilt(value: Any, change: Callable[[Any], Any], change_items: Callable[[Any], Any]) -> Any:
    """A dict or NamedTuple with its fields changed, or a list or array with its items changed; others as they are."""
    if isinstance(value, MutableMapping):
        changed = copy.copy(value)  # whatever mapping it is: a tokenizer's has methods of its own
        for key, item in value.items():
            changed[key] = change(item)
        return changed
    if _is_named_tuple(value):
        return value._make(change(item) for item in value)
    return change_items(value) if isinstance(value, list | tuple | np.ndarray) else value


def _tensor_rows(tensor: Tensor, chosen: slice) -> Tensor:
    if tensor.is_nested:  # torch cannot slice these along the examples
        return torch.nested.as_nested_tensor(list(tensor.unbind()[chosen]), layout=tensor.layout)
    if tensor.layout != torch.strided:
        return tensor.index_select(0, torch.arange(*chosen.indices(tensor.size(0)), device=tensor.device))
    return tensor[chosen]


def _is_padding(tensor: Tensor, kept: tuple[slice, ...]) -> bool:
    """Whether all that is not kept has one value."""
    outside = torch.ones(tensor.shape, dtype=torch.bool)
    outside[kept] = False
    values = tensor[outside]
    return bool((values == values[:1]).all())


def _trimmed(tensor: Tensor) -> Tensor:
    """The tensor without what is zero to the end of a dimension."""
    if tensor.is_nested or tensor.layout != torch.strided or not tensor.numel():
        return tensor
    for dimension in range(tensor.dim()):
        if not tensor.select(dimension, -1).any():
            used = tensor.movedim(dimension, 0).flatten(1).any(1) if tensor.dim() > 1 else tensor != 0
            size = int(used.nonzero().max()) + 1 if used.any() else 0
            tensor = tensor.narrow(dimension, 0, size)
        if not tensor.numel():
            return tensor
    return tensor


def _dense_parts(tensor: Tensor) -> tuple[Tensor, ...]:
    if tensor.is_nested:
        return tensor.unbind()
    return (tensor if tensor.layout == torch.strided else tensor.to_dense(),)


def _feed(digest: _Hash, value: object) -> None:
    """Add a value to a digest, so that values that differ add different bytes."""
    if isinstance(value, Tensor):
        for part in _dense_parts(value):
            _feed(digest, _array(part))
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, MutableMapping):
        for key in sorted(value, key=repr):
            _feed(digest, repr(key))
            _feed(digest, value[key])
    elif isinstance(value, list | tuple | np.ndarray):
        digest.update(f"{len(value)} items".encode())
        for item in value:
            _feed(digest, item)
    elif isinstance(value, str | bytes | bool | int | float | complex | np.generic | None):
        digest.update(f"{type(value).__name__}{value!r}".encode())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _feed(digest, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    else:
        digest.update(type(value).__qualname__.encode())


def _array(tensor: Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous().resolve_conj().resolve_neg()
    if tensor.dtype.is_floating_point and tensor.dtype.itemsize < 4 and tensor.dtype != torch.float16:
        return tensor.view(torch.int16 if tensor.dtype.itemsize == 2 else torch.uint8).numpy()  # numpy has no bfloat16
    return tensor.numpy()
