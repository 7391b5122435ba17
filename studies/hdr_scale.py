"""Does a learnable output scale beat the fixed cap of 6, at equal budget?

Everything else is as in the default: the same patches, steps and seeds for both, and no tuning of either. The
promotion's line for the other one is the answer: its lead on the test patches, with an interval.
"""

from dataclasses import replace

from hpo import choose
from studies.hdr import study as hdr

study = replace(
    hdr,
    name="hdr_scale",
    space={"task.learn_scale": choose(False, True)},
    trials=4,
    startup_trials=4,
    pruning=None,
    keep=1,
    seeds=5,
)
