"""How bright a picture of unbounded light is shown: as a camera's meter would, so that its middle is grey."""

from __future__ import annotations

from torch import Tensor

MIDDLE_GREY = 0.18  # luminance that a picture's geometric mean comes to. Source: Reinhard et al. 2002, eqs. 1 and 2


def grey_gain(brightness: Tensor, *, least: float) -> Tensor:
    """The factor that brings the geometric mean of a picture's brightness to MIDDLE_GREY.

    Brightness below `least`, above 0, counts as `least`: the logarithm of black is no number.
    """
    return MIDDLE_GREY / brightness.clamp(min=least).log().mean().exp()
