"""Which rate, batch, weights of structure and colour brighten unseen scenes best, at a quarter of the full cost?"""

from hpo import Recipe, StudySpec
from objectives.lowlight import CHEAP, FULL, SMOKE, SPACE, LowLight

SEARCHED = (
    "recipe.lr",
    "recipe.batch_size",
    "task.ssim_factor",
    "task.color_factor",
    "task.attention",
)

study = StudySpec(
    name="lowlight",
    task=LowLight(),
    recipe=Recipe(lr=1e-3, batch_size=8, weight_decay=3e-4, clip=0.5, final_lr=0.02, channels_last=True),
    space={name: SPACE[name] for name in SEARCHED},
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=20,
    pruning=None,  # a trial takes 8 to 17 s, and what it would save costs the importances their evidence
    keep=1,
    seeds=6,  # a run in each fold: together they are tested on all twelve scenes
)
