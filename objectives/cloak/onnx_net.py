"""The networks of ONNX files, run by torch, with a gradient throughout. Their weights are frozen.

What depends on constants alone, such as the weights in 8 bits, is computed once, when a network is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from objectives.cloak.onnx_file import Graph, Node


class OnnxNet(nn.Module):
    """A network of an ONNX file: the picture in, the graph's outputs out, in their order."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.input, self.outputs = graph.input, graph.outputs
        constants = {name: torch.from_numpy(np.array(value)) for name, value in graph.constants.items()}
        live: list[Node] = []
        for node in graph.nodes:
            if node.op == "Constant":
                continue  # the only ones here are the rates of Dropout, which is the identity
            if all(name in constants for name in node.inputs):
                constants[node.outputs[0]] = _run(node, [constants[name] for name in node.inputs])
            else:
                live.append(node)
        self.nodes = _with_folded_normalisation(live, constants)
        used = {name for node in self.nodes for name in node.inputs if name in constants}
        self._names = sorted(used)
        for index, name in enumerate(self._names):
            self.register_buffer(f"constant_{index}", constants[name])

    def forward(self, picture: Tensor) -> list[Tensor]:
        values = {name: cast(Tensor, self.get_buffer(f"constant_{index}")) for index, name in enumerate(self._names)}
        values[self.input] = picture
        for node in self.nodes:
            values[node.outputs[0]] = _run(node, [values[name] for name in node.inputs if name in values])
        return [values[name] for name in self.outputs]


def _run(node: Node, inputs: list[Tensor]) -> Tensor:
    if node.op in _WITH_ATTRIBUTES:
        return _WITH_ATTRIBUTES[node.op](node, inputs)
    if node.op not in _PLAIN:
        known = ", ".join(sorted({*_PLAIN, *_WITH_ATTRIBUTES}))
        raise ValueError(f"the operation {node.op} is unknown here; known: {known}")
    return _PLAIN[node.op](inputs)


def _with_folded_normalisation(nodes: list[Node], constants: dict[str, Tensor]) -> list[Node]:
    """The nodes with every BatchNormalization that follows a Conv made part of its weights, which saves time."""
    convolutions = {node.outputs[0]: node for node in nodes if node.op == "Conv"}
    kept: list[Node] = []
    for node in nodes:
        convolution = convolutions.get(node.inputs[0]) if node.op == "BatchNormalization" else None
        if convolution is None:
            kept.append(node)
            continue
        scale, shift = _scale_and_shift(node, [constants[name] for name in node.inputs[1:]])
        weight, bias = f"{node.outputs[0]} weight", f"{node.outputs[0]} bias"
        constants[weight] = constants[convolution.inputs[1]] * scale.view(-1, 1, 1, 1)
        constants[bias] = shift + scale * (constants[convolution.inputs[2]] if len(convolution.inputs) > 2 else 0.0)
        kept.remove(convolution)
        kept.append(Node("Conv", (convolution.inputs[0], weight, bias), node.outputs, convolution.attributes))
    return kept


def _scale_and_shift(node: Node, parameters: list[Tensor]) -> tuple[Tensor, Tensor]:
    gamma, beta, mean, variance = parameters
    scale = gamma / (variance + cast(float, node.attributes["epsilon"])).sqrt()
    return scale, beta - mean * scale


# -- operations --------------------------------------------------------------------------------------------------------
def _dequantize(node: Node, inputs: list[Tensor]) -> Tensor:
    """(value - zero point) * scale, where each block of `block_size` along `axis` has its own zero point and scale."""
    value, scale, zero_point = inputs
    axis, block = cast(int, node.attributes["axis"]), cast(int, node.attributes["block_size"])
    length = value.shape[axis]
    scale, zero_point = (
        x.repeat_interleave(block, dim=axis).narrow(axis, 0, length) if x.ndim else x for x in (scale, zero_point)
    )
    return (value.float() - zero_point.float()) * scale


def _convolution(node: Node, inputs: list[Tensor]) -> Tensor:
    picture, weight, *bias = inputs
    top, left, bottom, right = _numbers(node.attributes, "pads")
    if (top, left) != (bottom, right):
        raise ValueError(f"a Conv must have equal pads on both sides; got {(top, left, bottom, right)}")
    return F.conv2d(
        picture,
        weight,
        bias[0] if bias else None,
        stride=_numbers(node.attributes, "strides"),
        padding=(top, left),
        groups=cast(int, node.attributes["group"]),
    )


def _normalisation(node: Node, inputs: list[Tensor]) -> Tensor:
    picture, *parameters = inputs
    scale, shift = _scale_and_shift(node, parameters)
    shape = (1, -1) + (1,) * (picture.ndim - 2)
    return picture * scale.view(shape) + shift.view(shape)


def _max_pool(node: Node, inputs: list[Tensor]) -> Tensor:
    return F.max_pool2d(
        inputs[0], _numbers(node.attributes, "kernel_shape"), stride=_numbers(node.attributes, "strides")
    )


def _numbers(attributes: Mapping[str, object], name: str) -> tuple[int, ...]:
    return cast(tuple[int, ...], attributes[name])


_WITH_ATTRIBUTES: dict[str, Callable[[Node, list[Tensor]], Tensor]] = {
    "BatchNormalization": _normalisation,
    "Conv": _convolution,
    "DequantizeLinear": _dequantize,
    "MaxPool": _max_pool,
    "Transpose": lambda node, x: x[0].permute(_numbers(node.attributes, "perm")),
}
_PLAIN: dict[str, Callable[[list[Tensor]], Tensor]] = {
    "Add": lambda x: x[0] + x[1],
    "Dropout": lambda x: x[0],
    "Flatten": lambda x: x[0].flatten(1),
    "Gemm": lambda x: F.linear(x[0], x[1], x[2]),  # transB 1, alpha 1, beta 1
    "Mul": lambda x: x[0] * x[1],
    "PRelu": lambda x: F.prelu(x[0], x[1].flatten()),
    "Relu": lambda x: F.relu(x[0]),
    "Reshape": lambda x: x[0].reshape(x[1].tolist()),
    "Resize": lambda x: F.interpolate(x[0], scale_factor=2, mode="nearest"),
    "Sigmoid": lambda x: torch.sigmoid(x[0]),
    "Sub": lambda x: x[0] - x[1],
}
