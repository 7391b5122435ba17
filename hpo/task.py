"""What is learned and how it is judged: nouns only. No training, no Optuna.

A task is a frozen dataclass: its fields are its hyperparameters, and their defaults are the baseline that
every study starts from and every promotion is measured against.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hpo.epoch import Epoch

REFERENCE = " (reference)"  # ends the name of a baseline that knows the answer: it is shown, and is no rival

Split = Literal["train", "val", "test"]
Status = Literal["go", "caution", "no-go", "skip"]
B = TypeVar("B", bound=NamedTuple)  # a batch: a NamedTuple of tensors whose first dimension is the example


@dataclass(frozen=True)
class Fidelity:
    """How much one run may cost. A study's trials share one; it is never searched.

    `fixed` pins hyperparameters whatever a trial drew, by their full names: {"task.range_grid": 241}.
    """

    size: int  # in the task's own unit: pixels a side, grid points (Task.size_unit)
    train: int  # examples an epoch
    val: int  # examples in the validation split
    epochs: int
    test: int | None = None  # examples in the test split; None: as many as val
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("size", "train", "val", "epochs"):
            _positive(f"Fidelity.{name}", getattr(self, name))
        if self.test is not None:
            _positive("Fidelity.test", self.test)

    def examples(self, split: Split) -> int:
        """How many examples one pass over `split` serves."""
        if split == "test":
            return self.val if self.test is None else self.test
        return self.train if split == "train" else self.val


@dataclass(frozen=True)
class Moment:
    """Where in a run we are. Steps count optimizer steps taken, so a skipped batch does not move a schedule."""

    epoch: int  # from 0
    epochs: int
    step: int  # steps taken so far, over the whole run
    steps: int  # steps of the whole run

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.steps))


@dataclass(frozen=True)
class Overfit:
    """The proof that a task owes before money is spent: learn a small fixed set by heart.

    `measure` is "loss" (the weighted sum, in eval mode) or the name of a score. Whether more or less of it is
    better follows from the two bands: at `go` or better the task can be learned, worse than `caution` it cannot.
    """

    go: float
    caution: float
    measure: str = "loss"
    samples: int = 512
    epochs: int = 30
    pinned: Mapping[str, Any] = field(default_factory=dict)  # {"recipe.lr": 4e-3, "task.dropout": 0.0}
    size: int | None = None  # None: the size of the study's cheap fidelity
    start: tuple[float, float] | None = None  # where the untrained loss must lie, if that is known

    def verdict(self, value: float) -> Status:
        """ "go", "caution" or "no-go" for a measured value; NaN is "no-go"."""
        sign = 1.0 if self.go <= self.caution else -1.0
        if sign * value <= sign * self.go:
            return "go"
        return "caution" if sign * value <= sign * self.caution else "no-go"


@dataclass(frozen=True)
class Check:
    """One go/no-go condition: what was seen, what is allowed, and where to look when it fails."""

    name: str
    status: Status
    seen: str
    allowed: str
    look_at: str = ""


StateName = Literal["complete", "pruned", "failed", "running", "waiting"]


@dataclass(frozen=True)
class SweptTrial:
    """A trial of the sweep, as a task's checks see it."""

    number: int
    state: StateName
    value: float | None  # None where it was not completed
    params: Mapping[str, Any]
    epochs: int  # that it reported
    reason: str = ""  # why it was pruned or failed


@dataclass(frozen=True)
class Evidence:
    """What a task's own checks may look at. What a stage has not measured is empty."""

    stage: Literal["preflight", "promotion"]
    scores: Mapping[str, float] = field(default_factory=dict)  # preflight: overfit run; promotion: winner on test
    history: tuple[Epoch, ...] = ()  # of the same run
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    trials: tuple[SweptTrial, ...] = ()  # promotion: those of the sweep


@dataclass(frozen=True)
class Picture:
    """A row of images for the report. Panels: label -> array [H, W, 3], uint8."""

    title: str
    panels: Mapping[str, np.ndarray]
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A plotly figure for the report, as its JSON (`figure.to_json()`)."""

    title: str
    figure_json: str
    caption: str = ""


class Task(ABC, Generic[B]):
    """Four methods, and a few with defaults. Subclass as a frozen dataclass."""

    goal: ClassVar[str]  # the score that is optimised: a mean over examples
    direction: ClassVar[Literal["minimize", "maximize"]]
    size_unit: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]  # batch fields that the model may see: preflight zeroes them
    labels: ClassVar[tuple[str, ...]]  # batch fields that only loss and score may see: preflight shuffles them
    overfit: ClassVar[Overfit]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # a task is a dataclass: fields() and replace() take it

    @abstractmethod
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[B]:
        """One pass over `split`: ceil(fidelity.examples(split) / batch_size) batches on the CPU, the last one
        perhaps shorter. Same rng state, same batches. For val and test neither the order nor the examples
        depend on batch_size."""

    @abstractmethod
    def model(self) -> nn.Module:
        """A fresh model. The engine has seeded torch before it asks."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: B, at: Moment) -> dict[str, Tensor]:
        """Weighted scalar terms; the engine descends their sum and logs each."""

    @abstractmethod
    def score(self, model: nn.Module, batches: Iterable[B]) -> dict[str, float]:
        """Everything worth reporting; one is `goal`. The model is in eval mode, gradients are off."""

    # -- defaults that most tasks keep -------------------------------------------------------------------------
    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Parameters by learning-rate group; every trainable parameter in exactly one."""
        return {"all": list(model.parameters())}

    def rates(self, at: Moment) -> dict[str, float | Held]:
        """Learning-rate factor of each group at a moment; a group not named has 1, and 0 freezes it.
        `Held(lr)` is that rate itself, outside the common schedule."""
        return {}

    def project(self, model: nn.Module) -> None:
        """Called without gradients after every step taken: put parameters back into their allowed set."""

    def baselines(self, batches: Iterable[B]) -> dict[str, dict[str, float]]:
        """Classical methods by name, with the same scores on the same batches. A name that ends in REFERENCE is a bound
        rather than a rival."""
        return {}

    def pictures(self, model: nn.Module, batches: Iterable[B]) -> Iterator[Picture | Chart]:
        """What people would rather look at than read."""
        return iter(())

    def rescored(self) -> Mapping[str, Sequence[Any]]:
        """Hyperparameters that inference alone reads, by full name, with settings to choose from on validation after
        full training; in this order."""
        return {}

    def checks(self, evidence: Evidence) -> list[Check]:
        """The task's own go/no-go conditions at a stage."""
        return []

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        """Content hashes of the things that a split's examples come from; splits must share none.

        By default the inputs of each example themselves. Override where examples are cut from larger things:
        two crops of one photograph differ, and still leak.
        """
        rng = torch.Generator().manual_seed(0)
        return {
            example_hash([getattr(batch, name)[row] for name in self.inputs])
            for batch in self.batches(split, fidelity, 64, rng)
            for row in range(len(batch[0]))
        }


@dataclass(frozen=True)
class Held:
    """A learning rate that the common schedule does not touch."""

    lr: float


def example_hash(tensors: Iterable[Tensor]) -> str:
    """sha256 over the bytes of the tensors, with their shapes and dtypes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
