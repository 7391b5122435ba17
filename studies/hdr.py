"""Which bound, scale and supervision suit the log residual that fills a warped HDR frame's holes?

Judged by mu-law PSNR in the holes of 48 fixed patches, minus up to 10 dB for overflow.
"""

from hpo import Median, Recipe, StudySpec, choose, log, uniform, when
from objectives.hdr import CHEAP, FULL, HDR, SMOKE

study = StudySpec(
    name="hdr",
    task=HDR(),
    recipe=Recipe(lr=5e-3, batch_size=8, weight_decay=1e-4, betas=(0.9, 0.98), warmup=0.1, clip=0.5),
    space={
        "task.bound": choose("tanh", "softsign", "clamp"),
        "task.abs_max": log(1.5, 8.0),
        "task.learn_scale": choose(False, True),
        "task.units": choose("local", "patch", "log"),
        "task.log_weight": log(0.3, 4.0),
        "task.log_loss": choose("huber", "l1", "charbonnier"),
        "task.huber_delta": when("task.log_loss", "huber", log(0.05, 1.0)),
        "task.hole_weight": uniform(0.0, 10.0),
        "task.edge_weight": uniform(0.0, 1.0),
        "task.perceptual_weight": uniform(0.0, 0.3),
        "task.ring_scale": uniform(0.0, 1.0),
        "task.ring_kernel": choose(3, 5),
        "task.base": choose("layered", "harmonic", "pushpull"),
        "task.input_norm": choose("standard", "minmax"),
        "task.gate": choose("full", "single"),
        "task.width": choose(8, 12, 16),
        "task.depth": choose(2, 3),
        "recipe.lr": log(3e-4, 1.5e-2),
        "task.beta2": choose(None, 0.95, 0.999),
        "recipe.weight_decay": log(1e-6, 1e-2),
    },
    smoke=SMOKE,
    cheap=CHEAP,
    full=FULL,
    trials=16,
    pruning=Median(warmup_epochs=2, min_trials=4),
    keep=2,
    seeds=3,
)
