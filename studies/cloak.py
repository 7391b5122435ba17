"""Which rates, weights, sizes and treatments take a photograph farthest from a matcher that is not attacked?

dlib is attacked and SFace judges, on the 25-pixel faces that ship inside scikit-image, enlarged: both matchers tell
those apart, dlib coarsely. `--data DIR` takes portraits of your own. What the score charges for visibility is policy
and is not searched; how the loss avoids it is. The extra `faces` is needed; cloak_tinyface.py asks the same question
without it.
"""

from hpo import Median, Recipe, StudySpec, choose, log, uniform, when
from objectives.cloak import CHEAP, FULL, SMOKE, Cloaking

study = StudySpec(
    name="cloak",
    task=Cloaking(),
    # lr 1: the task has its own learning rates. clip: one gradient norm over all photographs would couple them.
    recipe=Recipe(lr=1.0, batch_size=8, weight_decay=0.0, warmup=0.0, final_lr=1.0, clip=1e9),
    space={
        "task.noise_lr": log(0.02, 1.0),
        "task.grid_lr": log(0.01, 0.5),
        "task.identity_weight": log(0.5, 50.0),
        "task.visible_weight": log(4.0, 400.0),
        "task.visible_goal": log(0.002, 0.02),
        "task.rough_weight": log(1e-3, 0.3),
        "task.vertical_weight": uniform(0.0, 2.0),
        "task.reach": uniform(1.0, 4.0),
        "task.grid": choose(6, 8, 12, 16, 24),
        "task.noise_limit": log(0.02, 0.1),
        "task.warp_limit": log(0.004, 0.015),  # 0.03 bends the face: looked at
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
    pruning=Median(warmup_epochs=1, min_trials=4),
    keep=2,
    seeds=3,
)
