"""A user's own image files: PNG, JPEG, BMP or TIFF to rgb_3HW in [0, 1], or an error that names the file."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # a file is one of these by its content, whatever it is called
MAX_PIXELS = 80_000_000  # a small file can declare a huge image: the header is judged before anything is decoded
_GREY16 = frozenset({"I;16", "I;16B", "I;16L"})
_TO_RGB = frozenset({"1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """The image in a file, rgb_3HW, float32 in [0, 1]: 8 bits a channel, or 16 for grey; grey is repeated, the camera's
    rotation is applied, and of several frames the first is taken.

    Raises ValueError with the path and the cause for a file that is missing, empty, truncated, no image, larger than
    `max_pixels`, transparent, or not of 8 or 16 bits.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            return _decode(image, max_pixels)
    except Exception as error:  # the decoders raise whatever they stumble over
        raise ValueError(f"cannot read the image {path}: {_cause(path, error)}") from error


def image_files(folder: Path | str) -> list[Path]:
    """The image files directly in a folder, by name. Raises ValueError where there is no folder or no image in it."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of images; it is not a folder")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        raise ValueError(f"{folder} holds no image; allowed: {', '.join(sorted(SUFFIXES))}")
    return found


def png_for_each(paths: Iterable[Path], into: Path) -> dict[Path, Path]:
    """NAME.png in another folder for each file. Raises ValueError where it is there already, or two would be one."""
    written = {path: into / f"{path.stem}.png" for path in paths}
    count = Counter(written.values())
    for path, to in written.items():
        if to.exists():
            raise ValueError(f"{to} is there already, and nothing is overwritten; name another folder")
        if count[to] > 1:
            raise ValueError(f"{path}: another file beside it would become {to.name} too; rename one")
    return written


def content_hash(paths: Iterable[Path]) -> str:
    """sha256 over the bytes of files, in order: what a split's `origins` are made of."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _decode(image: Image.Image, max_pixels: int) -> Tensor:
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(f"{width} x {height} pixels; at most {max_pixels} are allowed")
    if image.mode in _GREY16:
        grey_HW = np.asarray(ImageOps.exif_transpose(image), dtype=np.float32) / 65535
        return torch.from_numpy(grey_HW).expand(3, -1, -1).contiguous()
    image = ImageOps.exif_transpose(image)
    if image.mode in _ALPHA or "transparency" in image.info:
        image = _opaque(image)
    if image.mode not in _TO_RGB:
        raise ValueError(f"pixel mode {image.mode!r}; 8 bits a channel or 16-bit grey are allowed")
    rgb_HW3 = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
    return torch.from_numpy(rgb_HW3).permute(2, 0, 1).contiguous()


def _opaque(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    lowest = rgba.getchannel("A").getextrema()[0]
    if lowest < 255:
        raise ValueError(f"it is transparent (smallest alpha {lowest} of 255); flatten it first")
    return rgba.convert("RGB")


def _cause(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    return str(error) or type(error).__name__
