"""High-dynamic-range image files, in and out: OpenEXR, Radiance RGBE (.hdr), PFM, and NumPy arrays (.npy).

Light is linear, float32, rgb_3HW, as the file holds it: nothing is scaled or clipped here. A file that cannot be read
is a ValueError that names it.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from objectives.common.files import MAX_PIXELS, read_image
from objectives.common.files import SUFFIXES as PLAIN_SUFFIXES

SUFFIXES = frozenset({".exr", ".hdr", ".pfm", ".npy"})
MASK_SUFFIXES = SUFFIXES | PLAIN_SUFFIXES  # a mask needs no dynamic range
_RESOLUTION = re.compile(rb"-Y (\d{1,6}) \+X (\d{1,6})\n")


def read_light(path: Path | str) -> Tensor:
    """The picture in a file, rgb_3HW; one channel is repeated, and alpha and every other channel are left out.

    Raises ValueError with the path and the cause for a file that is missing, truncated, of another format or larger
    than MAX_PIXELS. What the values are, finite or not, is the caller's to judge.
    """
    planes_AHW = _planes(Path(path))
    if planes_AHW.shape[0] not in (1, 3):
        raise ValueError(f"cannot read {path}: 1 or 3 channels of colour are allowed; got {planes_AHW.shape[0]}")
    return torch.from_numpy(np.ascontiguousarray(planes_AHW, np.float32)).expand(3, -1, -1).contiguous()


def read_mask(path: Path | str) -> Tensor:
    """A mask in a file, [1, H, W] bool: where any channel is above one half. A plain picture (PNG, ...) will do.
    Raises ValueError as read_light does, and for values that are not finite."""
    path = Path(path)
    planes_AHW = read_image(path).numpy() if path.suffix.lower() in PLAIN_SUFFIXES else _planes(path)
    if not np.isfinite(planes_AHW).all():
        raise ValueError(
            f"cannot read the mask {path}: it holds {int((~np.isfinite(planes_AHW)).sum())} values that are not finite"
        )
    return torch.from_numpy((planes_AHW > 0.5).any(0, keepdims=True))


def write_light(path: Path | str, rgb_3HW: Tensor) -> None:
    """Write a picture in the format that the suffix names: .exr (32-bit float, ZIP), .pfm and .npy exactly, .hdr to
    one part in 256 of a pixel's largest channel. Raises ValueError for another suffix, for values that are not finite,
    and for negative ones where the format (.hdr) has none."""
    path, rgb_HW3 = Path(path), np.ascontiguousarray(rgb_3HW.detach().cpu().float().permute(1, 2, 0).numpy())
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(sorted(SUFFIXES))}")
    if not np.isfinite(rgb_HW3).all():
        raise ValueError(f"{path}: {int((~np.isfinite(rgb_HW3)).sum())} values to be written are not finite")
    {".exr": _write_exr, ".hdr": _write_rgbe, ".pfm": _write_pfm, ".npy": np.save}[path.suffix.lower()](path, rgb_HW3)


def _planes(path: Path) -> np.ndarray:
    """Channels first, [A, H, W]: colour only, red first."""
    readers = {".exr": _read_exr, ".hdr": _read_rgbe, ".pfm": _read_pfm, ".npy": _read_npy}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} must end in one of {', '.join(sorted(readers))}")
    if not path.is_file():
        raise ValueError(f"cannot read {path}: there is no such file")
    try:
        return readers[path.suffix.lower()](path)
    except Exception as error:  # the decoders raise whatever they stumble over
        raise ValueError(f"cannot read {path}: {error or type(error).__name__}") from error


def _check_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PIXELS or width < 0:
        raise ValueError(f"it says that it has {width} x {height} pixels; 1 to {MAX_PIXELS} are allowed")


# -- OpenEXR ---------------------------------------------------------------------------------------------------------
def _read_exr(path: Path) -> np.ndarray:
    import OpenEXR

    header = OpenEXR.File(str(path), header_only=True, num_threads=1).header()
    low, high = header["dataWindow"]
    _check_pixels(int(high[0]) - int(low[0]) + 1, int(high[1]) - int(low[1]) + 1)  # before anything is decoded
    channels = OpenEXR.File(str(path), separate_channels=True, num_threads=1).channels()
    planes = [channels[name].pixels for name in _colour_channels(channels)]
    if any(plane.shape != planes[0].shape for plane in planes):
        raise ValueError("its colour channels differ in size; subsampled chroma is not supported")
    return np.stack(planes).astype(np.float32)


def _colour_channels(channels: Mapping[str, object]) -> list[str]:
    """R, G, B of the picture or of its only layer; else the one channel there is."""
    names = list(channels)
    layers = sorted({name[: -len(".R")] for name in names if name.endswith(".R")})
    for prefix in [""] + ([f"{layers[0]}."] if len(layers) == 1 else []):
        if all(f"{prefix}{colour}" in channels for colour in "RGB"):
            return [f"{prefix}{colour}" for colour in "RGB"]
    single = [name for name in names if name.split(".")[-1] != "A"]
    if len(single) == 1 or "Y" in names:
        return ["Y"] if "Y" in names else single
    raise ValueError(f"it must have channels R, G and B, or just one; got {', '.join(sorted(names))}")


def _write_exr(path: Path, rgb_HW3: np.ndarray) -> None:
    import OpenEXR

    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File(header, {"RGB": rgb_HW3}).write(str(path))


# -- Radiance RGBE ---------------------------------------------------------------------------------------------------
def _read_rgbe(path: Path) -> np.ndarray:
    """Source: G. Ward, "Real pixels", Graphics Gems II, 1991, and the Radiance picture format: a text header, then
    scanlines that are flat, run-length encoded by pixel (old) or by byte and component (new)."""
    data = path.read_bytes()
    if not data.startswith((b"#?RADIANCE", b"#?RGBE")):
        raise ValueError("a Radiance picture must begin with #?RADIANCE or #?RGBE")
    end = data.find(b"\n\n")
    fields = dict(line.split(b"=", 1) for line in data[: max(0, end)].split(b"\n") if b"=" in line)
    resolution = _RESOLUTION.match(data, end + 2) if end >= 0 else None
    if resolution is None:
        raise ValueError("after a blank line there must be a line such as '-Y 480 +X 640'; no other order is supported")
    if fields.get(b"FORMAT", b"32-bit_rle_rgbe").strip() != b"32-bit_rle_rgbe":
        raise ValueError(f"FORMAT must be 32-bit_rle_rgbe; got {fields[b'FORMAT'].decode('latin1')!r}")
    height, width = (int(number) for number in resolution.groups())
    _check_pixels(width, height)
    rgbe_HW4 = _scanlines(data, resolution.end(), height, width)
    unit = np.ldexp(1.0, rgbe_HW4[..., 3:].astype(np.int32) - 136)
    light_HW3 = np.where(rgbe_HW4[..., 3:] > 0, (rgbe_HW4[..., :3] + 0.5) * unit, 0.0) / _exposure(fields)
    return light_HW3.transpose(2, 0, 1).astype(np.float32)


def _exposure(fields: Mapping[bytes, bytes]) -> float:
    """What the pixels have been multiplied by since they were light."""
    value = float(fields.get(b"EXPOSURE", b"1"))
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"EXPOSURE must be a finite number above 0; got {value}")
    return value


def _scanlines(data: bytes, start: int, height: int, width: int) -> np.ndarray:
    rgbe_HW4, at = np.empty((height, width, 4), np.uint8), start
    new = bytes([2, 2, width >> 8, width & 255])
    for row in range(height):
        if 8 <= width < 32768 and data[at : at + 4] == new:
            at = _by_component(data, at + 4, rgbe_HW4[row])
        else:
            at = _by_pixel(data, at, rgbe_HW4[row])
    return rgbe_HW4


def _by_component(data: bytes, at: int, line_W4: np.ndarray) -> int:
    """One scanline, all reds first: a count above 128 repeats the next byte, another is followed by that many bytes.
    Returns where the next scanline begins."""
    width = len(line_W4)
    for component in range(4):
        done = 0
        while done < width:
            count = data[at]
            run = count > 128
            count -= 128 if run else 0
            values = data[at + 1 : at + 2] if run else data[at + 1 : at + 1 + count]
            if not 0 < count <= width - done or len(values) != (1 if run else count):
                raise ValueError("a run of its scanlines leaves the picture, or the file is truncated")
            line_W4[done : done + count, component] = values[0] if run else np.frombuffer(values, np.uint8)
            at, done = at + 1 + len(values), done + count
    return at


def _by_pixel(data: bytes, at: int, line_W4: np.ndarray) -> int:
    """One scanline of whole pixels; 1, 1, 1, n repeats the last pixel n times, and one that follows at once 256 n."""
    width, done, shift = len(line_W4), 0, 0
    flat = np.frombuffer(data, np.uint8, count=min(4 * width, max(0, len(data) - at)), offset=at)
    if len(flat) == 4 * width and not (flat.reshape(-1, 4)[:, :3] == 1).all(1).any():
        line_W4[:] = flat.reshape(-1, 4)
        return at + 4 * width
    while done < width:
        pixel = data[at : at + 4]
        if len(pixel) < 4:
            raise ValueError("the file is truncated")
        if pixel[:3] == b"\1\1\1":
            count = pixel[3] << shift
            if done == 0 or count > width - done:
                raise ValueError("a run of its scanlines leaves the picture")
            line_W4[done : done + count] = line_W4[done - 1]
            done, shift = done + count, shift + 8
        else:
            line_W4[done] = np.frombuffer(pixel, np.uint8)
            done, shift = done + 1, 0
        at += 4
    return at


def _write_rgbe(path: Path, rgb_HW3: np.ndarray) -> None:
    """Flat scanlines: a pixel's largest mantissa is at least 128, so none can be taken for a run."""
    if (rgb_HW3 < 0).any():
        raise ValueError(f"{path}: Radiance pictures hold no negative light; got {float(rgb_HW3.min()):g}")
    largest = rgb_HW3.max(-1, keepdims=True)
    exponent = np.where(largest > 1e-32, np.frexp(largest)[1], -128)
    mantissa = np.floor(rgb_HW3 * np.ldexp(256.0, -exponent)).clip(0, 255)
    if int(exponent.max()) > 127:
        raise ValueError(f"{path}: Radiance pictures hold light up to 1.7e38; got {float(largest.max()):g}")
    rgbe_HW4 = np.where(exponent > -128, np.concatenate([mantissa, exponent + 128], -1), 0).astype(np.uint8)
    height, width = rgb_HW3.shape[:2]
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y %d +X %d\n" % (height, width) + rgbe_HW4.tobytes())


# -- PFM and NumPy ---------------------------------------------------------------------------------------------------
def _read_pfm(path: Path) -> np.ndarray:
    """Source: P. Debevec's portable float map: PF or Pf, width and height, a scale whose sign is the byte order (below
    0: little-endian), then rows from the bottom up."""
    data = path.read_bytes()
    header = re.match(rb"P([Ff])\s+(\d{1,6})\s+(\d{1,6})\s+(-?[0-9.eE+-]{1,20})\s", data)
    if header is None:
        raise ValueError("a portable float map must begin with PF or Pf, width, height and scale")
    channels, width, height = 3 if header[1] == b"F" else 1, int(header[2]), int(header[3])
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
    """[H, W] or [H, W, channels], of numbers. The array's own header is judged before its values are read."""
    array = np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiub":
        raise ValueError(f"it must hold numbers [H, W] or [H, W, 3]; got {array.dtype} {array.shape}")
    _check_pixels(array.shape[1], array.shape[0])
    return array.reshape(*array.shape[:2], -1).transpose(2, 0, 1)[:3].astype(np.float32)
