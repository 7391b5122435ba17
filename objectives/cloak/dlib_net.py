"""dlib's face recognition network, ResNet-29, in torch: a chip of 150 x 150 pixels in, 128 numbers out.

Two photographs match where the Euclidean distance of their vectors is below 0.6. Source: King, "High quality face
recognition with deep metric learning" (dlib's blog, 2017); the weights are CC0.
Shapes: B chips, 3 RGB, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.cloak.dlib_file import Layer

SIDE = 150  # of a chip
_MEANS = (122.782, 117.001, 104.298)  # of red, green and blue, out of 255


class DlibNet(nn.Module):
    """The network of the layers in dlib's file. Its vectors are not normalised: their lengths are about 1.4."""

    means: Tensor
    matrix: Tensor

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        convolutions = _convolutions(layers)
        self.first = convolutions[0]
        self.blocks = nn.ModuleList(
            _Block(before, after) for before, after in zip(convolutions[1::2], convolutions[2::2], strict=True)
        )
        self.register_buffer("means", torch.tensor(_MEANS).view(3, 1, 1))
        self.register_buffer("matrix", _tensor(layers[-1]))

    def forward(self, chip_B3SS: Tensor) -> Tensor:
        x = (255 * chip_B3SS - self.means) / 256
        x = F.max_pool2d(F.relu(self.first(x)), 3, stride=2)
        for block in self.blocks:
            x = block(x)
        features_BC: Tensor = x.mean((-2, -1)) @ self.matrix
        return features_BC


class _Block(nn.Module):
    """Two convolutions beside a shortcut; the shortcut of a block that halves the size is an average pool."""

    def __init__(self, before: nn.Conv2d, after: nn.Conv2d) -> None:
        super().__init__()
        self.before, self.after, self.halves = before, after, before.stride == (2, 2)

    def forward(self, x: Tensor) -> Tensor:
        changed = self.after(F.relu(self.before(x)))
        return F.relu(padded_sum(changed, F.avg_pool2d(x, 2) if self.halves else x))


def padded_sum(a: Tensor, b: Tensor) -> Tensor:
    """The sum, with zeros at the end of every axis on which one of the two is shorter: dlib's rule, channels too."""
    shape = [max(lengths) for lengths in zip(a.shape, b.shape, strict=True)]
    return _padded(a, shape) + _padded(b, shape)


def _padded(x: Tensor, shape: Sequence[int]) -> Tensor:
    missing = [wanted - length for wanted, length in zip(shape, x.shape, strict=True)]
    return F.pad(x, [amount for axis in reversed(missing) for amount in (0, axis)]) if any(missing) else x


def _convolutions(layers: Sequence[Layer]) -> list[nn.Conv2d]:
    """The convolutions in their order, each with the affine layer behind it made part of its weights."""
    affine = {index - 1: layer for index, layer in enumerate(layers) if layer.kind == "affine_"}
    return [_folded(layer, affine[index]) for index, layer in enumerate(layers) if layer.kind == "con_4"]


def _folded(convolution: Layer, affine: Layer) -> nn.Conv2d:
    filters, rows, columns, down, across, pad_down, pad_across = convolution.numbers
    gamma, beta = _tensor(affine).chunk(2)
    parameters = _tensor(convolution)
    weight = parameters[:-filters].view(convolution.weights_shape)
    channels = convolution.weights_shape[1]
    layer = nn.Conv2d(channels, filters, (rows, columns), stride=(down, across), padding=(pad_down, pad_across))
    layer.weight = nn.Parameter(weight * gamma.view(-1, 1, 1, 1))
    layer.bias = nn.Parameter(parameters[-filters:] * gamma + beta)
    return layer


def _tensor(layer: Layer) -> Tensor:
    if layer.parameters is None:
        raise ValueError(f"the layer {layer.kind} has no parameters")
    return torch.from_numpy(layer.parameters.copy())
