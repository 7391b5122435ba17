"""Cloak: change one's own photographs before posting them, so that face matchers no longer match them.

What is learned for each photograph by itself: noise of at most 0.05 and a warp of at most 0.75 % of the side, both
                bounded by tanh, in a square around the face, after which a matcher no longer matches it
Batch           photo_B3SS, reference_B3SS (the same), in [0, 1]: frames around a face; points_B52: its five points;
                number_B: its number in the model; person_B
Encoders        the critic dlib is attacked, the judge sface scores; or tinyface and tinyface-wide, or siglip:DIR
Goal            exposure, lower is better: 1 for an unchanged photograph, 0 for one that is no longer matched
Purpose         defence only, and only of one's own photographs: away from oneself, never towards another person

Sources: Shan et al. 2020 (Fawkes); Cherepanova et al. 2021 (LowKey); Zhong & Deng 2022 (OPOM); Xiao et al. 2018
(spatially transformed examples). See README.md. `python -m objectives.cloak FOLDER OUT` changes a folder.
"""

from objectives.cloak.data import Batch
from objectives.cloak.encoders import Critic
from objectives.cloak.model import Cloak
from objectives.cloak.task import Cloaking
from objectives.cloak.tiers import tier

SMOKE = tier(size=96, val=2, test=2, steps=3, epochs=3, pinned={"task.perceptual": "pged"})
CHEAP = tier(size=144, val=8, steps=16, epochs=4)
FULL = tier(size=240, val=12, test=12, steps=40, epochs=4, batch=12)
FULL_GPU = tier(size=384, val=20, test=21, steps=80, epochs=4, batch=41)

__all__ = ["CHEAP", "FULL", "FULL_GPU", "SMOKE", "Batch", "Cloak", "Cloaking", "Critic", "tier"]
