"""Which small network, interpolation and loss demosaic an X-Trans sensor best, in a minute's training on one core?

Scored by the linear PSNR of 24 fixed tiles of two photographs that are not in the training set.
"""

from hpo import Median, Recipe, StudySpec, choose, integer, log, uniform
from objectives.xtrans import CHEAP, FULL, SMOKE, XTrans

study = StudySpec(
    name="xtrans",
    task=XTrans(),
    recipe=Recipe(lr=4e-3, batch_size=8, weight_decay=1e-4, warmup=0.05, clip=0.5),
    space={
        "task.arch": choose("plain", "packed3"),
        "task.width": choose(8, 12, 16, 24),
        "task.depth": integer(3, 6),
        "task.base": choose("nc", "nc_diff"),
        "task.act": choose("leaky", "gelu"),
        "task.gradient_weight": uniform(0.0, 0.5),
        "task.chroma_weight": uniform(0.0, 0.5),
        "task.ssim_weight": uniform(0.0, 0.1),
        "task.space": choose("lin", "sqrt"),
        "task.gain_spread": uniform(0.0, 0.6),
        "task.stops": uniform(0.0, 1.0),
        "recipe.lr": log(5e-4, 1e-2),
        "recipe.batch_size": choose(4, 8, 16),
        "recipe.weight_decay": log(1e-6, 1e-2),
    },
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=24,
    pruning=Median(warmup_epochs=2, min_trials=4),
    keep=2,
    seeds=3,
)
