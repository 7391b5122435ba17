"""Which small network, base and loss demosaic an X-Trans sensor best, in a minute's training on one core?

Scored by the linear PSNR of 24 fixed tiles of four scenes that are neither trained on nor judged. The defaults are the
seed's (its loss, rate, weight decay and schedule) and the task's specification (its small network); nothing here was
tuned on these scenes.
"""

from hpo import Median, Recipe, StudySpec, choose, log, uniform
from objectives.xtrans import CHEAP, FULL, SMOKE, XTrans

study = StudySpec(
    name="xtrans",
    task=XTrans(),
    recipe=Recipe(lr=1e-3, batch_size=8, weight_decay=1e-4, warmup=0.05, clip=0.5),
    space={
        "task.arch": choose("plain", "packed3"),
        "task.width": choose(8, 16, 24),
        "task.base": choose("nc", "markesteijn", "markesteijn3"),
        "task.gradient_weight": uniform(0.0, 0.5),
        "task.space": choose("lin", "sqrt"),
        "task.patterns": uniform(0.0, 0.3),
        "task.gain_spread": uniform(0.0, 0.6),
        "recipe.lr": log(5e-4, 1e-2),
        "recipe.batch_size": choose(4, 8, 16),
    },
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=24,
    pruning=Median(warmup_epochs=2, min_trials=4),
    keep=2,
    seeds=3,
)
