"""How far can an X-Trans network learn patterns that demosaicers get wrong without forgetting photographs?

A parent that has seen no pattern is trained once by the same engine (or is an exported winner: task.parent), and every
trial starts from it. The mixtures include both ends: scenes alone, a control with the same number of steps, and
patterns alone, which are known to make a network forget. The default rate is the seed's, a tenth of its parent's.
"""

from dataclasses import replace

from hpo import Fidelity, Median, choose, log, uniform
from objectives.xtrans.finetune import MIXTURES, FineTune
from studies.xtrans import study as xtrans

study = replace(
    xtrans,
    name="xtrans_finetune",
    task=FineTune(parent_train=800),
    recipe=replace(xtrans.recipe, lr=1e-4),
    space={
        "task.mixture": choose(*MIXTURES),
        "task.l2sp": choose(0.0, 1e-4, 1e-3, 1e-2),
        "task.rest": choose(0, 1, 2),
        "task.gain_spread": uniform(0.0, 0.5),
        "recipe.lr": log(1e-5, 2e-3),
    },
    smoke=replace(xtrans.smoke, epochs=2, fixed={**xtrans.smoke.fixed, "task.parent_train": 16}),
    cheap=Fidelity(size=48, train=400, val=16, epochs=2),
    full=Fidelity(size=48, train=800, val=24, test=26, epochs=2),
    trials=10,
    pruning=Median(warmup_epochs=1, min_trials=4),
    keep=1,
    seeds=3,
)
