"""Reader of the file in which dlib keeps its face recognition network, ResNet-29; dlib itself is not needed.

An int is a control byte, whose low 4 bits count the bytes of its little-endian magnitude and whose bit 7 is the sign.
A float is two ints m and e: m * 2^e. A string is an int, its length, and the bytes. A tensor is the int 2, four ints,
its shape, and float32 values. The file holds a table of contents, outermost layer first, and then the layers,
innermost first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LAYERS, ENTRIES = 108, 130  # layers, and entries of the table of contents
_SKIP, _DETAILED, _INNERMOST = 1, 2, 3  # entries: a tag or a skip, which has no details; a layer; the last entry


@dataclass(frozen=True)
class Layer:
    """One layer, in the order in which a picture passes them."""

    kind: str  # dlib's own name: con_4, affine_, relu_, max_pool_2, avg_pool_2, add_prev_, fc_2
    numbers: tuple[int, ...]  # con_4: filters, rows, columns, stride y, x, pad y, x; pools: the same without filters
    parameters: np.ndarray | None  # float32, flat; fc_2: [256, 128]
    weights_shape: tuple[int, ...] = ()  # con_4: filters, channels, rows, columns


class _Reader:
    """Values one after another from the bytes of a file."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.content):
            raise ValueError(f"the file ends within {count} bytes at byte {self.at}")
        self.at += count
        return self.content[self.at - count : self.at]

    def integer(self) -> int:
        control = self.take(1)[0]
        length = control & 15
        if not 1 <= length <= 8:
            raise ValueError(f"an integer of {length} bytes at byte {self.at}")
        magnitude = int.from_bytes(self.take(length), "little")
        return -magnitude if control & 128 else magnitude

    def integers(self, count: int) -> tuple[int, ...]:
        return tuple(self.integer() for _ in range(count))

    def number(self) -> float:
        mantissa, exponent = self.integers(2)
        return math.ldexp(mantissa, exponent)

    def text(self) -> str:
        return self.take(self.integer()).decode()

    def tensor(self) -> np.ndarray:
        self.expect(2)
        shape = self.integers(4)
        return np.frombuffer(self.take(4 * math.prod(shape)), "<f4").reshape(shape)

    def alias(self) -> tuple[int, ...]:
        """A shape of a part of a layer's parameters."""
        self.expect(1)
        return self.integers(4)

    def expect(self, value: int) -> None:
        actual = self.integer()
        if actual != value:
            raise ValueError(f"the integer {value} was expected before byte {self.at}; got {actual}")


def read_layers(content: bytes) -> list[Layer]:
    """The layers in the bytes of the file. Raises ValueError where they are not such a file, whole to its last byte."""
    reader = _Reader(content)
    reader.expect(1)
    if reader.text() != "loss_metric_2":
        raise ValueError("this is not dlib's face recognition network")
    reader.number()  # margin
    reader.number()  # distance threshold
    entries = reader.integers(ENTRIES)
    if entries[-1] != _INNERMOST or set(entries[:-1]) - {_SKIP, _DETAILED}:
        raise ValueError("the table of contents must be 1s and 2s, and a 3 at its end")
    reader.text()  # input_rgb_image_sized
    for _ in range(3):
        reader.number()  # means of red, green, blue
    reader.integers(2)  # rows and columns of a chip
    layers = [_layer(reader, first=index == 0) for index in range(LAYERS)]
    if reader.at != len(content):
        raise ValueError(f"{len(content) - reader.at} bytes are left at the end")
    return layers


def _layer(reader: _Reader, *, first: bool) -> Layer:
    layer = _details(reader)
    reader.take(3)  # three flags of the training
    for _ in range(3):
        if reader.tensor().size:
            raise ValueError(f"{layer.kind}: the gradients must be empty")
    if first:
        reader.expect(1)
    return layer


def _details(reader: _Reader) -> Layer:
    kind = reader.text()
    if kind == "con_4":
        parameters = reader.tensor().reshape(-1)
        numbers = reader.integers(7)
        shape = reader.alias()
        reader.alias()  # of the biases
        for _ in range(4):
            reader.number()  # learning rates of the training
        return Layer(kind, numbers, parameters, shape)
    if kind == "affine_":
        parameters = reader.tensor().reshape(-1)
        reader.alias()
        reader.alias()
        reader.expect(0)
        return Layer(kind, (), parameters)
    if kind == "fc_2":
        sizes = reader.integers(2)
        matrix = reader.tensor()
        reader.alias()
        reader.alias()
        reader.expect(1)  # no biases
        for _ in range(4):
            reader.number()
        return Layer(kind, sizes, matrix.reshape(sizes[1], sizes[0]))
    if kind in ("max_pool_2", "avg_pool_2"):
        return Layer(kind, reader.integers(6), None)
    if kind in ("relu_", "add_prev_"):
        return Layer(kind, (), None)
    raise ValueError(f"unknown layer {kind!r} before byte {reader.at}")
