"""Reader of ONNX files: the nodes and the constants of a graph, without the package onnx.

A file is one protobuf message. The field numbers are those of onnx.proto3 (ModelProto, GraphProto, NodeProto,
AttributeProto, TensorProto); only what the networks here use is read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_DTYPES = {1: "<f4", 2: "u1", 3: "i1", 6: "<i4", 7: "<i8"}  # TensorProto.DataType
_INT8_IN_INT32 = {2, 3, 6}  # types whose numbers stand in int32_data where there is no raw_data

Attribute = float | int | bytes | np.ndarray | tuple[int, ...] | tuple[float, ...]
Field = tuple[int, int | bytes]  # number and value of a field of a message


@dataclass(frozen=True)
class Node:
    """One operation of a graph."""

    op: str
    inputs: tuple[str, ...]  # "" where an optional input is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True)
class Graph:
    """A network: operations in an order in which they can be run, and constants by name."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    input: str  # the name of the picture
    outputs: tuple[str, ...]


def read_graph(content: bytes) -> Graph:
    """The graph in an ONNX file. Raises ValueError where the bytes are no such file."""
    try:
        model = dict(_fields(content))
        fields = list(_fields(_bytes(model[7])))
    except (KeyError, IndexError, struct.error, ValueError) as error:
        raise ValueError(f"this is no ONNX file: {error}") from error
    constants = dict(_tensor(_bytes(value)) for number, value in fields if number == 5)
    names = [_text(dict(_fields(_bytes(value)))[1]) for number, value in fields if number == 11]
    return Graph(
        tuple(_node(_bytes(value)) for number, value in fields if number == 1),
        constants,
        names[0],
        tuple(_text(dict(_fields(_bytes(value)))[1]) for number, value in fields if number == 12),
    )


def _node(content: bytes) -> Node:
    fields = list(_fields(content))
    return Node(
        op=next(_text(value) for number, value in fields if number == 4),
        inputs=tuple(_text(value) for number, value in fields if number == 1),
        outputs=tuple(_text(value) for number, value in fields if number == 2),
        attributes=dict(_attribute(_bytes(value)) for number, value in fields if number == 5),
    )


def _attribute(content: bytes) -> tuple[str, Attribute]:
    fields = list(_fields(content))
    single = dict(fields)
    name = _text(single[1])
    if 2 in single:
        return name, _float(_bytes(single[2]))
    if 3 in single:
        return name, _signed(single[3])
    if 4 in single:
        return name, _bytes(single[4])
    if 5 in single:
        return name, _tensor(_bytes(single[5]))[1]
    if 7 in single:
        return name, tuple(number for key, value in fields if key == 7 for number in _floats(_bytes(value)))
    return name, tuple(number for key, value in fields if key == 8 for number in _integers(value))


def _tensor(content: bytes) -> tuple[str, np.ndarray]:
    """Name and value of a TensorProto."""
    fields = list(_fields(content))
    single = dict(fields)
    shape = [number for key, value in fields if key == 1 for number in _integers(value)]
    kind = single[2]
    if not isinstance(kind, int) or kind not in _DTYPES:
        raise ValueError(f"tensor of data type {kind!r}; known: {', '.join(map(str, _DTYPES))}")
    if 9 in single:
        values = np.frombuffer(_bytes(single[9]), _DTYPES[kind])
    elif kind == 1:
        values = np.array([number for key, value in fields if key == 4 for number in _floats(_bytes(value))], "<f4")
    else:
        field = 5 if kind in _INT8_IN_INT32 else 7
        numbers = [number for key, value in fields if key == field for number in _integers(value)]
        values = np.array(numbers).astype(_DTYPES[kind])
    return _text(single.get(8, b"")), values.reshape(shape)


# -- wire format -----------------------------------------------------------------------------------------------------
def _fields(content: bytes) -> Iterator[Field]:
    """Number and value of each field of a message: an int for a varint, else the bytes."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            integer, at = _varint(content, at)
            yield number, integer
            continue
        if wire == _BYTES:
            length, at = _varint(content, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if at + length > len(content):
            raise ValueError(f"a field of {length} bytes at byte {at} of {len(content)}")
        yield number, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """An integer, seven bits a byte, the lowest first; and the position behind it."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _integers(value: int | bytes) -> list[int]:
    """A field of integers: one of them, or packed."""
    if isinstance(value, int):
        return [_signed(value)]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(_signed(number))
    return numbers


def _floats(value: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(value) // 4}f", value)


def _float(value: bytes) -> float:
    return _floats(value)[0]


def _signed(value: int | bytes) -> int:
    """Negative numbers are written as 64 bits in two's complement."""
    if not isinstance(value, int):
        raise ValueError(f"an integer was expected; got {len(value)} bytes")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"bytes were expected; got the integer {value}")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode()
