"""`fit` in fp32, bf16 and fp16 with its scaler, with a running average, accumulation and clipping, against the truth.

The task is linear, y = A x + noise. A and the noise are known, so the least possible error is known too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from hpo.engine.training import fit
from hpo.recipe import Recipe
from hpo.task import Fidelity
from tests.benchmarks.gpu.claim import Claim, result
from tests.toy import A_OI, INPUTS, NOISE, Toy

LEAST = NOISE**2
FIDELITY = Fidelity(size=INPUTS, train=512, val=512, epochs=10)
RECIPE = Recipe(lr=0.05, batch_size=32, weight_decay=0.0)
WHOLE = replace(RECIPE, ema=0.9, accumulate=4, clip=0.5)
STEPS = FIDELITY.epochs * 16
SAME = 1e-3  # largest distance of weights that two orders of the same sums may end in


def check(device: str) -> Iterator[Claim]:
    for precision in ("fp32", "bf16", "fp16"):
        yield truth(replace(WHOLE, precision=precision), device)
    yield same_weights("accumulate=4 against accumulate=1", RECIPE, replace(RECIPE, accumulate=4), device, device)
    yield same_weights(f"fp32 on {device} against the CPU", WHOLE, WHOLE, device, "cpu")
    yield average(device)
    yield clipping(device)


def truth(recipe: Recipe, device: str) -> Claim:
    """The trained map is A, and its error the noise's variance."""
    epochs = list(fit(Toy(), recipe, FIDELITY, seed=1, device=device))
    error, apart = epochs[-1].best, largest(epochs[-1].model.map.weight - A_OI.to(device))
    taken, skipped = (sum(getattr(e, name) for e in epochs) for name in ("steps_taken", "steps_skipped"))
    holds = 0.8 * LEAST < error < 1.5 * LEAST and apart < 0.05 and taken >= 0.9 * STEPS and taken + skipped == STEPS
    return result(
        holds,
        f"{recipe.precision}, EMA, accumulate, clip: error {error:.5f} (the noise: {LEAST:.5f}), weights within "
        f"{apart:.4f} of the truth, {taken} steps taken, {skipped} skipped",
    )


def same_weights(name: str, one: Recipe, two: Recipe, device: str, reference: str) -> Claim:
    """Two ways to compute the same run end in the same weights."""
    a, b = weights(one, device), weights(two, reference)
    apart = largest(a - b)
    return result(apart < SAME, f"{name}: weights within {apart:.1e}")


def average(device: str) -> Claim:
    """The running average is that of the weights after each step: here an epoch is a step."""
    steps, decay = 8, 0.5
    fidelity = Fidelity(size=INPUTS, train=64, val=32, epochs=steps)
    recipe = replace(RECIPE, batch_size=64)
    live = [e.model.map.weight.detach().clone() for e in fit(Toy(), recipe, fidelity, seed=1, device=device)]
    *_, last = fit(Toy(), replace(recipe, ema=decay), fidelity, seed=1, device=device)
    expected = live[0]
    for after in live[1:]:
        expected = decay * expected + (1 - decay) * after
    apart = largest(last.model.map.weight - expected)
    return result(apart < 1e-5, f"EMA {decay}: within {apart:.1e} of the average that is computed by hand")


def clipping(device: str) -> Claim:
    """A step of SGD with the gradient clipped to c moves the weights by lr c: far from the optimum always one way."""
    recipe = Recipe(
        lr=0.1,
        batch_size=32,
        optimizer="sgd",
        momentum=0.0,
        weight_decay=0.0,
        schedule="constant",
        warmup=0.0,
        clip=1e-3,
    )
    first, second, *_ = (flat(e.model) for e in fit(Toy(), recipe, FIDELITY, seed=1, device=device))
    moved, most = float((second - first).norm()), 16 * recipe.lr * recipe.clip
    return result(0.5 * most < moved <= 1.001 * most, f"clip: 16 steps moved by {moved:.2e} of at most {most:.2e}")


def weights(recipe: Recipe, device: str) -> Tensor:
    """The weights after a training, on the CPU."""
    *_, last = fit(Toy(), recipe, FIDELITY, seed=1, device=device)
    return flat(last.model)


def flat(model: torch.nn.Module) -> Tensor:
    """All parameters in a row, on the CPU: a copy."""
    return torch.cat([p.detach().flatten().cpu().clone() for p in model.parameters()])


def largest(difference: Tensor) -> float:
    """The largest absolute element."""
    return float(difference.detach().abs().max())
