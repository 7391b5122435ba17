"""The gain of each element, estimated from training scenes of one source, whose place is a label.

In such a scene z_l = Rg diag(a(q)) g s_l + w_l. Of this, g is the same in all scenes, and q is known; the symbols s and
the variance of w are not. Given g, the best symbols are a projection; given the symbols, the best g solves one linear
system. The two steps repeat from g = 1.

Shapes: B scenes, N elements, R = N' entries of z, L snapshots.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from objectives.ris.data import Scenario, scenes
from objectives.ris.geometry import manifold
from objectives.ris.sensing import Sensing, power, sensing

ROUNDS = 20  # of the two steps
PRIOR_VARIANCE = 0.25  # of a gain around 1: a weak prior, which decides alone where there are no scenes


@lru_cache(maxsize=16)
def calibrated(scenario: Scenario, count: int) -> tuple[float, ...]:
    """Gains of the elements from the one-source scenes among the first `count` training scenes: real and imaginary part
    of each, element after element."""
    training = scenes(scenario, "train", count).take(torch.arange(count))
    single = training.source_count == 1
    sense = sensing(scenario.surface, training.z.device, torch.float64)
    gains_N = element_gains(training.z[single].to(torch.complex128), training.q[single, 0].double(), sense)
    return tuple(torch.view_as_real(gains_N).flatten().tolist())


def element_gains(z_BRL: Tensor, q_B3: Tensor, sense: Sensing) -> Tensor:
    """g, [N] complex128, of scenes with one source each at q; without a scene it is 1.

    It is the least-squares solution with scenes weighted by their estimated noise, and a Gaussian prior around 1. Only
    g times a common factor can be seen: the factor is the one that the prior prefers.
    """
    a_BN = manifold(q_B3, sense.x_N, sense.y_N, sense.steering)
    back_BNL = sense.mix_RN.mH @ z_BRL  # Rg^H z
    gram_NN = sense.mix_RN.mH @ sense.mix_RN
    entries, snapshots = z_BRL.shape[1:]
    energy_B = power(z_BRL).sum((1, 2))
    eye = torch.eye(len(gram_NN), dtype=z_BRL.dtype, device=z_BRL.device) / PRIOR_VARIANCE
    g_N = torch.ones(len(gram_NN), dtype=z_BRL.dtype, device=z_BRL.device)
    for _ in range(ROUNDS):
        b_BR = sense.mixed(a_BN * g_N)
        length_B = power(b_BR).sum(1)
        symbol_BL = (b_BR.conj()[:, None] @ z_BRL)[:, 0] / length_B[:, None]
        left_B = energy_B - length_B * power(symbol_BL).sum(1)
        weight_B = snapshots * (entries - 1) / left_B.clamp_min(1e-20)  # 1 / sigma^2
        spread_B = weight_B * power(symbol_BL).sum(1)
        normal_NN = (a_BN.conj() * spread_B[:, None]).mT @ a_BN * gram_NN
        right_N = (weight_B[:, None] * a_BN.conj() * (back_BNL @ symbol_BL.conj()[..., None])[..., 0]).sum(0)
        g_N = torch.linalg.solve(normal_NN + eye, right_N + eye.diagonal())
    return g_N
