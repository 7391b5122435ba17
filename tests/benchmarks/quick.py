"""A study whose epochs take milliseconds: what is measured with it is the harness. Ten parameters are searched."""

from dataclasses import replace

from hpo import Fidelity, log, uniform
from tests.toy import INPUTS
from tests.toy import study as toy

FIDELITY = Fidelity(size=INPUTS, train=64, val=64, epochs=30)

study = replace(
    toy,
    name="quick",
    space={
        "recipe.lr": log(1e-3, 0.3),
        "recipe.weight_decay": log(1e-6, 1e-2),
        "recipe.clip": log(0.1, 10.0),
        "recipe.warmup": uniform(0.0, 0.5),
        "recipe.final_lr": uniform(0.0, 0.5),
        "recipe.eps": log(1e-10, 1e-6),
        "recipe.ema": uniform(0.0, 0.9),
        "task.shift": uniform(-1, 1),
        "task.dropout": uniform(0.0, 0.5),
        "task.pull": log(1e-6, 1e-2),
    },
    task=replace(toy.task, pull=1e-4),
    recipe=replace(toy.recipe, clip=1.0),
    smoke=FIDELITY,
    cheap=FIDELITY,
    full=FIDELITY,
    trials=200,
    startup_trials=10,
    pruning=None,
)
