"""Which rates, weights and grid protect a photograph best at a fixed visible change?

The visibility budget itself (noise 0.05, warp 1.5 % of the side, visible change 0.05) is policy and is not searched.
"""

from hpo import Median, Recipe, StudySpec, choose, log, uniform, when
from objectives.cloak import CHEAP, FULL, SMOKE, Cloaking
from objectives.common.perceptual import installed

study = StudySpec(
    name="cloak",
    task=Cloaking(perceptual="stlpips" if installed("stlpips") else "pged"),  # recorded with every score
    # lr 1: the task has its own learning rates. clip: one gradient norm over all photographs would couple them.
    recipe=Recipe(lr=1.0, batch_size=8, weight_decay=0.0, warmup=0.0, final_lr=1.0, clip=1e9),
    space={
        "task.noise_lr": log(0.01, 0.5),
        "task.grid_lr": log(0.005, 0.3),
        "task.identity_weight": log(0.5, 50.0),
        "task.visible_weight": log(2.0, 400.0),
        "task.rough_weight": log(1e-3, 0.3),
        "task.vertical_weight": uniform(0.0, 5.0),
        "task.grid": choose(6, 8, 12, 16, 24, 32),
        "task.margin": uniform(0.0, 0.4),
        "task.start": uniform(0.05, 0.5),
        "task.textured": choose(False, True),
        "task.centred": choose(False, True),
        "task.anchoring": when("task.centred", True, uniform(0.0, 1.0)),
        "task.handled": choose(False, True),
    },
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=48,
    pruning=Median(warmup_epochs=2, min_trials=4),
    keep=2,
    seeds=3,
)
