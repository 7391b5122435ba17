"""The state dict of a model as safetensors, a format that cannot hold code.

Tensors are written as they are. What a module's get_extra_state() adds (numbers, strings, lists, dicts) is JSON in the
file's metadata, and the tensors in it are written beside the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from hpo.files import write_whole

WEIGHTS = "weights.safetensors"
EXTRA_STATE = "extra_state"  # the key in the metadata
HEADER_LENGTH = 8  # bytes at the start of a file that say how long its header is


def packed(weights: Mapping[str, Any]) -> bytes:
    """A state dict as the bytes of a safetensors file. Tensors that share memory, such as tied weights, are copied."""
    tensors: dict[str, Tensor] = {}
    forms = {name: _form(name, value, tensors) for name, value in weights.items()}
    extra_state = {name: form for name, form in forms.items() if not isinstance(weights[name], Tensor)}
    metadata = {EXTRA_STATE: json.dumps(extra_state)} if extra_state else None
    return safetensors.torch.save(tensors, metadata)


def unpacked(content: bytes) -> dict[str, Any]:
    """The state dict that `packed` was given."""
    tensors = safetensors.torch.load(content)
    end = HEADER_LENGTH + int.from_bytes(content[:HEADER_LENGTH], "little")
    metadata = json.loads(content[HEADER_LENGTH:end]).get("__metadata__", {})
    extra_state = {name: _value(form, tensors) for name, form in json.loads(metadata.get(EXTRA_STATE, "{}")).items()}
    return {**tensors, **extra_state}


def write_weights(folder: Path, weights: Mapping[str, Any]) -> None:
    """Write a state dict into a folder, whole or not at all."""
    write_whole(folder / WEIGHTS, packed(weights))


def _form(name: str, value: Any, tensors: dict[str, Tensor]) -> Any:
    """A value as JSON can hold it. Puts tensors into `tensors` and leaves their names in their places."""
    if isinstance(value, Tensor):
        tensors[name] = torch.clone(value.detach(), memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[key, _form(f"{name}[{key!r}]", item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_form(f"{name}[{index}]", item, tensors) for index, item in enumerate(value)]}
    return value


def _value(form: Any, tensors: dict[str, Tensor]) -> Any:
    """The value of a form; takes its tensors out of `tensors`."""
    if not isinstance(form, dict):
        return form
    [(kind, content)] = form.items()
    if kind == "tensor":
        return tensors.pop(content)
    if kind == "dict":
        return {key: _value(item, tensors) for key, item in content}
    items = [_value(item, tensors) for item in content]
    return tuple(items) if kind == "tuple" else items
