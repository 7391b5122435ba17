"""What `batches` of a task must yield, looked at batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from hpo.code.place import broken, described
from hpo.data.batch import examples_in, misfits

if TYPE_CHECKING:
    from hpo.task import Task


def iterator_of(task: Task[Any], batches: object) -> Iterator[object]:
    """An iterator over what `batches` returned. Raises ContractError where there is none."""
    if not isinstance(batches, Iterable):
        raise broken(task, "batches", f"must yield batches; got {described(batches)}")
    return iter(batches)


def checked_batch(task: Task[Any], batch: object, batches: Iterator[object]) -> NamedTuple:
    """A batch that `batches` has just yielded.

    Raises ContractError unless it is a NamedTuple, and each field can be part of a batch of as many examples.
    """
    if not _is_batch(batch):
        must = "must yield NamedTuples of tensors, such as Batch(x, y) with `class Batch(NamedTuple)`"
        raise broken(task, "batches", f"{must}; got {described(batch)}", _yielding_line(batches))
    fault = next(_faults(batch), None)
    if fault is not None:
        raise broken(task, "batches", f"yields a batch that cannot be used: {fault}", _yielding_line(batches))
    return batch


def _faults(batch: NamedTuple) -> Iterator[str]:
    try:
        examples = examples_in(batch)
    except ValueError as error:
        yield str(error)
        return
    for name, field in zip(batch._fields, batch, strict=True):
        yield from misfits(name, field, examples)


def _is_batch(batch: object) -> TypeGuard[NamedTuple]:
    return isinstance(batch, tuple) and bool(getattr(batch, "_fields", ()))


def _yielding_line(batches: object) -> str:
    """Where a generator has just yielded; "" for other iterators."""
    if isinstance(batches, GeneratorType) and batches.gi_frame is not None:
        return f"{batches.gi_code.co_filename}:{batches.gi_frame.f_lineno}"
    return ""
