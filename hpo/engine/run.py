"""The moving parts of one training run, and what one epoch does to them.

One step: forward (named, weighted terms) -> finite? -> backward -> unscale -> non-finite gradients made finite, counted
and named -> clip -> optimizer step -> EMA. The schedule is a function of the steps *taken*, so it cannot move without
one.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from hpo.code.place import broken
from hpo.contract.returned import checked_groups, checked_rates, checked_terms
from hpo.data.batch import examples_in, pieces
from hpo.data.passes import batches_an_epoch, one_pass, seed_globals
from hpo.direction import Direction
from hpo.engine import distributed
from hpo.engine.evaluation import autocast, evaluate, evaluating, judge_batch, place, scores_of
from hpo.engine.gradients import densify, sanitise
from hpo.engine.model import RunningAverage, copied_to_cpu, initial_model
from hpo.engine.optimizers import optimizer_of
from hpo.engine.rows import join
from hpo.engine.totals import StepTotals
from hpo.epoch import Epoch
from hpo.errors import Diverged
from hpo.recipe import Recipe
from hpo.schedule import rate_factor
from hpo.seeds import derive, generator
from hpo.task import Fidelity, Held, Moment, Task

MAX_SANITISED = 0.01  # share of a step's gradient elements that may be made finite; above it the step is skipped
MAX_SKIPPED = 0.05  # share of an epoch's steps that may be skipped before the run counts as diverged


class Run:
    """Model, optimizer, loss scaler, running average, and the record of the epochs so far."""

    def __init__(self, task: Task[Any], recipe: Recipe, fidelity: Fidelity, seed: int, device: torch.device) -> None:
        self.task, self.recipe, self.fidelity, self.seed, self.device = task, recipe, fidelity, seed, device
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        model = initial_model(task, seed, lambda: next(self._training_batches(0)))
        # torch takes the layout, and its overloads leave it out
        self.model = model.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.groups = _checked_groups(task, self.model)
        self.optimizer = optimizer_of(task, recipe, self.model, self.groups, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.average = RunningAverage(self.model, recipe.ema) if recipe.ema else None
        self.batches = batches_an_epoch(task, fidelity, recipe.batch_size, self._order(0))
        self.steps = 0
        self.record: list[Epoch] = []
        self.best_weights: dict[str, Any] = {}

    @property
    def scored(self) -> nn.Module:
        """What is evaluated and kept: the running average where there is one."""
        return self.average.module if self.average else self.model

    def train_epoch(self, number: int) -> Epoch:
        """Train one epoch, score it, and append it to the record. Raises Diverged."""
        started = time.perf_counter()
        totals = self.train_pass(number)
        self._check_skipped(totals, number)
        distributed.agree(self.model, self.average)
        scores = distributed.agreed(self._validate())
        self.record.append(self._conclude(number, totals, scores, time.perf_counter() - started))
        return self.record[-1]

    def train_pass(self, number: int) -> StepTotals:
        """Take the steps of one epoch, and score nothing."""
        seed_globals(derive(self.seed, "epoch", number, *distributed.seed_parts()))
        totals = StepTotals()
        self.model.train()
        for batch in self._training_batches(number):
            self._require_count(totals.batches < self.batches, "more")
            self.step(self.place(batch), number, totals)
        self._require_count(totals.batches == self.batches, totals.batches)
        return totals

    def rescore(self, weights: Mapping[str, Any]) -> dict[str, float]:
        """The validation scores of this run's model with these weights, on this rank alone."""
        self.scored.load_state_dict(weights)
        batches = one_pass(self.task, "val", self.fidelity, self.recipe.batch_size, generator("validation"))
        return evaluate(self.task, self.scored, map(self.place, batches), precision=self.recipe.precision)

    # -- one step ----------------------------------------------------------------------------------------------------
    def step(self, batch: NamedTuple, epoch: int, totals: StepTotals) -> None:
        at = Moment(epoch, self.fidelity.epochs, self.steps, self.batches * self.fidelity.epochs)
        self._set_rates(at, totals)
        terms = self._backward(batch, at)
        loss = sum(terms.values())
        if not math.isfinite(loss):
            self.optimizer.zero_grad(set_to_none=True)
            totals.skip(f"the loss was {loss} ({_nonfinite_terms(terms)})")
            return
        densify(self.model)
        distributed.sum_gradients(self.model)
        self.scaler.unscale_(self.optimizer)
        nonfinite = sanitise(self.model)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip))
        taken = self._descend(nonfinite, norm)
        self.optimizer.zero_grad(set_to_none=True)
        if not taken:
            named = f"gradients were not finite in {', '.join(nonfinite)}"
            reason = named if nonfinite else f"the gradient's norm was {norm}"
            totals.skip(reason, nonfinite, expected=self._finding_loss_scale())
            return
        self.steps += 1
        with torch.no_grad():
            self.task.project(self.model)
        if self.average:
            self.average.update_parameters(self.model)
        totals.take(terms, norm, nonfinite)

    def _backward(self, batch: NamedTuple, at: Moment) -> dict[str, float]:
        """Compute the gradients of the summed terms, in `accumulate` pieces; return the terms as numbers.

        A non-finite loss is not differentiated. Of several ranks, each has the gradients of its share of the batch,
        and all return the terms of the whole batch.
        """
        summed: dict[str, float] = {}
        share = distributed.share(batch)
        examples = examples_in(share.batch)
        for piece in pieces(share.batch, self.recipe.accumulate):
            weight = share.weight * examples_in(piece) / examples
            with autocast(self.device, self.recipe.precision):
                terms = checked_terms(self.task, self.task.loss(self.model, piece, at))
            weighted = torch.stack([term.float() for term in terms.values()]) * weight
            for name, value in zip(terms, weighted.tolist(), strict=True):  # one read from the device for all terms
                summed[name] = summed.get(name, 0.0) + value
            if not math.isfinite(sum(summed.values())):
                break
            self.scaler.scale(weighted.sum()).backward()  # type: ignore[no-untyped-call]
        return distributed.total(summed, self.device)

    def _descend(self, nonfinite: Mapping[str, int], norm: float) -> bool:
        """Take the step, unless its gradients cannot be used; return whether it was taken.

        In fp16 the scaler skips by itself: it has seen the overflow in unscale_, and making gradients finite
        afterwards does not hide it.
        """
        elements = sum(p.grad.numel() for p in self.model.parameters() if p.grad is not None)
        too_many = not self.scaler.is_enabled() and sum(nonfinite.values()) > MAX_SANITISED * elements
        usable = math.isfinite(norm) and not too_many
        if usable:
            self.scaler.step(self.optimizer)
        self.scaler.update()
        overflowed = self.scaler.is_enabled() and bool(nonfinite)
        return usable and not overflowed

    def _finding_loss_scale(self) -> bool:
        """Whether fp16 is still looking for its scale: an overflow that a smaller one may cure is no divergence."""
        return self.scaler.is_enabled() and self.scaler.get_scale() >= 1

    def _set_rates(self, at: Moment, totals: StepTotals) -> None:
        factor = rate_factor(self.recipe, at, self.record, Direction(self.task.direction))
        rates = checked_rates(self.task, self.task.rates(at), self.groups)
        for group in self.optimizer.param_groups:
            rate = rates.get(group["name"], 1.0)
            group["lr"] = rate.lr if isinstance(rate, Held) else group["initial_lr"] * factor * rate
            totals.lr[group["name"]] = group["lr"]
            for parameter in group["params"]:
                parameter.requires_grad_(group["lr"] > 0)  # frozen: no gradient, no weight decay, no moments

    # -- batches -----------------------------------------------------------------------------------------------------
    def _training_batches(self, epoch: int) -> Iterator[NamedTuple]:
        return one_pass(self.task, "train", self.fidelity, self.recipe.batch_size, self._order(epoch))

    def _order(self, epoch: int) -> torch.Generator:
        """What an epoch's batches and their order derive from."""
        return generator(self.seed, "batches", epoch)

    def _validate(self) -> dict[str, float]:
        """The scores on validation. Of several ranks, each judges every n-th batch, and all have the same scores."""
        rng = generator("validation")  # the same for every trial of every study
        batches = one_pass(self.task, "val", self.fidelity, self.recipe.batch_size, rng)
        with evaluating(self.scored, self.recipe.precision):
            own = [judge_batch(self.task, self.scored, self.place(batch)) for batch in distributed.own(batches)]
        return scores_of(self.task, join(distributed.interleaved(own)).columns)

    def place(self, batch: NamedTuple) -> NamedTuple:
        return place(batch, self.device, channels_last=self.recipe.channels_last)

    def _require_count(self, holds: bool, got: object) -> None:
        """Raise ValueError unless it holds, or the whole split is trained on: its epochs may differ in length."""
        if not holds and self.fidelity.limit("train") is not None:
            counts = f"train={self.fidelity.train}, batch_size={self.recipe.batch_size}"
            must = f"must yield {self.batches} batches an epoch ({counts}); got {got}"
            raise broken(self.task, "batches", must)

    # -- the end of an epoch -----------------------------------------------------------------------------------------
    def _check_skipped(self, totals: StepTotals, epoch: int) -> None:
        """Raise Diverged where too many steps were skipped, or all of them."""
        too_many = totals.unexpected_skips > max(1, MAX_SKIPPED * totals.batches)
        if too_many or (totals.unexpected_skips and not totals.taken):
            raise Diverged(f"{totals.skipped} of {totals.batches} steps were skipped in epoch {epoch}: {totals.reason}")

    def _conclude(self, number: int, totals: StepTotals, scores: dict[str, float], seconds: float) -> Epoch:
        """The epoch's record; keeps the weights where they are the best so far. Raises Diverged."""
        value = scores[self.task.goal]
        if not math.isfinite(value):
            raise Diverged(f"the validation score {self.task.goal} was {value} after epoch {number}")
        before = self.record[-1] if self.record else None
        if before is None or Direction(self.task.direction).better(value, before.best):
            best, best_epoch = value, number
            self.best_weights = copied_to_cpu(self.scored)
        else:
            best, best_epoch = before.best, before.best_epoch
        patience = self.recipe.patience
        return Epoch(
            epoch=number,
            loss=totals.mean_loss,
            terms=totals.mean_terms,
            scores=scores,
            value=value,
            best=best,
            best_epoch=best_epoch,
            batches=totals.batches,
            steps_taken=totals.taken,
            steps_skipped=totals.skipped,
            nonfinite=dict(totals.nonfinite),
            grad_norm=totals.mean_norm,
            lr=totals.lr,
            seconds=seconds,
            stopped=patience is not None and number - best_epoch >= patience,
        )

    # -- saved and loaded --------------------------------------------------------------------------------------------
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
        """Go on from a state."""
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average:
            self.average.load_state_dict(saved["average"])
        self.steps = saved["steps"]
        self.record = [Epoch(**epoch) for epoch in saved["record"]]
        self.best_weights = saved["best_weights"]


def _nonfinite_terms(terms: Mapping[str, float]) -> str:
    """The terms at fault; "the sum" where each of them is finite."""
    named = [f"{name} = {value}" for name, value in terms.items() if not math.isfinite(value)]
    return ", ".join(named) or "the sum"


def _checked_groups(task: Task[Any], model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trainable parameters of the task's groups. Raises ValueError unless each is in exactly one group."""
    named = checked_groups(task, model)
    groups = {name: [p for p in parameters if p.requires_grad] for name, parameters in named.items()}
    occurrences = Counter(id(parameter) for parameters in groups.values() for parameter in parameters)
    if not occurrences:
        raise ValueError(f"{type(task).__name__}.model() must have a parameter that can be trained; it has none")
    wrong = [name for name, p in model.named_parameters() if p.requires_grad and occurrences[id(p)] != 1]
    if wrong:
        raise broken(task, "groups", f"must hold every trainable parameter exactly once; wrong for {wrong[:5]}")
    return groups
