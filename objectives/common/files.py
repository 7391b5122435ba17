"""A user's own image files, read to rgb_3HW in [0, 1] as sRGB. Errors name the file.

PNG, JPEG, BMP, TIFF, WebP, GIF and AVIF, judged by their content whatever their names.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from objectives.common.colour import srgb_from_linear
from objectives.common.content import content_hash
from objectives.common.formats import ADVICE, READ, SUFFIXES, format_of
from objectives.common.headers import MAX_PIXELS, describe, start_of
from objectives.common.listing import pictures_in, warn_of_skipped
from objectives.common.profiles import ProfileError, changes_colours, linear_from_profile, rgb_from_profile

__all__ = ["MAX_PIXELS", "SUFFIXES", "content_hash", "image_files", "read_image", "write_png"]

TWELVE_BITS = 4095
ORIENTATION, BITS_PER_SAMPLE, PHOTOMETRIC, PLANAR = 0x0112, 258, 262, 284  # tags of EXIF and TIFF
INTEROPERABILITY = 0xA005  # a directory of EXIF
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GREY16 = frozenset({"I;16", "I;16B", "I;16L"})
_TO_RGB = frozenset({"1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "HSV"})
_ALPHA = frozenset({"LA", "La", "PA", "RGBA", "RGBa"})
_COLOUR16 = re.compile(r"(?:RGB|RGBA|RGBX|RGBa);16[BLN]")  # how Pillow names such pixels while they are in the file


def read_image(path: Path | str, *, max_pixels: int = MAX_PIXELS) -> Tensor:
    """The image in a file, rgb_3HW, float32 in [0, 1]. It has 8 or 16 bits a channel, or 12 if it is a grey TIFF.

    Grey is repeated in all three channels, the camera's rotation is applied, and colours are converted to sRGB from the
    file's colour profile. Of several frames the first is read, with a warning.
    Raises ValueError with the path and the cause for a file that is missing, empty, truncated, of another format,
    larger than `max_pixels`, transparent, or of other depths.
    """
    path = Path(path)
    try:
        with _opened(path) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(f"{width} x {height} pixels; at most {max_pixels} are allowed; make it smaller first")
            _warn_of_frames(path, image)
            return _decoded(path, image)
    except Exception as error:  # the decoders raise errors of many kinds
        raise ValueError(f"cannot read the image {path}: {_cause(path, error)}") from error


def write_png(image: Tensor, path: Path) -> None:
    """Write bytes rgb_3HW as PNG: the pixels alone, without EXIF or profile, which for viewers is sRGB."""
    Image.fromarray(image.permute(1, 2, 0).contiguous().numpy()).save(path, "PNG")


def image_files(folder: Path | str) -> list[Path]:
    """The pictures in a folder and its subfolders, sorted by name. A warning names pictures of kinds that are not read.

    Raises ValueError if it is no folder or holds no picture.
    """
    paths, skipped = pictures_in(folder)
    warn_of_skipped(folder, skipped)
    return paths


def _opened(path: Path) -> ImageFile.ImageFile:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `max_pixels` is checked before decoding
        return Image.open(path, formats=READ)


def _warn_of_frames(path: Path, image: ImageFile.ImageFile) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # whose further frames are a phone's previews and depth maps
        warnings.warn(f"{path}: it has {frames} frames, and only the first is read", stacklevel=3)


def _decoded(path: Path, image: ImageFile.ImageFile) -> Tensor:
    """sRGB, rgb_3HW in [0, 1]."""
    icc = _profile(path, image)
    if image.mode in _GREY16:
        return _from_16_bits(_grey(image)[..., None], icc)
    rawmode = _rawmode(image)
    if _has_planes_of_16_bits(image):
        raise ValueError("planes of 16 bits; save it with its channels side by side (interleaved)")
    if ";16" in rawmode:
        return _from_16_bits(_colour16(path, rawmode), icc)
    image.load()
    upright = _upright(image)
    if upright.mode in _ALPHA or "transparency" in image.info:
        upright = _opaque(upright)
    if upright.mode not in _TO_RGB:
        raise ValueError(f"pixel mode {image.mode!r}; 8 or 16 bits a channel are allowed")
    rgb = upright.convert("RGB") if icc is None else rgb_from_profile(upright, icc)
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous().float().div_(255)


def _from_16_bits(values_HWC: np.ndarray, icc: bytes | None) -> Tensor:
    if icc is not None:
        linear_HW3 = linear_from_profile(values_HWC, icc)
        values_HWC = srgb_from_linear(torch.from_numpy(linear_HW3).clamp(0, 1)).numpy()
    return torch.from_numpy(values_HWC).permute(2, 0, 1).expand(3, -1, -1).contiguous()


def _profile(path: Path, image: ImageFile.ImageFile) -> bytes | None:
    """The file's colour profile if it changes colours. One that says nothing about them is left out with a warning."""
    icc = image.info.get("icc_profile")
    if not icc:
        if _says_adobe_rgb(image):
            warnings.warn(f"{path}: its EXIF says Adobe RGB, and it has no profile; it is read as sRGB", stacklevel=4)
        return None
    try:
        return icc if changes_colours(icc, image.mode) else None
    except ProfileError as error:
        warnings.warn(f"{path}: {error}; its colours are read as sRGB", stacklevel=4)
        return None


def _says_adobe_rgb(image: ImageFile.ImageFile) -> bool:
    """Whether a camera wrote Adobe RGB by the rules of DCF: JPEG with the index R03, and perhaps no profile."""
    if image.format not in ("JPEG", "MPO"):
        return False  # of PNG, Pillow would decode everything to look for EXIF
    try:
        return image.getexif().get_ifd(INTEROPERABILITY).get(1) == "R03"
    except Exception:  # as in `_upright`
        return False


def _grey(image: ImageFile.ImageFile) -> np.ndarray:
    """Grey of 12 or 16 bits, float32 [H, W] in [0, 1]."""
    tags = getattr(image, "tag_v2", {})  # of TIFF
    bits = tags.get(BITS_PER_SAMPLE, (16,))
    black_is_highest = tags.get(PHOTOMETRIC, 1) == 0
    image.load()
    grey_HW = np.asarray(_upright(image), dtype=np.float32) / (TWELVE_BITS if bits == (12,) else 65535)
    return 1 - grey_HW if black_is_highest else grey_HW


def _rawmode(image: ImageFile.ImageFile) -> str:
    """Pillow's name for the pixels in the file, such as RGB;16B; empty where they have none."""
    arguments = image.tile[0].args if image.tile else None
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _has_planes_of_16_bits(image: ImageFile.ImageFile) -> bool:
    """Whether a TIFF keeps each channel for itself, of which Pillow reads 8 bits whatever it is told."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(PLANAR, 1) == 2 and 16 in tags.get(BITS_PER_SAMPLE, ())


def _colour16(path: Path, rawmode: str) -> np.ndarray:
    """Colour of 16 bits, float32 [H, W, 3] in [0, 1].

    Pillow keeps 8 of the 16 bits: the first byte of each value where it is told that the bytes are big-endian (B), and
    the second where they are little-endian (L). So the file is decoded twice, once with each name.
    """
    if not _COLOUR16.fullmatch(rawmode):
        raise ValueError(f"pixels {rawmode!r} in the file; of 16 bits a channel, RGB and grey are allowed")
    little = rawmode[-1] == "L" or (rawmode[-1] == "N" and sys.byteorder == "little")
    channels = rawmode[:-1].replace("a", "A")
    high_HWC, low_HWC = (_decoded_as(path, channels + order) for order in ("LB" if little else "BL"))
    values_HWC = high_HWC.astype(np.float32) * 256 + low_HWC
    if values_HWC.shape[-1] == 4 and values_HWC[..., 3].min() < 65535:
        raise ValueError("it is transparent; flatten it first")
    return values_HWC[..., :3] / 65535


def _decoded_as(path: Path, rawmode: str) -> np.ndarray:
    """The pixels of 8 bits that Pillow makes when it takes the file's pixels for `rawmode`, [H, W, C]."""
    with _opened(path) as image:
        image.tile = [
            tile._replace(args=(rawmode, *tile.args[1:]) if isinstance(tile.args, tuple) else rawmode)
            for tile in image.tile
        ]
        image.load()
        return np.asarray(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as the camera says. A damaged EXIF turns nothing. TIFF was turned by Pillow in loading."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises errors of many kinds, SyntaxError among them
        return image
    return image if turn is None else image.transpose(turn)


def _opaque(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    lowest = int(np.asarray(rgba.getchannel("A")).min())
    if lowest < 255:
        raise ValueError(f"it is transparent (smallest alpha {lowest} of 255); flatten it first")
    return rgba.convert("RGB")


def _cause(path: Path, error: Exception) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return "the file is empty"
    if isinstance(error, UnidentifiedImageError):
        return _what_it_is(path)
    if isinstance(error, Image.DecompressionBombError):
        return f"it declares more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels; at most {MAX_PIXELS} are allowed"
    return str(error) or type(error).__name__


def _what_it_is(path: Path) -> str:
    name = format_of(path)
    if name in ADVICE:
        return ADVICE[name]
    if name in READ:
        return f"it is a {name} file that is damaged, or of a kind that is not read"
    return f"{describe(start_of(path))}; allowed: {', '.join(READ)}"
