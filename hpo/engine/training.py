"""The one training loop, a generator: it trains an epoch and yields a Progress. Whoever iterates decides what that
means. It has no callbacks and does not know that Optuna exists.

One step: forward (named, weighted terms) -> finite? -> backward -> unscale -> non-finite gradients made finite, counted
and named -> clip -> optimizer step -> EMA. The schedule is a function of the steps *taken*, so it cannot move without
one.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hpo.direction import Direction
from hpo.engine import checkpoint, distributed
from hpo.engine.evaluation import autocast, evaluate, place, resolve_device
from hpo.engine.gradients import sanitise
from hpo.epoch import Epoch
from hpo.errors import Diverged
from hpo.plain import plain, without_place
from hpo.recipe import Recipe
from hpo.schedule import warmup_cosine
from hpo.seeds import derive, generator
from hpo.task import Fidelity, Held, Moment, Task

MAX_SANITISED = 0.01  # share of a step's gradient elements that may be made finite; above it the step is skipped
MAX_SKIPPED = 0.05  # share of an epoch's steps that may be skipped before the run counts as diverged


@dataclass(frozen=True)
class Progress(Epoch):
    """An epoch, and the live model."""

    replayed: bool = field(compare=False)  # from the record of an earlier, interrupted call
    model: nn.Module = field(compare=False, repr=False)  # what was scored; replayed epochs share the resumed one
    best_weights: Mapping[str, Tensor] = field(compare=False, repr=False)  # state dict of the best epoch, on the CPU

    @property
    def record(self) -> Epoch:
        """The epoch alone: keeping it keeps no model."""
        return Epoch(**{name: getattr(self, name) for name in _EPOCH_FIELDS})


_EPOCH_FIELDS = tuple(field.name for field in fields(Epoch))


def fit(
    task: Task,
    recipe: Recipe,
    fidelity: Fidelity,
    *,
    seed: int,
    device: str = "auto",
    resume: Path | None = None,
) -> Iterator[Progress]:
    """Train `task` and yield a Progress an epoch.

    With `resume`, a folder, the state is saved there after every epoch, before it is yielded, and a later call with
    the same arguments yields the recorded epochs again and goes on after them. On the CPU the result is the same bit
    for bit, resumed or not.

    Reseeds torch's global generator at the start and before every epoch.

    Raises Diverged when the run has left the finite numbers, and ValueError when the task breaks its contract or
    `resume` holds another run.
    """
    run = _Run(task, recipe, fidelity, seed, resolve_device(device))
    identity = json.dumps([without_place(task), plain(recipe), plain(fidelity), seed, run.device.type])
    saved = checkpoint.newest(resume) if resume else None
    if saved:
        if saved.get("identity") != identity:
            raise ValueError(f"{resume} holds another run: {saved.get('identity')}; asked for: {identity}")
        run.load(saved)
        yield from run.replay()
    for epoch in range(len(run.record), fidelity.epochs):
        if run.record and run.record[-1].stopped:
            return
        run.epoch(epoch)
        if resume and distributed.rank() == 0:
            checkpoint.save(resume, epoch, {"identity": identity, **run.state()})
        yield run.progress(epoch, replayed=False)


class _Run:
    """The moving parts of one run: model, optimizer, scaler, average, and the record of its epochs."""

    def __init__(self, task: Task, recipe: Recipe, fidelity: Fidelity, seed: int, device: torch.device) -> None:
        self.task, self.recipe, self.fidelity, self.seed, self.device = task, recipe, fidelity, seed, device
        torch.manual_seed(derive(seed, "model"))
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        # torch takes the layout, and its overloads leave it out
        self.model = task.model().to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.groups = _checked_groups(task, self.model)
        self.optimizer = torch.optim.AdamW(
            [{"params": parameters, "name": name} for name, parameters in self.groups.items()],
            lr=recipe.lr,
            betas=recipe.betas,
            weight_decay=recipe.weight_decay,
            fused=device.type == "cuda",
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.average = (
            AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
            if recipe.ema
            else None
        )
        self.batches = math.ceil(fidelity.train / recipe.batch_size)
        self.steps = 0
        self.record: list[Epoch] = []
        self.best_weights: dict[str, Tensor] = {}

    @property
    def scored(self) -> nn.Module:
        """What is evaluated and kept: the running average where there is one."""
        return self.average.module if self.average else self.model

    def epoch(self, epoch: int) -> None:
        """Train one epoch, score it, and append its record."""
        started = time.perf_counter()
        torch.manual_seed(derive(self.seed, "epoch", epoch, *distributed.seed_parts()))
        totals = _Totals()
        self.model.train()
        for batch in self.task.batches(
            "train", self.fidelity, self.recipe.batch_size, generator(self.seed, "batches", epoch)
        ):
            self._expect(totals.taken + totals.skipped < self.batches, "more")
            self._step(self._place(batch), epoch, totals)
        self._expect(totals.taken + totals.skipped == self.batches, totals.taken + totals.skipped)
        self._check_skipped(totals, epoch)
        distributed.agree(self.model, self.average)
        scores = distributed.agreed(
            evaluate(self.task, self.scored, self._validation(), precision=self.recipe.precision)
        )
        self._conclude(epoch, totals, scores, time.perf_counter() - started)

    def _step(self, batch: NamedTuple, epoch: int, totals: _Totals) -> None:
        at = Moment(epoch, self.fidelity.epochs, self.steps, self.batches * self.fidelity.epochs)
        self._set_rates(at, totals)
        terms = self._backward(batch, at)
        loss = sum(terms.values())
        if not math.isfinite(loss):
            self.optimizer.zero_grad(set_to_none=True)
            totals.skip(f"the loss was {loss} ({_worst(terms)})")
            return
        distributed.sum_gradients(self.model)
        self.scaler.unscale_(self.optimizer)
        bad = sanitise(self.model)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip))
        taken = self._descend(bad, norm)
        self.optimizer.zero_grad(set_to_none=True)
        if not taken:
            reason = f"gradients were not finite in {', '.join(bad)}" if bad else f"the gradient's norm was {norm}"
            totals.skip(reason, bad, forgiven=self._searching())
            return
        self.steps += 1
        with torch.no_grad():
            self.task.project(self.model)
        if self.average:
            self.average.update_parameters(self.model)
        totals.take(terms, norm, bad)

    def _backward(self, batch: NamedTuple, at: Moment) -> dict[str, float]:
        """Gradients of the summed terms, in `accumulate` pieces; the terms as numbers. A non-finite loss is not
        differentiated. Of several ranks, each has the gradients of its share, and all have the terms of the whole."""
        summed: dict[str, float] = {}
        mine, weight = distributed.share(batch)
        size = len(mine[0])
        pieces = [mine] if self.recipe.accumulate == 1 else _pieces(mine, self.recipe.accumulate)
        for piece in pieces:
            share = weight * len(piece[0]) / size
            with autocast(self.device, self.recipe.precision):
                terms = self.task.loss(self.model, piece, at)
            weighted = torch.stack([_scalar(name, term).float() for name, term in terms.items()]) * share
            for name, value in zip(terms, weighted.tolist(), strict=True):  # one read from the device for all terms
                summed[name] = summed.get(name, 0.0) + value
            if not math.isfinite(sum(summed.values())):
                break
            self.scaler.scale(weighted.sum()).backward()
        return distributed.total(summed, self.device)

    def _descend(self, bad: Mapping[str, int], norm: float) -> bool:
        """Take the step, unless its gradients were not worth it. In fp16 the scaler skips by itself: it has seen the
        overflow in unscale_, and making gradients finite afterwards does not hide it."""
        elements = sum(p.grad.numel() for p in self.model.parameters() if p.grad is not None)
        too_many = not self.scaler.is_enabled() and sum(bad.values()) > MAX_SANITISED * elements
        worth_it = math.isfinite(norm) and not too_many
        if worth_it:
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return worth_it and not (self.scaler.is_enabled() and bad)

    def _searching(self) -> bool:
        """Whether fp16 is still looking for its scale: an overflow that a smaller one may cure is no divergence."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1

    def _set_rates(self, at: Moment, totals: _Totals) -> None:
        common = self.recipe.lr * warmup_cosine(at, warmup=self.recipe.warmup, final=self.recipe.final_lr)
        rates = self.task.rates(at)
        unknown = set(rates) - set(self.groups)
        if unknown:
            raise ValueError(
                f"{type(self.task).__name__}.rates names no group: {sorted(unknown)}; groups: {sorted(self.groups)}"
            )
        for group in self.optimizer.param_groups:
            rate = rates.get(group["name"], 1.0)
            group["lr"] = rate.lr if isinstance(rate, Held) else common * rate
            totals.lr[group["name"]] = group["lr"]
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0)  # frozen: no gradient, no weight decay, no moments

    def _place(self, batch: NamedTuple) -> NamedTuple:
        return place(batch, self.device, channels_last=self.recipe.channels_last)

    def _validation(self) -> Iterator[NamedTuple]:
        rng = generator("validation")  # the same for every trial of every study
        for batch in self.task.batches("val", self.fidelity, self.recipe.batch_size, rng):
            yield self._place(batch)

    def _expect(self, holds: bool, got: object) -> None:
        if not holds:
            raise ValueError(
                f"{type(self.task).__name__}.batches must yield {self.batches} batches an epoch (train="
                f"{self.fidelity.train}, batch_size={self.recipe.batch_size}); got {got}"
            )

    def _check_skipped(self, totals: _Totals, epoch: int) -> None:
        if totals.blamed > max(1, MAX_SKIPPED * self.batches) or (totals.blamed and not totals.taken):
            raise Diverged(f"{totals.skipped} of {self.batches} steps were skipped in epoch {epoch}: {totals.reason}")

    def _conclude(self, epoch: int, totals: _Totals, scores: dict[str, float], seconds: float) -> None:
        value = scores[self.task.goal]
        if not math.isfinite(value):
            raise Diverged(f"the validation score {self.task.goal} was {value} after epoch {epoch}")
        direction = Direction(self.task.direction)
        before = self.record[-1] if self.record else None
        improved = before is None or direction.better(value, before.best)
        if improved:
            self.best_weights = {
                name: tensor.detach().cpu().clone() for name, tensor in self.scored.state_dict().items()
            }
        best, best_epoch = (value, epoch) if before is None or improved else (before.best, before.best_epoch)
        patience = self.recipe.patience
        self.record.append(
            Epoch(
                epoch=epoch,
                loss=totals.mean_loss,
                terms=totals.mean_terms,
                scores=scores,
                value=value,
                best=best,
                best_epoch=best_epoch,
                batches=self.batches,
                steps_taken=totals.taken,
                steps_skipped=totals.skipped,
                nonfinite=dict(totals.nonfinite),
                grad_norm=totals.mean_norm,
                lr=totals.lr,
                seconds=seconds,
                stopped=patience is not None and epoch - best_epoch >= patience,
            )
        )

    def progress(self, epoch: int, *, replayed: bool) -> Progress:
        return Progress(
            **copy.deepcopy(vars(self.record[epoch])),
            replayed=replayed,
            model=self.scored,
            best_weights=self.best_weights,
        )

    def replay(self) -> Iterator[Progress]:
        for epoch in range(len(self.record)):
            yield self.progress(epoch, replayed=True)

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on. No random state: every epoch seeds itself."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "steps": self.steps,
            "record": [dict(vars(epoch)) for epoch in self.record],
            "best_weights": self.best_weights,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average:
            self.average.load_state_dict(saved["average"])
        self.steps, self.best_weights = saved["steps"], saved["best_weights"]
        self.record = [Epoch(**epoch) for epoch in saved["record"]]


class _Totals:
    """Sums over the steps of one epoch."""

    def __init__(self) -> None:
        self.taken = self.skipped = self.blamed = 0
        self.terms: defaultdict[str, float] = defaultdict(float)
        self.nonfinite: Counter[str] = Counter()
        self.norm = 0.0
        self.reason = ""
        self.lr: dict[str, float] = {}

    def take(self, terms: Mapping[str, float], norm: float, nonfinite: Mapping[str, int]) -> None:
        self.taken += 1
        for name, value in terms.items():
            self.terms[name] += value
        self.norm += norm
        self.nonfinite.update(nonfinite)

    def skip(self, reason: str, nonfinite: Mapping[str, int] | None = None, *, forgiven: bool = False) -> None:
        self.skipped += 1
        self.nonfinite.update(nonfinite or {})
        if not forgiven:
            self.blamed += 1
            self.reason = self.reason or reason

    @property
    def mean_terms(self) -> dict[str, float]:
        return {name: value / max(1, self.taken) for name, value in self.terms.items()}

    @property
    def mean_loss(self) -> float:
        return sum(self.mean_terms.values()) if self.taken else math.nan

    @property
    def mean_norm(self) -> float:
        return self.norm / max(1, self.taken)


def _pieces(batch: NamedTuple, count: int) -> list[NamedTuple]:
    return [type(batch)(*piece) for piece in zip(*(tensor.chunk(count) for tensor in batch), strict=True)]


def _scalar(name: str, term: Tensor) -> Tensor:
    if term.dim() != 0:
        raise ValueError(f"loss term {name!r} must be a scalar; got shape {tuple(term.shape)}")
    return term


def _worst(terms: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in terms.items() if not math.isfinite(value)) or "the sum"


def _checked_groups(task: Task, model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The task's groups, every trainable parameter in exactly one."""
    groups = {name: [p for p in parameters if p.requires_grad] for name, parameters in task.groups(model).items()}
    seen = Counter(id(parameter) for parameters in groups.values() for parameter in parameters)
    wrong = [name for name, p in model.named_parameters() if p.requires_grad and seen[id(p)] != 1]
    if wrong:
        raise ValueError(
            f"{type(task).__name__}.groups must hold every trainable parameter exactly once; wrong for {wrong[:5]}"
        )
    return groups
