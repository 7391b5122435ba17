"""Fill the holes of a frame that was warped from the one before: HDR light, a bounded residual in the log domain.

A renderer that shows twice as many frames as it draws throws the pixels of the last frame forward. Where none lands,
there are cracks and disocclusions. They are filled classically in log space, and a small gated U-Net corrects the fill:

    warped -> fill -> base = log(light + 1e-3) -> U-Net -> cap tanh(o) = r
           -> light = exp(base + clamp(r, +-8) w) - 1e-3      w: 1 in holes, 1/2 in a ring around them, 0 elsewhere

Goal: mu-law PSNR in the holes (dB, higher is better), minus up to 10 dB for overflow. Light is linear; residuals are
natural logarithms of light. `size` is pixels a side.

Sources: Guo et al. 2021 (ExtraNet) for the problem; Yu et al. 2019 for gated convolutions; Kalantari & Ramamoorthi
2017 for the mu-law.
"""

from hpo import Fidelity
from objectives.hdr.task import HDR

SMOKE = Fidelity(size=32, train=16, val=8, epochs=2, fixed={"recipe.batch_size": 4})
CHEAP = Fidelity(size=64, train=160, val=48, epochs=8)
FULL = Fidelity(size=64, train=512, val=48, test=96, epochs=10)
FULL_GPU = Fidelity(
    size=256,
    train=2048,
    val=128,
    test=256,
    epochs=200,
    fixed={"task.width": 24, "task.depth": 5, "recipe.batch_size": 8, "recipe.precision": "bf16"},
)

__all__ = ["CHEAP", "FULL", "FULL_GPU", "HDR", "SMOKE"]
