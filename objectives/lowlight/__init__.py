"""Low light: brighten a dark, noisy 8-bit picture so that it matches the same view in good light.

In     low_B3SS   [B, 3, S, S], sRGB-encoded, float32 in [0, 1], n/255: 2 to 4.5 stops too dark, with camera noise
Out    the picture in good light, [B, 3, S, S] in [0, 1]; scored after rounding to 8 bit
Goal   score = 0.7 psnr_db + 0.3 * 20 ssim - max(0, 0.10 - saturation), a mean over pictures, maximised
Size   S, pixels a side
Data   crops of sixteen scenes, six photographs and ten panoramas of real light, split by scene; or your own pairs

Sources: Guo et al. 2020 (Zero-DCE), Xu et al. 2022 (SNR-aware enhancement), Wei et al. 2018 (the LOL data's layout).
"""

from hpo import Fidelity, Space, choose, log, uniform
from objectives.lowlight.task import LowLight

SPACE: Space = {
    "recipe.lr": log(1e-4, 1e-2),
    "recipe.batch_size": choose(2, 4, 8, 16),
    "recipe.weight_decay": log(1e-6, 1e-3),
    "recipe.clip": choose(0.25, 0.5, 1.0),
    "task.curve_lr": uniform(1.0, 4.0),
    "task.identity_clamp": uniform(0.05, 0.25),
    "task.stage1": uniform(0.10, 0.35),
    "task.stage3": uniform(0.10, 0.30),
    "task.ramp_share": uniform(0.1, 0.5),
    "task.mask_lr": log(5e-6, 2e-4),
    "task.ssim_factor": log(0.3, 3.0),
    "task.edge_factor": log(0.3, 3.0),
    "task.color_factor": log(0.1, 3.0),
    "task.perceptual_weight": uniform(0.0, 0.12),
    "task.width": choose(8, 12, 16, 24),
    "task.restore_width": choose(8, 12, 16),
    "task.iterations": choose(4, 6, 8),
    "task.attention": choose(True, False),
}

SMOKE = Fidelity(size=32, train=16, val=4, epochs=6)
# Cheap by size and by data, not by epochs: rates and stages act in it as they do in FULL.
CHEAP = Fidelity(size=32, train=96, val=48, epochs=16)
FULL = Fidelity(size=64, train=144, val=48, epochs=16, test=96)
CHEAP_LONG = Fidelity(size=32, train=512, val=48, epochs=16)
LONG = Fidelity(size=64, train=1024, val=48, epochs=16, test=96)
# 200 epochs of large squares on a GPU, with rates and durations that suit so long a run
FULL_GPU = Fidelity(
    size=512,
    train=480,
    val=48,
    epochs=200,
    test=96,
    fixed={
        "recipe.lr": 1e-4,
        "recipe.weight_decay": 3e-4,
        "task.curve_lr": 1.0,
        "task.ramp_share": 0.18,
        "task.mask_frozen": 0.075,
        "task.pool": 1,
    },
)

__all__ = ["CHEAP", "CHEAP_LONG", "FULL", "FULL_GPU", "LONG", "SMOKE", "SPACE", "LowLight"]
