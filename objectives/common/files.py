"""A user's own image files: PNG, JPEG, BMP or TIFF, read to rgb_3HW in [0, 1]. Errors name the file."""

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
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # judged by the content of a file, whatever its name
MAX_PIXELS = 80_000_000  # a small file can declare a huge image, so the header is checked before anything is decoded
_GREY16 = frozenset({"I;16", "I;16B", "I;16L"})
_TO_RGB = frozenset({"1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """The image in a file, rgb_3HW, float32 in [0, 1]. It has 8 bits per channel, or 16 if it is grey.

    Grey is repeated in all three channels, the camera's rotation is applied, and of several frames the first is read.
    Raises ValueError with the path and the cause for a file that is missing, empty, truncated, no image, larger than
    `max_pixels`, transparent, or not of 8 or 16 bits.
    """
    path = Path(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            return _decode(image, max_pixels)
    except Exception as error:  # the decoders raise errors of many kinds
        raise ValueError(f"cannot read the image {path}: {_cause(path, error)}") from error


def image_files(folder: Path | str) -> list[Path]:
    """The image files directly in a folder, sorted by name. Raises ValueError if it is no folder or holds no image."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder of images; it is not a folder")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise ValueError(f"{folder} holds no image; allowed: {', '.join(sorted(SUFFIXES))}")
    return paths


def png_for_each(paths: Iterable[Path], into: Path) -> dict[Path, Path]:
    """The output path NAME.png in the folder `into`, for each input file NAME.

    Raises ValueError if an output exists already, or if two inputs would have the same output.
    """
    outputs = {path: into / f"{path.stem}.png" for path in paths}
    count = Counter(outputs.values())
    for path, output in outputs.items():
        if output.exists():
            raise ValueError(f"{output} is there already and is not overwritten; name another folder")
        if count[output] > 1:
            raise ValueError(f"{path}: another file in its folder would also become {output.name}; rename one of them")
    return outputs


def content_hash(paths: Iterable[Path]) -> str:
    """sha256 over the content of files, in order. Tasks use it for `Task.origins`."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
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
    lowest = int(np.asarray(rgba.getchannel("A")).min())
    if lowest < 255:
        raise ValueError(f"it is transparent (smallest alpha {lowest} of 255); flatten it first")
    return rgba.convert("RGB")


def _cause(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    return str(error) or type(error).__name__
