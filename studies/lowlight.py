"""Which learning rate, stages, loss weights and network brighten dark photographs best, at a fifth of the full cost?"""

from hpo import Median, Recipe, StudySpec
from objectives.lowlight import CHEAP, FULL, SMOKE, SPACE, LowLight

SEARCHED = (
    "recipe.lr",
    "recipe.clip",
    "task.curve_lr",
    "task.stage1",
    "task.ssim_factor",
    "task.color_factor",
    "task.perceptual_weight",
    "task.restore_width",
    "task.iterations",
    "task.attention",
)

study = StudySpec(
    name="lowlight",
    task=LowLight(),
    recipe=Recipe(lr=3e-3, batch_size=8, weight_decay=1e-4, clip=0.5, final_lr=0.02, channels_last=True),
    space={name: SPACE[name] for name in SEARCHED},
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=12,
    startup_trials=6,
    pruning=Median(warmup_epochs=4, min_trials=4, startup_trials=4),
    keep=2,
    seeds=3,
)
