"""Radiance RGBE files (.hdr): three mantissas of 8 bits and a common exponent in each pixel.

Source: G. Ward, "Real pixels", Graphics Gems II, 1991, and the Radiance picture format. Shapes: H x W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from objectives.common.headers import LONGEST, check_pixels, describe

RGBE_FORMAT = b"32-bit_rle_rgbe"
_RESOLUTION = re.compile(rb"-Y (\d{1,6}) \+X (\d{1,6})\n")


def read_planes(path: Path) -> np.ndarray:
    """The light in a file, [3, H, W] float32. Raises ValueError with the cause, without the path.

    A text header, then scanlines: flat, run-length encoded by pixel (old), or by byte and component (new).
    """
    data = path.read_bytes()
    if not data.startswith((b"#?RADIANCE", b"#?RGBE")):
        raise ValueError(f"a Radiance picture must begin with #?RADIANCE or #?RGBE; {describe(data[:LONGEST])}")
    end = data.find(b"\n\n")
    lines = [line for line in data[: max(0, end)].split(b"\n") if b"=" in line]
    fields = dict(line.split(b"=", 1) for line in lines)
    resolution = _RESOLUTION.match(data, end + 2) if end >= 0 else None
    if resolution is None:
        raise ValueError("after a blank line there must be a line such as '-Y 480 +X 640'; no other order is supported")
    if fields.get(b"FORMAT", RGBE_FORMAT).strip() != RGBE_FORMAT:
        raise ValueError(f"FORMAT must be {RGBE_FORMAT.decode()}; got {fields[b'FORMAT'].decode('latin1')!r}")
    height, width = (int(number) for number in resolution.groups())
    check_pixels(width, height)
    rgbe_HW4 = _scanlines(data, resolution.end(), height, width)
    mantissa = rgbe_HW4[..., :3]
    exponent = rgbe_HW4[..., 3:]
    unit = np.ldexp(1.0, exponent.astype(np.int32) - 136)
    light_HW3 = np.where(exponent > 0, (mantissa + 0.5) * unit, 0.0) / _correction_3(lines)
    return light_HW3.transpose(2, 0, 1).astype(np.float32)


def _correction_3(lines: Sequence[bytes]) -> np.ndarray:
    """The factors from light to the values in the file: the product of all lines EXPOSURE and COLORCORR."""
    product_3 = np.ones(3)
    for line in lines:
        name, text = line.split(b"=", 1)
        if name not in (b"EXPOSURE", b"COLORCORR"):
            continue
        values = np.array([float(value) for value in text.split()])
        if len(values) != (1 if name == b"EXPOSURE" else 3) or not (np.isfinite(values) & (values > 0)).all():
            allowed = "a finite number" if name == b"EXPOSURE" else "three finite numbers"
            raise ValueError(f"{name.decode()} must be {allowed} above 0; got {text.decode('latin1')!r}")
        product_3 = product_3 * values
    return product_3


def _scanlines(data: bytes, start: int, height: int, width: int) -> np.ndarray:
    rgbe_HW4 = np.empty((height, width, 4), np.uint8)
    new_encoding = bytes([2, 2, width >> 8, width & 255])
    offset = start
    for row in range(height):
        if 8 <= width < 32768 and data[offset : offset + 4] == new_encoding:
            offset = _decode_by_component(data, offset + 4, rgbe_HW4[row])
        else:
            offset = _decode_by_pixel(data, offset, rgbe_HW4[row])
    return rgbe_HW4


def _decode_by_component(data: bytes, offset: int, line_W4: np.ndarray) -> int:
    """Decode one scanline into `line_W4`, all reds first, and return where the next scanline begins.

    A count above 128 repeats the next byte; any other count is followed by that many bytes.
    """
    width = len(line_W4)
    for component in range(4):
        done = 0
        while done < width:
            is_run = data[offset] > 128
            count = data[offset] - 128 if is_run else data[offset]
            length = 1 if is_run else count
            values = data[offset + 1 : offset + 1 + length]
            if not 0 < count <= width - done or len(values) != length:
                raise ValueError("a run of its scanlines exceeds the picture, or the file is truncated")
            line_W4[done : done + count, component] = values[0] if is_run else np.frombuffer(values, np.uint8)
            offset += 1 + length
            done += count
    return offset


def _decode_by_pixel(data: bytes, offset: int, line_W4: np.ndarray) -> int:
    """Decode one scanline of whole pixels into `line_W4`, and return where the next scanline begins.

    1, 1, 1, n repeats the last pixel n times; directly after another repetition, 256 n times.
    """
    width = len(line_W4)
    available = min(4 * width, max(0, len(data) - offset))
    flat = np.frombuffer(data, np.uint8, count=available, offset=offset)
    if len(flat) == 4 * width and not (flat.reshape(-1, 4)[:, :3] == 1).all(1).any():
        line_W4[:] = flat.reshape(-1, 4)
        return offset + 4 * width
    done = 0
    shift = 0
    while done < width:
        pixel = data[offset : offset + 4]
        if len(pixel) < 4:
            raise ValueError("the file is truncated")
        if pixel[:3] == b"\1\1\1":
            count = pixel[3] << shift
            if done == 0 or count > width - done:
                raise ValueError("a run of its scanlines exceeds the picture")
            line_W4[done : done + count] = line_W4[done - 1]
            done += count
            shift += 8
        else:
            line_W4[done] = np.frombuffer(pixel, np.uint8)
            done += 1
            shift = 0
        offset += 4
    return offset


def write(path: Path, rgb_HW3: np.ndarray) -> None:
    """Write flat scanlines: a pixel's largest mantissa is at least 128, so no pixel looks like a run."""
    if (rgb_HW3 < 0).any():
        raise ValueError(f"{path}: Radiance pictures hold no negative light; got {float(rgb_HW3.min()):g}")
    largest = rgb_HW3.max(-1, keepdims=True)
    exponent = np.where(largest > 1e-32, np.frexp(largest)[1], -128)
    mantissa = np.floor(rgb_HW3 * np.ldexp(256.0, -exponent)).clip(0, 255)
    if int(exponent.max()) > 127:
        raise ValueError(f"{path}: Radiance pictures hold light up to 1.7e38; got {float(largest.max()):g}")
    rgbe_HW4 = np.where(exponent > -128, np.concatenate([mantissa, exponent + 128], -1), 0).astype(np.uint8)
    height, width = rgb_HW3.shape[:2]
    header = b"#?RADIANCE\nFORMAT=%s\n\n-Y %d +X %d\n" % (RGBE_FORMAT, height, width)
    path.write_bytes(header + rgbe_HW4.tobytes())
