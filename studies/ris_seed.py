"""The same question with the original settings: a 12 x 12 surface and four hyperparameters, for a GPU.

The search has learning rates of 1e-4 to 4e-4, batches of 64 or 80, 121 or 161 ranges, and 0 or 2 iterations of
near-field ML: 28 trials of 28 epochs. The full fidelity has 80,000 scenes, 241 ranges, 3 iterations and a curriculum in
three phases.
"""

from dataclasses import replace

from hpo import Median, choose, log
from objectives.ris import CHEAP_GPU, FULL_GPU
from studies.ris import study as cpu

study = replace(
    cpu,
    name="ris-seed",
    recipe=replace(cpu.recipe, lr=2e-4, patience=7),
    space={
        "recipe.lr": log(1e-4, 4e-4),
        "recipe.batch_size": choose(64, 80),
        "task.range_grid": choose(121, 161),
        "task.nf_mle_iters": choose(0, 2),
    },
    cheap=CHEAP_GPU,
    full=FULL_GPU,
    trials=28,
    pruning=Median(warmup_epochs=6, min_trials=8),
)
