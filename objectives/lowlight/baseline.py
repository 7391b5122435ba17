"""Classical methods that brighten a picture, which a network must beat. Each gets the same 8-bit input as the network.

Their settings are chosen by the study on the training examples of the fold, as the network's are. Sources: gamma
correction; total-variation denoising (Chambolle 2004), histogram equalisation and CLAHE (Zuiderveld 1994) in
scikit-image's implementations.
Shapes: rgb_3HW in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from skimage import color, exposure, restoration
from torch import Tensor

from hpo import REFERENCE, Columns, Method, Tuned, log, uniform
from objectives.common.colour import linear_from_srgb, luma, srgb_from_linear
from objectives.common.columns import columns_over
from objectives.common.perceptual import Backend
from objectives.lowlight import loss
from objectives.lowlight.data import Batch

Enhance = Callable[[Tensor, Tensor], Tensor]  # the brightened picture, from the dark picture and the target

EXAMPLES = 32  # training crops that the settings are chosen on: about two of each scene
NOISE_WEIGHT = log(0.01, 1.0)  # of the total variation: about the noise's standard deviation after brightening


def methods(backend: Backend) -> dict[str, Method[Batch]]:
    """Every method by name, with the space of its settings where it has any. Only a reference uses the target."""

    def with_gamma(batch: Batch, gamma: float = 0.4) -> Columns:
        return scores(lambda low, _: low**gamma, backend, batch)

    def with_gamma_tv(batch: Batch, gamma: float = 0.4, weight: float = 0.1) -> Columns:
        return scores(lambda low, _: denoised(low**gamma, weight), backend, batch)

    def with_gain_tv(batch: Batch, light: float = 0.2, weight: float = 0.1) -> Columns:
        return scores(lambda low, _: denoised(gain_to_light(low, light), weight), backend, batch)

    def with_gamma_clahe(batch: Batch, gamma: float = 0.5, clip: float = 0.01) -> Columns:
        return scores(lambda low, _: clahe(low**gamma, clip), backend, batch)

    power = uniform(0.2, 1.0)
    return {
        "identity": partial(scores, lambda low, _: low, backend),
        "gamma": Tuned[Batch]({"gamma": power}, with_gamma, EXAMPLES),
        "gamma + total variation": Tuned[Batch]({"gamma": power, "weight": NOISE_WEIGHT}, with_gamma_tv, EXAMPLES),
        "exposure + total variation": Tuned[Batch](
            {"light": uniform(0.05, 0.5), "weight": NOISE_WEIGHT}, with_gain_tv, EXAMPLES
        ),
        "gamma + CLAHE": Tuned[Batch]({"gamma": power, "clip": log(1e-4, 0.1)}, with_gamma_clahe, EXAMPLES),
        "histogram equalisation": partial(scores, lambda low, _: equalised(low), backend),
        "right exposure" + REFERENCE: partial(
            scores, lambda low, high: denoised(gain_to_light(low, mean_light(high)), 0.1), backend
        ),
    }


# shown in pictures, with the settings that `methods` begins with
SHOWN: Mapping[str, Enhance] = {
    "gamma 0.4": lambda low, _: low**0.4,
    "gamma 0.4 + TV 0.1": lambda low, _: denoised(low**0.4, 0.1),
    "exposure + TV 0.1": lambda low, _: denoised(gain_to_light(low, 0.2), 0.1),
    "CLAHE": lambda low, _: clahe(low**0.5, 0.01),
}


def scores(enhance: Enhance, backend: Backend, batch: Batch) -> dict[str, Tensor]:
    """The scores of a method for each picture, [B]."""
    low = batch.low_B3SS.cpu()
    high = batch.high_B3SS.cpu()
    brightened = torch.stack([enhance(*pair) for pair in zip(low, high, strict=True)])
    return loss.image_scores(brightened, high, backend)


def best_shown(backend: Backend, batches: Sequence[Batch]) -> str:
    """The name of the method of SHOWN with the best score on the batches."""

    def score(name: str) -> float:
        columns = columns_over(partial(scores, SHOWN[name], backend), batches)
        return loss.finite_means(columns)["score"]

    return max(SHOWN, key=score)


def mean_light(srgb: Tensor) -> float:
    """The mean luminance of pictures, in linear light."""
    return float(luma(linear_from_srgb(srgb)).mean())


def gain_to_light(rgb_3HW: Tensor, light: float) -> Tensor:
    """The picture times the factor, in linear light, that brings its mean luminance before clipping to `light`."""
    linear = linear_from_srgb(rgb_3HW)
    gain = light / max(1e-6, float(luma(linear).mean()))
    return srgb_from_linear((linear * gain).clamp(0, 1))


def denoised(rgb_3HW: Tensor, weight: float) -> Tensor:
    """Total-variation denoising of the three channels together."""
    rgb_HW3 = rgb_3HW.permute(1, 2, 0).numpy()
    smooth_HW3 = restoration.denoise_tv_chambolle(rgb_HW3, weight=weight, channel_axis=-1)
    return torch.from_numpy(smooth_HW3).permute(2, 0, 1).float().clamp(0, 1)


def clahe(rgb_3HW: Tensor, clip: float) -> Tensor:
    """Contrast-limited equalisation of HSV's value in 2 x 2 tiles, as scikit-image does for a colour picture."""
    rgb_HW3 = rgb_3HW.permute(1, 2, 0).double().numpy()
    equalised_HW3 = exposure.equalize_adapthist(rgb_HW3, kernel_size=rgb_3HW.shape[-1] // 2, clip_limit=clip)
    return torch.from_numpy(equalised_HW3).permute(2, 0, 1).float().clamp(0, 1)


def equalised(rgb_3HW: Tensor) -> Tensor:
    """Histogram equalisation of the luma; the two colour differences stay."""
    ycbcr = color.rgb2ycbcr(rgb_3HW.permute(1, 2, 0).double().numpy())  # Y is 16 to 235
    ycbcr[..., 0] = 16 + 219 * exposure.equalize_hist((ycbcr[..., 0] - 16) / 219, nbins=256)
    return torch.from_numpy(color.ycbcr2rgb(ycbcr)).permute(2, 0, 1).float().clamp(0, 1)
