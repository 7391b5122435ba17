"""High-dynamic-range image files, read and written: OpenEXR, Radiance RGBE (.hdr), PFM, and NumPy arrays (.npy).

Light is linear, float32, rgb_3HW, as in the file: nothing is scaled or clipped here. A file that cannot be read raises
a ValueError that names it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from objectives.common import exr, radiance
from objectives.common.exr import Windows
from objectives.common.files import SUFFIXES as PLAIN_SUFFIXES
from objectives.common.files import read_image
from objectives.common.headers import LONGEST, check_pixels, describe

SUFFIXES = frozenset({".exr", ".hdr", ".pfm", ".npy"})
MASK_SUFFIXES = SUFFIXES | PLAIN_SUFFIXES  # a mask needs no high dynamic range


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

    In a file of just two values, 0 and another one, that one is True, whatever it is: masks of 0 and 1 are stored in 8
    or 16 bits as often as masks of 0 and 255. Raises ValueError as read_light does, and for values that are not finite.
    """
    path = Path(path)
    planes_AHW = read_image(path).numpy() if path.suffix.lower() in PLAIN_SUFFIXES else _planes(path)
    bad = int((~np.isfinite(planes_AHW)).sum())
    if bad:
        raise ValueError(f"cannot read the mask {path}: it holds {bad} values that are not finite")
    largest_1HW = planes_AHW.max(0, keepdims=True)
    values = np.unique(largest_1HW)
    threshold = 0.0 if len(values) == 2 and values[0] == 0 else 0.5
    return torch.from_numpy(largest_1HW > threshold)


def read_windows(path: Path | str) -> Windows | None:
    """Where the picture of an OpenEXR file lies in its frame; None for other formats, which do not say it.

    Raises ValueError as read_light does.
    """
    path = Path(path)
    if path.suffix.lower() != ".exr":
        return None
    try:
        return exr.read_windows(path)
    except Exception as error:  # the decoder raises errors of many kinds
        raise ValueError(f"cannot read {path}: {error or type(error).__name__}") from error


def write_light(path: Path | str, rgb_3HW: Tensor, windows: Windows | None = None) -> None:
    """Write a picture in the format of the suffix: .exr (32-bit float, ZIP), .pfm and .npy exactly, .hdr to one part
    in 256 of a pixel's largest channel. `windows` says where it lies in its frame, which .exr alone can keep.

    Raises ValueError for another suffix, for values that are not finite, and for negative ones in .hdr, which has none.
    """
    path = Path(path)
    rgb_HW3 = np.ascontiguousarray(rgb_3HW.detach().cpu().float().permute(1, 2, 0).numpy())
    writers: dict[str, Callable[[Path, np.ndarray], None]] = {
        ".exr": lambda path, rgb_HW3: exr.write(path, rgb_HW3, windows),
        ".hdr": radiance.write,
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
    readers = {".exr": exr.read_planes, ".hdr": radiance.read_planes, ".pfm": _read_pfm, ".npy": _read_npy}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} must end in one of {', '.join(sorted(readers))}")
    if not path.is_file():
        raise ValueError(f"cannot read {path}: there is no such file")
    try:
        return readers[path.suffix.lower()](path)
    except Exception as error:  # the decoders raise errors of many kinds
        raise ValueError(f"cannot read {path}: {error or type(error).__name__}") from error


def _read_pfm(path: Path) -> np.ndarray:
    """PF or Pf, width and height, a scale whose sign is the byte order (negative: little-endian), then rows from the
    bottom up. Source: P. Debevec's portable float map."""
    data = path.read_bytes()
    header = re.match(rb"P([Ff])\s+(\d{1,6})\s+(\d{1,6})\s+(-?[0-9.eE+-]{1,20})\s", data)
    if header is None:
        raise ValueError(
            f"a portable float map must begin with PF or Pf, width, height and scale; {describe(data[:LONGEST])}"
        )
    channels = 3 if header[1] == b"F" else 1
    width = int(header[2])
    height = int(header[3])
    check_pixels(width, height)
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
    data = path.read_bytes()
    if not data.startswith(b"\x93NUMPY"):
        raise ValueError(f"it is no file of a NumPy array: {describe(data[:LONGEST])}")
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim not in (2, 3) or array.dtype.kind not in "fiub":
        raise ValueError(f"it must hold numbers [H, W] or [H, W, 3]; got {array.dtype} {array.shape}")
    check_pixels(array.shape[1], array.shape[0])
    return array.reshape(*array.shape[:2], -1).transpose(2, 0, 1)[:3].astype(np.float32)


def _write_npy(path: Path, rgb_HW3: np.ndarray) -> None:
    np.save(path, rgb_HW3)
