"""The memory of a model's pass, by torch's dispatch mode, which stands in a private module of torch."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class HeldBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it untyped
    """Inside `with`, counts the bytes of the tensors that are alive at one time, on any device.

    `before` are the tensors that are there already.
    """

    def __init__(self, before: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self.held = 0
        self.most = 0
        self._count(before)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        self._count(leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
        return result

    def _count(self, tensors: Iterable[Tensor]) -> None:
        """Count the storages that are new: a view has that of its base."""
        for tensor in tensors:
            if tensor.layout is not torch.strided:
                continue
            storage = tensor.untyped_storage()
            if storage not in self._known:
                self._known.add(storage)
                self.held += storage.nbytes()
                weakref.finalize(storage, self._free, storage.nbytes())
        self.most = max(self.most, self.held)

    def _free(self, size: int) -> None:
        self.held -= size
