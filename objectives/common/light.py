"""High-dynamic-range image files, read and written: OpenEXR, Radiance RGBE (.hdr), PFM, and NumPy arrays (.npy).

Light is linear, float32, rgb_3HW, as in the file: nothing is scaled or clipped here. A file that cannot be read raises
a ValueError that names it.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from objectives.common.files import MAX_PIXELS, read_image
from objectives.common.files import SUFFIXES as PLAIN_SUFFIXES

SUFFIXES = frozenset({".exr", ".hdr", ".pfm", ".npy"})
MASK_SUFFIXES = SUFFIXES | PLAIN_SUFFIXES  # a mask needs no high dynamic range
RGBE_FORMAT = b"32-bit_rle_rgbe"
_RESOLUTION = re.compile(rb"-Y (\d{1,6}) \+X (\d{1,6})\n")


def read_light(path: Path | str) -> Tensor:
    """The picture in a file, rgb_3HW. A single channel is repeated; alpha and all other channels are left out.

    Raises ValueError with the path and the cause for a file that is missing, truncated, of another format or larger
    than MAX_PIXELS. Values that are not finite are returned as they are.
    """
    planes_AHW = _planes(Path(path))
    if planes_AHW.shape[0] not in (1, 3):
        raise ValueError(f"cannot read {path}: it must have 1 or 3 channels of colour; got {planes_AHW.shape[0]}")
    return torch.from_numpy(np.ascontiguousarray(planes_AHW, np.float32)).expand(3, -1, -1).contiguous()


def read_mask(path: Path | str) -> Tensor:
    """The mask in a file, [1, H, W] bool: True where any channel is above one half. Plain pictures (PNG, ...) work too.

    Raises ValueError as read_light does, and for values that are not finite.
    """
    path = Path(path)
    planes_AHW = read_image(path).numpy() if path.suffix.lower() in PLAIN_SUFFIXES else _planes(path)
    bad = int((~np.isfinite(planes_AHW)).sum())
    if bad:
        raise ValueError(f"cannot read the mask {path}: it holds {bad} values that are not finite")
    return torch.from_numpy((planes_AHW > 0.5).any(0, keepdims=True))


def write_light(path: Path | str, rgb_3HW: Tensor) -> None:
    """Write a picture in the format of the suffix: .exr (32-bit float, ZIP), .pfm and .npy exactly, .hdr to one part
    in 256 of a pixel's largest channel.

    Raises ValueError for another suffix, for values that are not finite, and for negative ones in .hdr, which has none.
    """
    path = Path(path)
    rgb_HW3 = np.ascontiguousarray(rgb_3HW.detach().cpu().float().permute(1, 2, 0).numpy())
    writers: dict[str, Callable[[Path, np.ndarray], None]] = {
        ".exr": _write_exr,
        ".hdr": _write_rgbe,
        ".pfm": _write_pfm,
        ".npy": _write_npy,
    }
    suffix = path.suffix.lower()
    if suffix not in writers:
        raise ValueError(f"{path} must end in one of {', '.join(sorted(writers))}")
    bad = int((~np.isfinite(rgb_HW3)).sum())
    if bad:
        raise ValueError(f"{path}: {bad} values to be written are not finite")
    writers[suffix](path, rgb_HW3)


def _planes(path: Path) -> np.ndarray:
    """The colour channels in a file, [A, H, W], red first."""
    readers = {".exr": _read_exr, ".hdr": _read_rgbe, ".pfm": _read_pfm, ".npy": _read_npy}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} must end in one of {', '.join(sorted(readers))}")
    if not path.is_file():
        raise ValueError(f"cannot read {path}: there is no such file")
    try:
        return readers[path.suffix.lower()](path)
    except Exception as error:  # the decoders raise errors of many kinds
        raise ValueError(f"cannot read {path}: {error or type(error).__name__}") from error


def _check_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS or width < 0:
        raise ValueError(f"its header declares {width} x {height} pixels; 1 to {MAX_PIXELS} are allowed")


# -- OpenEXR ---------------------------------------------------------------------------------------------------------
def _read_exr(path: Path) -> np.ndarray:
    import OpenEXR

    header = OpenEXR.File(str(path), header_only=True, num_threads=1).header()
    low, high = header["dataWindow"]
    width = int(high[0]) - int(low[0]) + 1
    height = int(high[1]) - int(low[1]) + 1
    _check_pixels(width, height)  # before anything is decoded
    channels = OpenEXR.File(str(path), separate_channels=True, num_threads=1).channels()
    planes = [channels[name].pixels for name in _colour_channels(channels)]
    if any(plane.shape != planes[0].shape for plane in planes):
        raise ValueError("its colour channels differ in size; subsampled chroma is not supported")
    return np.stack(planes).astype(np.float32)


def _colour_channels(channels: Mapping[str, object]) -> list[str]:
    """R, G and B of the picture, or of its only layer; else Y; else the only channel beside alpha."""
    layers = [name.removesuffix(".R") for name in channels if name.endswith(".R")]
    prefixes = ["", f"{layers[0]}."] if len(layers) == 1 else [""]
    for prefix in prefixes:
        names = [f"{prefix}{colour}" for colour in "RGB"]
        if all(name in channels for name in names):
            return names
    if "Y" in channels:
        return ["Y"]
    without_alpha = [name for name in channels if name.split(".")[-1] != "A"]
    if len(without_alpha) == 1:
        return without_alpha
    raise ValueError(f"it must have channels R, G and B, or just one; got {', '.join(sorted(channels))}")


def _write_exr(path: Path, rgb_HW3: np.ndarray) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": rgb_HW3}).write(str(path))


# -- Radiance RGBE ---------------------------------------------------------------------------------------------------
def _read_rgbe(path: Path) -> np.ndarray:
    """A text header, then scanlines: flat, run-length encoded by pixel (old), or by byte and component (new).

    Source: G. Ward, "Real pixels", Graphics Gems II, 1991, and the Radiance picture format.
    """
    data = path.read_bytes()
    if not data.startswith((b"#?RADIANCE", b"#?RGBE")):
        raise ValueError("a Radiance picture must begin with #?RADIANCE or #?RGBE")
    end = data.find(b"\n\n")
    fields = dict(line.split(b"=", 1) for line in data[: max(0, end)].split(b"\n") if b"=" in line)
    resolution = _RESOLUTION.match(data, end + 2) if end >= 0 else None
    if resolution is None:
        raise ValueError("after a blank line there must be a line such as '-Y 480 +X 640'; no other order is supported")
    if fields.get(b"FORMAT", RGBE_FORMAT).strip() != RGBE_FORMAT:
        raise ValueError(f"FORMAT must be {RGBE_FORMAT.decode()}; got {fields[b'FORMAT'].decode('latin1')!r}")
    height, width = (int(number) for number in resolution.groups())
    _check_pixels(width, height)
    rgbe_HW4 = _scanlines(data, resolution.end(), height, width)
    mantissa = rgbe_HW4[..., :3]
    exponent = rgbe_HW4[..., 3:]
    unit = np.ldexp(1.0, exponent.astype(np.int32) - 136)
    light_HW3 = np.where(exponent > 0, (mantissa + 0.5) * unit, 0.0) / _exposure(fields)
    return light_HW3.transpose(2, 0, 1).astype(np.float32)


def _exposure(fields: Mapping[bytes, bytes]) -> float:
    """The factor from light to the values in the file."""
    value = float(fields.get(b"EXPOSURE", b"1"))
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"EXPOSURE must be a finite number above 0; got {value}")
    return value


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


def _write_rgbe(path: Path, rgb_HW3: np.ndarray) -> None:
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


# -- PFM and NumPy ---------------------------------------------------------------------------------------------------
def _read_pfm(path: Path) -> np.ndarray:
    """PF or Pf, width and height, a scale whose sign is the byte order (negative: little-endian), then rows from the
    bottom up. Source: P. Debevec's portable float map."""
    data = path.read_bytes()
    header = re.match(rb"P([Ff])\s+(\d{1,6})\s+(\d{1,6})\s+(-?[0-9.eE+-]{1,20})\s", data)
    if header is None:
        raise ValueError("a portable float map must begin with PF or Pf, width, height and scale")
    channels = 3 if header[1] == b"F" else 1
    width = int(header[2])
    height = int(header[3])
    _check_pixels(width, height)
    expected = 4 * channels * width * height
    if len(data) - header.end() < expected:
        raise ValueError(f"the file is truncated: {expected} bytes of pixels expected, got {len(data) - header.end()}")
    order = "<f4" if float(header[4]) < 0 else ">f4"
    flat = np.frombuffer(data, order, count=expected // 4, offset=header.end())
    return flat.reshape(height, width, channels)[::-1].transpose(2, 0, 1).astype(np.float32)


def _write_pfm(path: Path, rgb_HW3: np.ndarray) -> None:
    height, width = rgb_HW3.shape[:2]
    path.write_bytes(b"PF\n%d %d\n-1.0\n" % (width, height) + rgb_HW3[::-1].astype("<f4").tobytes())


def _read_npy(path: Path) -> np.ndarray:
    """An array of numbers, [H, W] or [H, W, channels]."""
    array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiub":
        raise ValueError(f"it must hold numbers [H, W] or [H, W, 3]; got {array.dtype} {array.shape}")
    _check_pixels(array.shape[1], array.shape[0])
    return array.reshape(*array.shape[:2], -1).transpose(2, 0, 1)[:3].astype(np.float32)


def _write_npy(path: Path, rgb_HW3: np.ndarray) -> None:
    np.save(path, rgb_HW3)
