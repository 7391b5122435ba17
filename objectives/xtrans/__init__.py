"""Demosaicing X-Trans sensors: three colours a pixel from one, in linear light, where 1 is white and not a limit.

In     mosaic_B1SS  [B, 1, S, S], linear, (code - black) / (white - black), not white-balanced, not clipped
       cfa_B3SS     [B, 3, S, S], 1 where a colour was measured
       gain_B3      [B, 3], the sensor's response to white, as the camera records it
Out    [B, 3, S, S] in the same scale; measured samples are returned unchanged
Goal   psnr_lin, dB for a peak of 1, a mean over tiles of 48 x 48 pixels, maximised
Size   S of a training crop, pixels a side; validation and test tiles have one size at every tier
Data   photographs that ship inside scikit-image and scikit-learn, and views of panoramas of real light, shrunk in
       linear light and mosaiced; or your own raw files and pictures

Sources: Gharbi et al. 2016 for the problem; Knutsson & Westin 1993 for normalised convolution; Markesteijn's algorithm
in LibRaw's implementation, for comparison.
"""

from hpo import Fidelity
from objectives.xtrans.task import XTrans

SMOKE = Fidelity(size=24, train=16, val=4, epochs=4, fixed={"recipe.batch_size": 4})
CHEAP = Fidelity(size=48, train=800, val=24, epochs=6)
FULL = Fidelity(size=48, train=2560, val=48, test=40, epochs=10)
FULL_GPU = Fidelity(
    size=96,
    train=32_000,
    val=48,
    test=40,
    epochs=60,
    fixed={"task.width": 64, "task.depth": 12, "recipe.batch_size": 32},
)

__all__ = ["CHEAP", "FULL", "FULL_GPU", "SMOKE", "XTrans"]
