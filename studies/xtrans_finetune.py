"""How far can an X-Trans network learn patterns that demosaicers get wrong without forgetting photographs?

A parent that has seen no pattern is trained once by the same engine (or is an exported winner: task.parent), and every
trial starts from it. The mixtures include both ends: scenes alone, a control with the same number of steps, and
patterns alone, which are known to make a network forget. The default rate is the seed's, a tenth of its parent's.

Ten trials and a race of two configurations over 13 scenes in three folds cost 6 CPU minutes, preflight included. The
default (one crop in ten a pattern, 200 steps at 1e-4) gains 0.9 dB on patterns and forgets 0.01 dB on the scenes. The
best trial (the same mixture, rate 1.6e-3, gains spread by 0.25) gains 1.3 dB and forgets 0.07 dB; it is ahead by 0.16
[-0.07, 0.39] in the score, so the default stands. No mixture made a grid, and none forgot more than 0.1 dB, patterns
alone (at 1.9e-4) neither: a base that is a demosaicer bounds the damage. On patterns both stay below Markesteijn's 37.9
dB (36.9 and 37.3), and ahead of the published network's 34.8 dB.
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
