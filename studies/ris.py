"""Which network, losses, blend and inference suit near-field localisation, on a laptop's budget?

The score is OSPA (m) on 256 fixed scenes. Every searched hyperparameter affects it, and no loss weight is part of it.
"""

from hpo import Median, Recipe, StudySpec, choose, log, uniform
from objectives.ris import CHEAP, FULL, RIS, SMOKE

study = StudySpec(
    name="ris",
    task=RIS(),
    recipe=Recipe(lr=4e-3, batch_size=64, weight_decay=1e-4, warmup=0.15, clip=5.0, patience=8),
    space={
        "recipe.lr": log(3e-4, 1e-2),
        "recipe.batch_size": choose(64, 80),
        "recipe.weight_decay": log(1e-6, 1e-2),
        "task.width": choose(8, 16, 24),
        "task.blocks": choose(1, 2, 3),
        "task.dropout": uniform(0.0, 0.3),
        "task.lam_cov": uniform(0.5, 2.0),
        "task.lam_heat": log(0.1, 1.0),
        "task.lam_ang": uniform(0.1, 1.0),
        "task.lam_rng": uniform(0.1, 1.0),
        "task.lam_count": uniform(0.05, 0.3),
        "task.beta": uniform(0.0, 0.8),
        "task.range_grid": choose(121, 161),
        "task.nf_mle_iters": choose(0, 2),
        "task.newton_iters": choose(0, 3),
        "task.k_conf_thresh": uniform(0.0, 0.8),
    },
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=24,
    pruning=Median(warmup_epochs=6, min_trials=8),
    keep=4,
    seeds=2,
)
