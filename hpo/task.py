"""What is learned and how it is judged. Nothing here trains, and nothing here knows Optuna.

A task is a frozen dataclass: its fields are its hyperparameters. Their defaults are the default configuration, which is
trial 0 of every sweep and is promoted too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hpo.data.batch import example, example_hash, examples_in
from hpo.data.passes import one_pass
from hpo.direction import Direction
from hpo.epoch import Epoch
from hpo.recipe import Recipe

REFERENCE = (
    " (reference)"  # ends the name of a baseline that knows the answer: it is shown, but nobody competes with it
)

Split = Literal["train", "val", "test"]
Status = Literal["go", "caution", "no-go", "skip"]
B = TypeVar("B", bound=NamedTuple)  # a batch: a NamedTuple whose fields hold one entry for each example
T = TypeVar("T", bound="Task[Any]")
Columns = Mapping[str, Tensor]  # what examples came to: columns by name, whose first dimension is the example
Method = Callable[[B], Columns]  # a classical method: what the examples of a batch come to with it


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How much one run may cost. All trials of a sweep have the same fidelity; it is never searched.

    `fixed` sets hyperparameters at this fidelity, whatever a trial drew, by their full names: {"task.range_grid": 241}.
    Raises ValueError where a count is not a whole number of at least 1.
    """

    size: int = 1  # in the task's own unit: pixels a side, grid points (Task.size_unit); 1 where a task has none
    train: int | None = None  # examples an epoch; None: the whole split
    val: int | None = None  # examples in the validation split; None: the whole split
    epochs: int  # of a whole run
    test: int | None = None  # examples in the test split; None: as many as val
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("size", "epochs"):
            _positive(f"Fidelity.{name}", getattr(self, name))
        for name in ("train", "val", "test"):
            if getattr(self, name) is not None:
                _positive(f"Fidelity.{name}", getattr(self, name))

    def limit(self, split: Split) -> int | None:
        """How many examples one pass over `split` yields; None: all that there are, as in `data[:limit]`."""
        if split == "train":
            return self.train
        return self.test if split == "test" and self.test is not None else self.val

    def examples(self, split: Split) -> int:
        """How many examples one pass over `split` yields. Raises ValueError where that is the whole split."""
        limit = self.limit(split)
        if limit is None:
            raise ValueError(
                f"the fidelity asks for the whole {split!r} split, and this task needs a number of examples: write "
                f"Fidelity({split}=...), or let the task use fidelity.limit({split!r}), which may be None"
            )
        return limit


@dataclass(frozen=True)
class Moment:
    """A moment of a run. Steps are optimizer steps that were taken, so a skipped batch does not move a schedule."""

    epoch: int  # from 0
    epochs: int
    step: int  # steps taken so far, over the whole run
    steps: int  # steps of the whole run

    @property
    def fraction(self) -> float:
        """The share of the run that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.steps))


@dataclass(frozen=True)
class Overfit:
    """The overfit check of a task: before money is spent, the default configuration must overfit a small fixed set.

    `measure` is "loss" (the sum of the weighted terms, in eval mode) or the name of a score. At `go` or better the task
    can be learned; worse than `caution` it cannot. Without these two, the loss must fall well below what a constant
    prediction reaches, and the goal must not get worse: that suits any loss whose best value is about 0.

    Nothing is pinned but what would keep a sound model from overfitting: weight decay and the running average of the
    weights are off, and no run ends early. Raises ValueError where only one of `go` and `caution` is given, or neither
    for a score.
    """

    go: float | None = None  # this value of the measure, or a better one, is a go
    caution: float | None = None  # a worse one than this is a no-go
    measure: str = "loss"  # or the name of a score
    samples: int = 512  # examples in the set; the full training split, where that has fewer
    epochs: int = 30  # without `go`, more of them where they have too few steps
    pinned: Mapping[str, Any] = field(default_factory=dict)  # {"recipe.lr": 4e-3, "task.dropout": 0.0}
    size: int | None = None  # None: the size of the study's cheap fidelity
    start: tuple[float, float] | None = None  # the range that the untrained loss must lie in; None: any finite loss

    def __post_init__(self) -> None:
        if (self.go is None) != (self.caution is None):
            raise ValueError(f"Overfit: give both go and caution, or neither; got {self.go!r} and {self.caution!r}")
        if self.go is None and self.measure != "loss":
            raise ValueError(f"Overfit.measure: without go and caution it must be 'loss'; got {self.measure!r}")

    @property
    def direction(self) -> Direction:
        """Which way the measure improves: `go` is never worse than `caution`."""
        if self.go is None or self.caution is None or self.go <= self.caution:
            return Direction.MINIMIZE
        return Direction.MAXIMIZE

    def check_direction(self, goal: str, direction: Direction) -> None:
        """Raise ValueError where the bands want the loss to rise, or the goal to get worse."""
        improves = {goal: direction, "loss": Direction.MINIMIZE}.get(self.measure, self.direction)
        if self.go == self.caution or improves is self.direction:
            return
        bound = "below" if improves is Direction.MINIMIZE else "above"
        raise ValueError(
            f"task.overfit: {self.measure} is to be {improves.value}d, so go must lie {bound} caution; "
            f"got go={self.go:g} and caution={self.caution:g}"
        )


@dataclass(frozen=True)
class Check:
    """One go/no-go condition: what was seen, what is allowed, and where to look if it fails."""

    name: str
    status: Status
    seen: str
    allowed: str
    look_at: str = ""


StateName = Literal["complete", "pruned", "failed", "running", "paused", "waiting"]


@dataclass(frozen=True)
class SweptTrial:
    """A trial of the sweep, as the checks of a task see it."""

    number: int
    state: StateName
    value: float | None  # None unless the trial is complete
    params: Mapping[str, Any]
    epochs: int  # how many epochs it reported
    reason: str = ""  # why it was pruned, or why it failed


@dataclass(frozen=True)
class Evidence:
    """What a task's own checks may look at. What has not been measured at a stage is empty."""

    stage: Literal["preflight", "promotion"]
    scores: Mapping[str, float] = field(default_factory=dict)  # preflight: of the overfit run; promotion: winner, test
    history: tuple[Epoch, ...] = ()  # preflight: of the overfit run; promotion: of the winner's best run
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # promotion: scores on test, by name
    trials: tuple[SweptTrial, ...] = ()  # promotion: the trials of the sweep


@dataclass(frozen=True)
class Picture:
    """A row of images for the report."""

    title: str
    panels: Mapping[str, np.ndarray]  # label -> [H, W, 3], uint8
    caption: str = ""


@dataclass(frozen=True)
class Chart:
    """A plotly figure for the report, as its JSON (`figure.to_json()`)."""

    title: str
    figure_json: str
    caption: str = ""


class Task(ABC, Generic[B]):
    """What is learned and how it is judged. Subclass it as a frozen dataclass and define the four abstract methods."""

    goal: ClassVar[str]  # the score that is optimised: one of metrics()
    direction: ClassVar[Literal["minimize", "maximize"]]  # which way the goal improves
    size_unit: ClassVar[str] = ""  # what Fidelity.size counts: "pixels", "grid points"; empty: the task has no size
    inputs: ClassVar[tuple[str, ...]]  # batch fields that the model may see; the overfit check zeroes them
    labels: ClassVar[tuple[str, ...]]  # batch fields that only loss and score may see; the overfit check shuffles them
    overfit: ClassVar[Overfit] = Overfit()  # what the overfit check must come to
    cluster: ClassVar[str | None] = None  # batch field whose equal values belong together; None: each example alone
    folds: ClassVar[int] = 1  # values of the field `fold`: each tests on other clusters, all validate on the same
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}  # what a score cannot leave: {"accuracy": (0, 1)}
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # a task is a dataclass: fields() and replace() take it

    @abstractmethod
    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[B]:
        """Yield one pass over `split`, on the CPU.

        That is ceil(fidelity.examples(split) / batch_size) batches, of which the last may be shorter; where the
        fidelity asks for the whole split, any number. The fields of a batch are tensors or arrays whose first dimension
        is the example, lists or tuples with one item for each example, dicts of such, or None.

        The same state of `rng` gives the same batches. A random transform may also draw from the global generators of
        torch, numpy and Python, which are seeded before each pass. On "val" and "test", examples and their order depend
        on neither `rng` nor `batch_size`. Worker processes of a DataLoader may be used.
        """

    @abstractmethod
    def model(self) -> nn.Module:
        """Return a fresh model. The engine seeds the global generators of torch, numpy and Python before each call.

        Lazy modules get their shapes from the loss of a training batch. What training changes must be a parameter, a
        buffer, or returned by get_extra_state(): it is lost otherwise, and preflight says so.
        """

    @abstractmethod
    def loss(self, model: nn.Module, batch: B, at: Moment) -> Mapping[str, Tensor | float]:
        """Return the terms of the loss by name: scalars with their weights applied; a term that is off may be 0.0.

        The engine minimises their sum, and logs each of them.
        """

    @abstractmethod
    def score(self, model: nn.Module, batch: B) -> Columns:
        """Return what each example of a batch came to: columns by name, whose first dimension is the example.

        A row depends on nothing but its example. Finer things go inside it: sums and counts, NaN where there is
        nothing, arrays. The model is in eval mode, and gradients are off.
        """

    # -- defaults that most tasks keep -------------------------------------------------------------------------
    def metrics(self, columns: Columns) -> Mapping[str, float | Tensor]:
        """Return the scores of a split, or of any part of it, from its rows; `goal` is among them.

        The columns are those of `score`, on the CPU, with floating-point ones in double precision. By default each
        column of one dimension gives a score of its name: its mean.
        """
        return means(columns)

    def from_data(self, fidelity: Fidelity) -> Self:
        """Return this task with the fields that follow from its training data: a vocabulary, a number of features.

        That is `replace(self, vocabulary=...)`: the fields travel in the winner's card, and so it is loaded without the
        data. The same task and fidelity give the same fields. None of them may be searched.
        """
        return self

    def files(self) -> Iterable[Path]:
        """Return the files that the examples of all splits come from, or folders of such; none where that is not known.

        Their content is what a study's data is known by then, and no batch is read for that. A file is read once, and
        again where its size or its times have changed; hidden files of a folder do not count. Name all that `batches`
        reads, labels and lists too: a change of what is left out is not noticed.
        """
        return ()

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        """Return the parameters by learning-rate group; every trainable parameter is in exactly one of them."""
        return {"all": list(model.parameters())}

    def optimizer(self, groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.Optimizer | None:
        """Return an optimizer of these groups; None means the one that the recipe names.

        A group is what torch takes: its "params", its "name" from `groups()`, and its "weight_decay". The optimizer
        must keep the names and all the parameters, as `torch.optim.SGD(groups, lr=recipe.lr)` does. The schedule and
        `rates()` multiply the learning rate that each group is given here. Its state_dict() is saved with the run: it
        must hold tensors and plain values alone.
        """
        return None

    def rates(self, at: Moment) -> dict[str, float | Held]:
        """Return the factor on the learning rate of each group at a moment.

        A group that is not named has the factor 1, and 0 freezes a group. `Held(lr)` is the learning rate itself,
        outside the common schedule.
        """
        return {}

    def project(self, model: nn.Module) -> None:
        """Put the parameters back into their allowed set. Called after every step that is taken, without gradients."""

    def baselines(self, fidelity: Fidelity) -> Mapping[str, Method[B]]:
        """Return the classical methods by name, each as a function from a batch to columns.

        The columns are those that `metrics` needs for the goal. A method that learns takes its training examples from
        `self.batches("train", fidelity, ...)` here. A method with settings of its own is a `Tuned`: promotion chooses
        them on training examples. A name that ends in REFERENCE is a bound that knows the answer: it is shown, but it
        does not compete.
        """
        return {}

    def pictures(self, model: nn.Module, batches: Iterable[B]) -> Iterator[Picture | Chart]:
        """Yield what the report shows of a trained model on these batches."""
        return iter(())

    def rescored(self) -> Mapping[str, Sequence[Any]]:
        """Return the inference-only hyperparameters by full name, each with the settings to choose from.

        Promotion chooses among them on the validation split after full training, in this order.
        """
        return {}

    def checks(self, evidence: Evidence) -> list[Check]:
        """Return the task's own go/no-go conditions at a stage."""
        return []

    def origins(self, split: Split, fidelity: Fidelity) -> set[str]:
        """Return content hashes of the things that the examples of a split come from; no two splits may share one.

        By default these are the inputs of each example, and preflight looks for near copies among them too. Override it
        where examples are cut from larger things (two crops of one photograph differ, and still leak), and where
        augmentation makes training examples differ so much from epoch to epoch that a copy cannot be told.
        """
        rng = torch.Generator().manual_seed(0)
        return {
            example_hash([example(getattr(batch, name), row) for name in self.inputs])
            for batch in one_pass(self, split, fidelity, 64, rng)
            for row in range(examples_in(batch))
        }


@dataclass(frozen=True)
class Held:
    """A learning rate that the common schedule does not change."""

    lr: float


def in_fold(task: T, run: int) -> T:
    """Return the task as a run of a promotion has it: run r is tested on fold r, and starts again after the last."""
    return replace(task, fold=run % task.folds) if task.folds > 1 else task


def means(columns: Columns) -> dict[str, float]:
    """Return the mean of each column of one dimension, by name."""
    return {name: float(column.double().mean()) for name, column in columns.items() if column.dim() == 1}


def _positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
