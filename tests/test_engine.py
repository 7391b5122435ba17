"""The training loop against closed forms, planted faults, and itself interrupted.

Shape suffixes: B batch, I inputs, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from hpo.engine import checkpoint
from hpo.engine.evaluation import evaluate, resolve_device
from hpo.engine.training import Progress, fit
from hpo.errors import Diverged
from hpo.recipe import Recipe
from hpo.schedule import warmup_cosine
from hpo.seeds import derive, generator
from hpo.task import Columns, Fidelity, Held, Moment
from tests.toy import INPUTS, OUTPUTS, Batch, Toy

ONE_BATCH = Fidelity(size=INPUTS, train=16, val=16, epochs=1)
RECIPE = Recipe(lr=0.05, batch_size=16, weight_decay=0.1, warmup=0.0, clip=1e9)


@dataclass(frozen=True)
class Watched(Toy):
    """The toy, with a trace of what the engine asked of it, and its faults planted at given calls of `loss`."""

    scale: float = 1.0  # of the loss
    faults: dict[int, str] = field(default_factory=dict)  # call of loss -> "loss" | "gradient" | "few"
    trace: list = field(default_factory=list, compare=False, repr=False)
    moments: list[Moment] = field(default_factory=list, compare=False, repr=False)
    before: list[Tensor] = field(default_factory=list, compare=False, repr=False)  # weights at every call of loss
    weights: list[Tensor] = field(default_factory=list, compare=False, repr=False)  # after every step taken

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        fault = self.faults.get(len(self.moments))
        self.moments.append(at)
        self.trace.append("forward")
        self.before.append(model.map.weight.detach().clone())
        error = model(batch.x_BI) + self.shift - batch.y_BO
        mse = self.scale * error.square().mean()
        if fault == "loss":
            mse = mse * torch.inf
        if fault in ("gradient", "few"):
            mse = mse + Spoil.apply(model.map.weight, fault)
        return {"mse": mse, "pull": self.pull * model.map.weight.square().mean()}

    def project(self, model: nn.Module) -> None:
        assert not torch.is_grad_enabled()
        self.trace.append("project")
        self.weights.append(model.map.weight.detach().clone())


class Spoil(torch.autograd.Function):
    """Zero, whose gradient is NaN everywhere ("gradient"), or NaN and infinite at one element each ("few")."""

    @staticmethod
    def forward(context, weight: Tensor, fault: str) -> Tensor:
        context.shape, context.fault = weight.shape, fault
        return weight.new_zeros(())

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None]:
        if context.fault == "gradient":
            return gradient * torch.full(context.shape, torch.nan), None
        spoilt = torch.zeros(context.shape)
        spoilt.view(-1)[:3] = torch.tensor([torch.nan, torch.inf, -torch.inf])
        return gradient * 0 + spoilt, None


@dataclass(frozen=True)
class Wide(Watched):
    """A model of 600 elements, so that three spoilt ones are half a percent of its gradient."""

    def model(self) -> nn.Module:
        model = super().model()
        model.map = nn.Linear(INPUTS, 100)
        model.register_parameter("spare", nn.Parameter(torch.zeros(1)))
        return model

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        terms = super().loss(Narrow(model), batch, at)
        return terms | {"spare": 0 * model.spare.sum()}

    def score(self, model: nn.Module, batch: Batch) -> Columns:
        return super().score(lambda x_BI: model(x_BI)[:, :OUTPUTS], batch)


class Narrow(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.map = inner.map

    def forward(self, x_BI: Tensor) -> Tensor:
        return self.inner(x_BI)[:, :OUTPUTS]


@dataclass(frozen=True)
class Grouped(Watched):
    """Weight and bias in groups of their own, each with its rate."""

    weight_rate: float | Held = 1.0
    bias_rate: float | Held = 1.0
    thaw: int = 0  # the epoch before which the bias is frozen

    def groups(self, model: nn.Module) -> dict[str, list[nn.Parameter]]:
        return {"weight": [model.map.weight], "bias": [model.map.bias]}

    def rates(self, at: Moment) -> dict[str, float | Held]:
        return {"weight": self.weight_rate, "bias": self.bias_rate if at.epoch >= self.thaw else 0}


def initial(task: Toy, seed: int = 0) -> nn.Module:
    torch.manual_seed(derive(seed, "model"))
    return task.model()


def batches(task: Toy, fidelity: Fidelity, recipe: Recipe, epoch: int, seed: int = 0) -> list[Batch]:
    return list(task.batches("train", fidelity, recipe.batch_size, generator(seed, "batches", epoch)))


def last(task: Toy, recipe: Recipe, fidelity: Fidelity, **more) -> Progress:
    return list(fit(task, recipe, fidelity, seed=0, device="cpu", **more))[-1]


def clone(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# -- one step ------------------------------------------------------------------------------------------------------
def test_the_first_adamw_step_is_the_closed_form() -> None:
    """Loshchilov & Hutter 2019, alg. 2, at t = 1, where both bias corrections cancel:
    w <- w - lr wd w - lr g / (|g| + eps)."""
    task, model = Toy(pull=0.5), initial(Toy())
    [batch] = batches(task, ONE_BATCH, RECIPE, 0)
    before = clone(model)
    sum(task.loss(model, batch, Moment(0, 1, 0, 1)).values()).backward()
    after = last(task, RECIPE, ONE_BATCH).model
    for name, parameter in model.named_parameters():
        gradient = parameter.grad.double()
        expected = before[name].double() * (1 - 0.05 * 0.1) - 0.05 * gradient / (gradient.abs() + 1e-8)
        assert torch.allclose(after.get_parameter(name).double(), expected, atol=1e-6)


def test_clipping_scales_the_whole_gradient_to_the_norm() -> None:
    """g <- g min(1, clip / |g|), one norm over all parameters; what is logged is the norm before. Seen through the
    optimizer's own hook: AdamW's first step hides a common factor."""
    seen: list[float] = []
    task, recipe = Toy(), replace(RECIPE, clip=0.01)
    model = initial(task)
    [batch] = batches(task, ONE_BATCH, recipe, 0)
    task.loss(model, batch, Moment(0, 1, 0, 1))["mse"].backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))

    def look(optimizer, args, kwargs) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        seen.append(math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients)))

    hook = register_optimizer_step_pre_hook(look)
    try:
        progress = last(task, recipe, ONE_BATCH)
    finally:
        hook.remove()
    assert norm > 0.01
    assert seen == [pytest.approx(0.01, rel=1e-3)]
    assert progress.grad_norm == pytest.approx(norm, rel=1e-5)


def test_a_step_goes_forward_backward_sanitise_clip_step_project_and_the_average_comes_last() -> None:
    task = Wide(faults={1: "few"})
    seen = []

    def look(optimizer, args, kwargs) -> None:
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
        norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
        task.trace.append("step")
        seen.append((bool(torch.isfinite(norm)), float(norm), optimizer.param_groups[0]["lr"]))

    hook = register_optimizer_step_pre_hook(look)
    try:
        fidelity = replace(ONE_BATCH, train=48)
        progress = last(task, replace(RECIPE, clip=0.1, ema=0.5, warmup=0.7), fidelity)
    finally:
        hook.remove()
    assert task.trace == ["forward", "step", "project"] * 3
    for step, (finite, norm, lr) in enumerate(seen):
        assert finite, "sanitised before clipping: else one NaN makes all of them NaN"
        assert norm == pytest.approx(0.1, rel=1e-3), "clipped after sanitising"
        assert lr == 0.05 * warmup_cosine(Moment(0, 1, step, 3), warmup=0.7), "the rate of this step, set before it"
    one, two, three = task.weights
    assert torch.allclose(progress.model.map.weight, 0.5 * (0.5 * one + 0.5 * two) + 0.5 * three, atol=1e-7)


def test_terms_are_named_weighted_and_summed() -> None:
    task, model = Toy(pull=0.5), initial(Toy())
    [batch] = batches(task, ONE_BATCH, RECIPE, 0)
    terms = {name: term.item() for name, term in task.loss(model, batch, Moment(0, 1, 0, 1)).items()}
    progress = last(task, RECIPE, ONE_BATCH)
    assert progress.terms == pytest.approx(terms)
    assert progress.loss == pytest.approx(sum(terms.values()))


def test_a_piece_whose_loss_is_lost_leaves_nothing_of_the_others_behind() -> None:
    """In the second piece the first has been differentiated already; in the first, the second is never computed."""
    runs = []
    for fault in (20, 21):  # the pieces of the eleventh step
        task = Watched(faults={fault: "loss"})
        runs.append(last(task, replace(SHORT_STEPS, accumulate=2), replace(LONG, epochs=1)))
        assert len(task.moments) == (79 if fault == 20 else 80)
        assert runs[-1].steps_skipped == 1
    assert runs[0] == runs[1]
    assert same(runs[0].model.state_dict(), runs[1].model.state_dict())


@pytest.mark.parametrize("train", [16, 13, 3])
def test_accumulation_in_pieces_takes_the_same_step(train: int) -> None:
    """The gradient of a mean is the mean of the pieces' gradients, weighted by their sizes, whole or ragged."""
    fidelity = replace(ONE_BATCH, train=train, epochs=3)
    whole, pieces = (last(Toy(pull=0.3), replace(RECIPE, accumulate=n), fidelity) for n in (1, 4))
    assert pieces.loss == pytest.approx(whole.loss, rel=1e-5)
    assert pieces.grad_norm == pytest.approx(whole.grad_norm, rel=1e-5)
    for name, tensor in whole.model.state_dict().items():
        assert torch.allclose(tensor, pieces.model.state_dict()[name], atol=1e-5)


def test_the_running_average_is_the_closed_form() -> None:
    """a_1 = w_1 and a_k = d a_(k-1) + (1 - d) w_k, over the weights after each step and its projection; it is what is
    scored."""

    class Bounded(Watched):
        def project(self, model: nn.Module) -> None:
            model.map.weight.clamp_(-0.3, 0.3)
            super().project(model)

    task, decay = Bounded(), 0.8
    progress = last(task, replace(RECIPE, ema=decay), replace(ONE_BATCH, train=80, epochs=2))
    expected = task.weights[0].double()
    for weight in task.weights[1:]:
        expected = decay * expected + (1 - decay) * weight.double()
    assert len(task.weights) == 10
    assert max(float(weight.abs().max()) for weight in task.weights) == pytest.approx(0.3), "the projection was at work"
    assert torch.allclose(progress.model.map.weight.double(), expected, atol=1e-6)
    assert progress.scores == evaluate(task, progress.model, task.batches("val", ONE_BATCH, 16, generator("any")))


def test_scores_are_taken_in_eval_mode_without_gradients_and_the_mode_is_put_back() -> None:
    class Looking(Toy):
        def score(self, model, batch):
            seen.append((model.training, torch.is_grad_enabled()))
            return super().score(model, batch)

    task, seen = Looking(dropout=0.5), []
    model = task.model()
    val = list(task.batches("val", ONE_BATCH, 16, generator("any")))
    assert evaluate(task, model, val) == evaluate(task, model, val)
    assert model.training
    model.eval()
    evaluate(task, model, val)
    assert not model.training
    assert seen == [(False, False)] * 3


# -- steps that are not taken --------------------------------------------------------------------------------------
LONG = Fidelity(size=INPUTS, train=40 * 4, val=16, epochs=2)  # 40 batches of 4: two may be skipped an epoch
SHORT_STEPS = replace(RECIPE, batch_size=4, warmup=0.2)


@pytest.mark.parametrize(
    ("fault", "precision"),
    [("loss", "fp32"), ("gradient", "fp32"), ("loss", "fp16"), ("gradient", "fp16"), ("gradient", "bf16")],
)
def test_a_spoilt_step_is_skipped_and_nothing_moves(fault: str, precision: str) -> None:
    """Not the weights (AdamW's decay included), the schedule, or the average; and every batch is accounted for."""
    task = Watched(faults={5: fault, 50: fault}, scale=1e-3)  # small: fp16 would overflow by itself
    recipe = replace(SHORT_STEPS, precision=precision, ema=0.9)
    for progress in fit(task, recipe, LONG, seed=0, device="cpu"):
        assert progress.steps_taken + progress.steps_skipped == progress.batches == 40
        assert progress.steps_skipped == 1
        assert progress.nonfinite == ({} if fault == "loss" else {"map.weight": INPUTS * OUTPUTS})
        assert math.isfinite(progress.loss)
        assert all(bool(torch.isfinite(tensor).all()) for tensor in progress.model.state_dict().values())
    steps = [moment.step for moment in task.moments]
    assert steps == [*range(6), *range(5, 50), *range(49, 78)], "the step after a skipped one has its number"
    assert task.trace[10:13] == ["forward", "forward", "project"]
    assert torch.equal(task.before[6], task.before[5])
    assert not torch.equal(task.before[7], task.before[6])
    average = task.weights[0]
    for weight in task.weights[1:]:
        average = 0.9 * average + 0.1 * weight
    assert len(task.weights) == 78
    assert torch.allclose(progress.model.map.weight, average, atol=1e-5)


def test_in_fp16_the_scaler_itself_skips_the_step_and_halves_its_scale(tmp_path: Path) -> None:
    """unscale_ records the overflow; making the gradients finite afterwards does not make the scaler step."""
    task = Watched(faults={0: "gradient"}, scale=1e-3)
    recipe = replace(SHORT_STEPS, precision="fp16", lr=1e-3)
    last(task, recipe, replace(LONG, epochs=1), resume=tmp_path)
    healthy = tmp_path / "healthy"
    last(Watched(scale=1e-3), recipe, replace(LONG, epochs=1), resume=healthy)
    scales = [checkpoint.newest(folder)["scaler"]["scale"] for folder in (tmp_path, healthy)]
    assert scales == [2.0**15, 2.0**16]
    assert checkpoint.newest(tmp_path)["steps"] == 39
    steps = [float(state["step"]) for state in checkpoint.newest(tmp_path)["optimizer"]["state"].values()]
    assert steps == [39.0, 39.0], "AdamW never saw the spoilt step"


def test_in_fp16_an_overflow_that_only_the_scale_causes_is_searched_away_and_is_no_divergence() -> None:
    """The gradient 65536 * 2 * 300 * error / 8 is above fp16's largest number, 65504; after some halvings it is not.
    With one batch an epoch, whole epochs pass in which no step is taken."""
    fidelity = Fidelity(size=INPUTS, train=4, val=16, epochs=30)
    task = Watched(scale=300.0)
    run = list(fit(task, replace(SHORT_STEPS, precision="fp16"), fidelity, seed=0, device="cpu"))
    skipped = sum(progress.steps_skipped for progress in run)
    assert 3 <= skipped <= 16
    assert [progress.steps_taken + progress.steps_skipped for progress in run] == [1] * 30
    assert math.isnan(run[0].loss), "no step was taken in it, so it has no mean loss"
    assert run[-1].loss < 0.5 * run[skipped].loss


def test_a_few_non_finite_gradient_elements_are_zeroed_counted_and_named() -> None:
    """3 of 701 elements: below MAX_SANITISED, so the step is taken; each first step is lr in size, or 0 for g = 0."""
    task = Wide(faults={0: "few"})
    recipe = replace(RECIPE, weight_decay=0.0)
    before = initial(task).map.weight
    progress = last(task, recipe, ONE_BATCH)
    assert progress.nonfinite == {"map.weight": 3}
    assert progress.steps_taken == 1
    moved = progress.model.map.weight - before
    assert torch.equal(moved.view(-1)[:3], torch.zeros(3)), "NaN, inf and -inf became 0, not huge"
    assert torch.allclose(moved[0, 3:].abs(), torch.tensor(0.05), atol=1e-5)


def test_gradients_whose_norm_overflows_are_not_a_direction() -> None:
    """Each element is finite and the norm is not: clipping by it would take a step of zeros, and log infinity."""
    task = Watched(scale=1e30)
    run = fit(task, RECIPE, replace(ONE_BATCH, train=160), seed=0, device="cpu")
    with pytest.raises(Diverged, match="10 of 10 steps were skipped in epoch 0: the gradient's norm"):
        next(run)
    assert task.weights == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("loss", r"3 of 40 steps were skipped in epoch 0: the loss was inf \(mse = inf\)"),
        ("gradient", r"3 of 40 steps were skipped in epoch 0: gradients were not finite in map.weight"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_too_many_skipped_steps_are_a_divergence_that_says_why(fault: str, precision: str, message: str) -> None:
    task = Watched(faults={3: fault, 17: fault, 30: fault})
    with pytest.raises(Diverged, match=message):
        last(task, replace(SHORT_STEPS, precision=precision), LONG)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_epoch_in_which_every_loss_was_lost_is_a_divergence_even_with_one_batch(precision: str) -> None:
    with pytest.raises(Diverged, match="1 of 1 steps were skipped in epoch 1: the loss was inf"):
        last(Watched(faults={1: "loss"}), replace(RECIPE, precision=precision), replace(ONE_BATCH, epochs=3))


def test_in_fp16_gradients_that_no_scale_can_save_are_a_divergence() -> None:
    task = Watched(faults={call: "gradient" for call in range(200)})
    with pytest.raises(Diverged, match=r"gradients were not finite in map\.weight"):
        last(task, replace(SHORT_STEPS, precision="fp16"), replace(LONG, epochs=5))


def test_a_validation_score_that_is_no_number_is_a_divergence() -> None:
    class Lost(Toy):
        def metrics(self, columns):
            return super().metrics(columns) | {"mse": math.nan}

    with pytest.raises(Diverged, match="the validation score mse was nan after epoch 0"):
        last(Lost(), RECIPE, ONE_BATCH)


# -- rates and groups ----------------------------------------------------------------------------------------------
def test_the_rate_of_every_step_is_warm_up_then_cosine() -> None:
    """One batch an epoch, so that Progress shows each step's rate. Closed form: test_schedule.py."""
    recipe = replace(RECIPE, lr=0.3, warmup=0.2, final_lr=0.1)
    run = fit(Toy(), recipe, replace(ONE_BATCH, epochs=10), seed=0, device="cpu")
    rates = [progress.lr["all"] for progress in run]
    assert rates[:3] == pytest.approx([0.15, 0.3, 0.3])
    assert rates[6] == pytest.approx(0.3 * (0.1 + 0.9 * 0.5))
    assert min(rates) > 0.03


def test_a_frozen_group_is_bit_identical_and_thaws(tmp_path: Path) -> None:
    """Weight decay and AdamW's moments included; the other group trains as always."""
    task = Grouped(thaw=2)
    first = clone(initial(task))
    seen, moments = [], []
    for progress in fit(task, RECIPE, replace(ONE_BATCH, train=64, epochs=4), seed=0, device="cpu", resume=tmp_path):
        seen.append(clone(progress.model))
        states = checkpoint.newest(tmp_path)["optimizer"]["state"].values()
        moments.append([float(state["step"]) for state in states])
    assert moments == [[4], [8], [12, 4], [16, 8]], "no moments are gathered while it is frozen"
    assert [torch.equal(state["map.bias"], first["map.bias"]) for state in seen] == [True, True, False, False]
    assert not torch.equal(seen[0]["map.weight"], first["map.weight"])


def test_a_group_that_freezes_later_stops_dead_though_it_has_momentum() -> None:
    class Freezing(Grouped):
        def rates(self, at: Moment) -> dict[str, float]:
            return {"bias": 1.0 if at.epoch < 2 else 0.0}

    seen = [
        clone(progress.model)["map.bias"]
        for progress in fit(Freezing(), RECIPE, replace(ONE_BATCH, train=64, epochs=4), seed=0, device="cpu")
    ]
    assert not torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])
    assert torch.equal(seen[2], seen[3])


def test_a_rate_may_be_a_tensor_and_a_term_a_number() -> None:
    class Plain(Grouped):
        def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
            return super().loss(model, batch, at) | {"pull": torch.zeros(())}

    class Mixed(Grouped):
        def rates(self, at: Moment) -> dict[str, float | Held]:
            return {"weight": torch.tensor(0.25), "bias": Held(torch.tensor(0.5))}

        def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
            return super().loss(model, batch, at) | {"pull": 0.0}

    expected = last(Plain(weight_rate=0.25, bias_rate=Held(0.5)), RECIPE, ONE_BATCH)
    assert last(Mixed(), RECIPE, ONE_BATCH) == expected


def test_rates_are_factors_and_a_held_rate_is_itself() -> None:
    task = Grouped(weight_rate=0.25, bias_rate=Held(0.007))
    run = list(fit(task, replace(RECIPE, warmup=0.3), replace(ONE_BATCH, epochs=10), seed=0, device="cpu"))
    for step, progress in enumerate(run):
        assert progress.lr["weight"] == 0.05 * warmup_cosine(Moment(step, 10, step, 10), warmup=0.3) * 0.25
        assert progress.lr["bias"] == 0.007


def test_terms_and_rates_that_are_no_numbers_are_refused() -> None:
    class ZeroTerms(Toy):
        def loss(self, model, batch, at):
            return {"mse": 0.0}

    class NoTerm(Toy):
        def loss(self, model, batch, at):
            return super().loss(model, batch, at) | {"pull": None}

    class TwoRates(Toy):
        def rates(self, at):
            return {"all": torch.ones(2)}

    class NegativeRate(Toy):
        def rates(self, at):
            return {"all": -1.0}

    for task, message in (
        (ZeroTerms(), r"ZeroTerms.loss must return a term that depends on parameters that are being trained"),
        (NoTerm(), r"NoTerm.loss returned the term 'pull', which must be a scalar tensor; got None"),
        (TwoRates(), r"TwoRates.rates must give 'all' a finite number of at least 0, or Held of one; got a Tensor"),
        (NegativeRate(), r"NegativeRate.rates must give 'all' a finite number of at least 0, or Held of one; got -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            last(task, RECIPE, ONE_BATCH)


def test_a_task_that_breaks_its_contract_is_told_what_must_hold() -> None:
    class NoGroup(Toy):
        def groups(self, model):
            return {"weight": [model.map.weight]}

    class NoSuchRate(Toy):
        def rates(self, at):
            return {"al": 1.0}

    class Vector(Toy):
        def loss(self, model, batch, at):
            return {"mse": (model(batch.x_BI) - batch.y_BO).square().mean(1)}

    class NoGoal(Toy):
        def metrics(self, columns):
            return {"worst": 1.0}

    class Long(Toy):
        def batches(self, split, fidelity, batch_size, rng):
            yield from super().batches(split, fidelity, batch_size, rng)
            yield from super().batches(split, fidelity, batch_size, rng)

    class Short(Toy):
        def batches(self, split, fidelity, batch_size, rng):
            return iter(())

    for task, message in (
        (NoGroup(), r"NoGroup.groups must hold every trainable parameter exactly once; wrong for \['map.bias'\]"),
        (NoSuchRate(), r"NoSuchRate.rates names no group: \['al'\]; groups: \['all'\]"),
        (Vector(), r"Vector.loss returned the term 'mse', which must be a scalar; got a Tensor of shape \(16,\)"),
        (NoGoal(), r"NoGoal.metrics must contain the goal 'mse'; got \['worst'\]"),
        (Long(), "Long.batches must end after the 16 examples of 'train' that the fidelity asks for, and goes on"),
        (Short(), r"Short.batches must yield 1 batches .*; got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            last(task, RECIPE, ONE_BATCH)


# -- precision, layout, device -------------------------------------------------------------------------------------
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_computes_in_it_keeps_weights_in_fp32_and_learns_alike(precision: str) -> None:
    seen = set()

    class Looking(Watched):
        def loss(self, model, batch, at):
            seen.add(model(batch.x_BI).dtype)
            return super().loss(model, batch, at)

    fidelity = Fidelity(size=INPUTS, train=64, val=64, epochs=10)
    progress = last(Looking(), replace(RECIPE, precision=precision), fidelity)
    full = last(Toy(), RECIPE, fidelity)
    assert seen == {torch.bfloat16 if precision == "bf16" else torch.float16}
    assert {tensor.dtype for tensor in progress.model.state_dict().values()} == {torch.float32}
    assert progress.value != full.value
    assert progress.value == pytest.approx(full.value, rel=0.1)


def test_channels_last_changes_the_layout_and_not_the_result() -> None:
    @dataclass(frozen=True)
    class Image(Toy):
        """The toy's map as a convolution over 2 x 2 pixels that are all alike."""

        channels_first: list = field(default_factory=list, compare=False)

        def model(self) -> nn.Module:
            return nn.Conv2d(INPUTS, OUTPUTS, 2)

        def batches(self, *args) -> Iterator[Batch]:
            for x_BI, y_BO in super().batches(*args):
                yield Batch(x_BI[..., None, None].expand(-1, -1, 2, 2).contiguous(), y_BO)

        def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
            self.channels_first.extend(tensor.is_contiguous() for tensor in (model.weight, batch.x_BI))
            return {"mse": (model(batch.x_BI)[..., 0, 0] - batch.y_BO).square().mean()}

        def score(self, model: nn.Module, batch: Batch) -> Columns:
            return super().score(lambda x_BI: model(x_BI)[..., 0, 0], batch)

    tasks = Image(), Image()
    values = [
        last(task, replace(RECIPE, channels_last=channels_last), replace(ONE_BATCH, epochs=3)).value
        for task, channels_last in zip(tasks, (False, True), strict=True)
    ]
    assert [set(task.channels_first) for task in tasks] == [{True}, {False}]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_auto_is_cuda_where_there_is_one() -> None:
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu").type == "cpu"


# -- same seed, same run -------------------------------------------------------------------------------------------
def test_the_same_seed_is_the_same_run_bit_for_bit_whatever_others_do_to_the_global_generator() -> None:
    task, recipe, fidelity = Toy(dropout=0.3), replace(RECIPE, ema=0.5), replace(ONE_BATCH, train=64, epochs=3)
    runs = []
    for disturb in (False, True):
        torch.manual_seed(7 if disturb else 8)
        epochs = []
        for progress in fit(task, recipe, fidelity, seed=3, device="cpu"):
            epochs.append((progress, clone(progress.model)))
            torch.rand(100 if disturb else 3)
        runs.append(epochs)
    for (one, weights), (other, others) in zip(*runs, strict=True):
        assert one == other
        assert same(weights, others)
    other = list(fit(task, recipe, fidelity, seed=4, device="cpu"))
    assert other[-1] != runs[0][-1][0]


def test_every_epoch_draws_its_own_batches_and_its_own_dropout() -> None:
    task, seen = Toy(), []

    class Looking(Watched):
        def loss(self, model, batch, at):
            seen.append((float(batch.x_BI[0, 0]), float(torch.rand(()))))
            return super().loss(model, batch, at)

    last(Looking(), RECIPE, replace(ONE_BATCH, epochs=4))
    assert len({first for first, _ in seen}) > 1
    assert len({draw for _, draw in seen}) == 4
    assert [batch.x_BI[0, 0] for batch in batches(task, ONE_BATCH, RECIPE, 0)] == [seen[0][0]]


# -- patience ------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Scored(Grouped):
    """Scores that are planted, so that the best epoch is known; everything else is really trained."""

    plan: tuple[float, ...] = ()

    def rates(self, at: Moment) -> dict[str, float | Held]:
        self.trace.append(at.epoch)
        return super().rates(at)

    def metrics(self, columns: Columns) -> dict[str, float | Tensor]:
        real = super().metrics(columns)
        return {"mse": self.plan[self.trace[-1]] if self.trace else 0.0, "real": real["mse"]}

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        terms = super().loss(model, batch, at)
        self.trace.append(at.epoch)
        return terms

    def project(self, model: nn.Module) -> None:
        pass


def test_a_run_stops_when_its_patience_is_out_and_keeps_the_best_weights() -> None:
    task = Scored(plan=(5, 4, 3, 3, 6, 3, 1, 1))
    run, weights = [], []
    for progress in fit(task, replace(RECIPE, patience=3), replace(ONE_BATCH, epochs=8), seed=0, device="cpu"):
        run.append(progress)
        weights.append(clone(progress.model))
    assert [progress.best for progress in run] == [5, 4, 3, 3, 3, 3]
    assert [progress.best_epoch for progress in run] == [0, 1, 2, 2, 2, 2], "an equal score is no better one"
    assert [progress.stopped for progress in run] == [False] * 5 + [True]
    assert same(run[-1].best_weights, weights[2])


# -- resume --------------------------------------------------------------------------------------------------------
EPOCHS = 9
PLAN = (5.0, 4.0, 2.0, 3.0, 1.0, 3.0, 2.0, 1.0, 0.0)  # the best epoch is 4; patience ends the run with epoch 7
EVERYTHING = Recipe(
    lr=0.05, batch_size=8, weight_decay=0.1, warmup=0.2, clip=0.5, precision="fp16", ema=0.7, patience=3, accumulate=2
)
SEVERAL = Fidelity(size=INPUTS, train=60, val=32, epochs=EPOCHS)


def everything() -> Scored:
    """All that a run can carry over an epoch: average, dropout, patience, scaler, a thawing group, skipped steps."""
    return Scored(dropout=0.2, pull=0.1, scale=100.0, thaw=3, plan=PLAN)


def run_through(folder: Path | None = None, stop: int | None = None) -> list[tuple[Progress, dict[str, Tensor]]]:
    run = fit(everything(), EVERYTHING, SEVERAL, seed=5, device="cpu", resume=folder)
    return [(progress, clone(progress.model)) for progress in islice(run, stop)]


@pytest.fixture(scope="module")
def unbroken() -> list[tuple[Progress, dict[str, Tensor]]]:
    return run_through()


def test_the_run_that_is_interrupted_below_has_everything_in_it(unbroken) -> None:
    run = [progress for progress, _ in unbroken]
    assert len(run) == 8
    assert run[-1].stopped
    assert run[-1].best_epoch == 4
    assert sum(progress.steps_skipped for progress in run) >= 3, "the scaler has searched its scale"
    assert sum(progress.steps_skipped for progress in run[1:]) < sum(progress.steps_skipped for progress in run)


@pytest.mark.parametrize("stop", range(1, 9))
def test_a_run_resumed_at_any_epoch_is_the_unbroken_one_bit_for_bit(stop: int, unbroken, tmp_path: Path) -> None:
    run_through(tmp_path, stop)
    resumed = run_through(tmp_path)
    assert [progress for progress, _ in resumed] == [progress for progress, _ in unbroken]
    assert [progress.replayed for progress, _ in resumed] == [True] * stop + [False] * (8 - stop)
    for (_, one), (_, other) in list(zip(resumed, unbroken, strict=True))[stop - 1 :]:
        assert same(one, other)
    assert same(resumed[-1][0].best_weights, unbroken[-1][0].best_weights)
    assert same(checkpoint.newest(tmp_path)["model"], _final(unbroken, tmp_path)["model"])


def _final(unbroken, folder: Path) -> dict:
    other = folder / "other"
    run_through(other)
    return checkpoint.newest(other)


def test_a_run_interrupted_after_every_epoch_is_the_unbroken_one(unbroken, tmp_path: Path) -> None:
    for stop in range(1, 9):
        run_through(tmp_path, stop)
    assert [progress for progress, _ in run_through(tmp_path)] == [progress for progress, _ in unbroken]


@pytest.mark.parametrize("part", ["model", "optimizer", "scaler", "average", "steps", "best_weights", "record"])
def test_every_part_of_the_saved_state_is_needed(part: str, unbroken, tmp_path: Path) -> None:
    """With any part as it was after epoch 0, the run resumed after epoch 5 differs: the test above has teeth."""
    run_through(tmp_path / "early", 1)
    run_through(tmp_path / "late", 6)
    early, late = checkpoint.newest(tmp_path / "early"), checkpoint.newest(tmp_path / "late")
    assert part in late
    if part == "scaler":  # its search was over in epoch 0
        late["scaler"]["scale"] = 2.0**16
    elif part == "record":  # its length is where the run goes on; what it remembers of the best is what can be lost
        late["record"][-1]["best"] = early["record"][-1]["best"]
    else:
        late[part] = early[part]
    checkpoint.save(tmp_path / "broken", 5, late)
    broken = run_through(tmp_path / "broken")
    alike = [progress for progress, _ in broken] == [progress for progress, _ in unbroken]
    assert not (
        alike
        and same(broken[-1][1], unbroken[-1][1])
        and same(broken[-1][0].best_weights, unbroken[-1][0].best_weights)
    )


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(unbroken, tmp_path: Path) -> None:
    run_through(tmp_path, 5)
    newest = max(tmp_path.glob("epoch-*.pt"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    resumed = run_through(tmp_path)
    assert [progress for progress, _ in resumed] == [progress for progress, _ in unbroken]
    assert [progress.replayed for progress, _ in resumed] == [True] * 4 + [False] * 4


def test_a_folder_that_holds_another_run_is_refused(tmp_path: Path) -> None:
    list(fit(Toy(), RECIPE, ONE_BATCH, seed=0, device="cpu", resume=tmp_path))
    for other in (
        fit(Toy(shift=0.1), RECIPE, ONE_BATCH, seed=0, device="cpu", resume=tmp_path),
        fit(Toy(), replace(RECIPE, lr=0.06), ONE_BATCH, seed=0, device="cpu", resume=tmp_path),
        fit(Toy(), RECIPE, replace(ONE_BATCH, epochs=2), seed=0, device="cpu", resume=tmp_path),
        fit(Toy(), RECIPE, ONE_BATCH, seed=1, device="cpu", resume=tmp_path),
    ):
        with pytest.raises(ValueError, match="holds another run"):
            next(other)


# -- recipes -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("lr", 0.0),
        ("lr", -1.0),
        ("lr", math.nan),
        ("lr", math.inf),
        ("lr", "1e-3"),
        ("batch_size", 0),
        ("batch_size", 2.5),
        ("batch_size", True),
        ("weight_decay", -0.1),
        ("weight_decay", math.nan),
        ("weight_decay", math.inf),
        ("betas", (0.9,)),
        ("betas", (0.9, 1.0)),
        ("betas", (-0.1, 0.9)),
        ("betas", (math.nan, 0.9)),
        ("betas", 0.9),
        ("warmup", 1.0),
        ("warmup", -0.1),
        ("warmup", math.nan),
        ("warmup", 5),
        ("optimizer", "adamW"),
        ("optimizer", None),
        ("decay_norms", 0),
        ("eps", 0.0),
        ("eps", math.nan),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("momentum", math.nan),
        ("nesterov", 1),
        ("schedule", "cos"),
        ("schedule", None),
        ("drop", 0.0),
        ("drop", 1.0),
        ("drop_every", 0.0),
        ("drop_every", 1.5),
        ("drop_patience", -1),
        ("drop_patience", 1.5),
        ("final_lr", 1.1),
        ("final_lr", -0.1),
        ("final_lr", math.nan),
        ("clip", 0.0),
        ("clip", math.nan),
        ("precision", "fp8"),
        ("precision", None),
        ("ema", 1.0),
        ("ema", -0.1),
        ("ema", math.nan),
        ("patience", 0),
        ("patience", 1.5),
        ("patience", True),
        ("accumulate", 0),
        ("accumulate", 33),
        ("accumulate", 1.5),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_by_key_given_and_allowed(key: str, given: object) -> None:
    with pytest.raises(ValueError, match=rf"^recipe\.{key} must be .+; got ") as error:
        Recipe(**{key: given})
    assert repr(given) in str(error.value)
