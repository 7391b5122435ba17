"""Which rate, stages, weights and size suit the low-light network, at a tenth of the full cost?"""

from hpo import Median, Recipe, StudySpec
from objectives.lowlight import CHEAP, FULL, SMOKE, SPACE, LowLight

study = StudySpec(
    name="lowlight",
    task=LowLight(),
    recipe=Recipe(lr=3e-3, batch_size=8, clip=0.5, final_lr=0.02, precision="bf16", channels_last=True),
    space=SPACE,
    smoke=SMOKE, cheap=CHEAP, full=FULL,
    trials=16, startup_trials=6, pruning=Median(warmup_epochs=4, min_trials=3, startup_trials=4), keep=2, seeds=3,
)  # fmt: skip
