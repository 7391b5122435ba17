"""Colour profiles: the colours of a picture as its profile defines them, converted to sRGB.

LittleCMS, inside Pillow, converts pictures of 8 bits. It has no way in for colour of 16 bits, so for those the tone
curves of the profile are read here. Source: ICC.1:2022, 10.6 (curveType) and 10.18 (parametricCurveType).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageCms

MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # Pillow's mode for the colours that a profile is about
GREY = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L"})
NEAR = 1  # levels of 255: a profile that moves no colour further is sRGB


class ProfileError(ValueError):
    """A profile that says nothing about the picture: damaged, or for other colours. Viewers ignore it."""


def changes_colours(icc: bytes, mode: str) -> bool:
    """Whether a profile means other colours than sRGB does, in a picture of Pillow's `mode`. Raises ProfileError."""
    profile = _parsed(icc)
    about = _mode_of(profile)
    is_about_it = {"RGB": mode != "CMYK", "L": mode in GREY, "CMYK": mode == "CMYK"}
    if not is_about_it.get(about, False):
        raise ProfileError(f"its colour profile is for {about}, and the picture is {mode}")
    return about == "CMYK" or not _is_srgb(profile, about)


def rgb_from_profile(image: Image.Image, icc: bytes) -> Image.Image:
    """The picture of 8 bits in sRGB, mode RGB. Raises ProfileError."""
    profile = _parsed(icc)
    return _transformed(image.convert(_mode_of(profile)), profile)


def linear_from_profile(values_HWC: np.ndarray, icc: bytes) -> np.ndarray:
    """Linear light with the primaries of sRGB, [H, W, 3], of colour or grey values in [0, 1], [H, W, 3 or 1].

    Raises ProfileError, and ValueError for a profile that is not made of a matrix and tone curves.
    """
    profile = _parsed(icc)
    tags = _tags(icc)
    if "A2B0" in tags:
        raise ValueError("its colour profile is a table, which is converted for 8 bits a channel alone; export as sRGB")
    if _mode_of(profile) == "L":
        return _curve(tags, "kTRC", values_HWC).repeat(3, -1)
    values_HW3 = np.broadcast_to(values_HWC, (*values_HWC.shape[:2], 3))
    curves = ("rTRC", "gTRC", "bTRC")
    linear_HW3 = np.stack([_curve(tags, name, values_HW3[..., index]) for index, name in enumerate(curves)], -1)
    to_srgb_33 = np.linalg.solve(_xyz_of_rgb(_srgb()), _xyz_of_rgb(profile))
    return linear_HW3 @ to_srgb_33.T.astype(np.float32)


def _parsed(icc: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ImageCms.PyCMSError) as error:
        raise ProfileError(f"its colour profile is damaged ({error})") from error


def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _mode_of(profile: ImageCms.ImageCmsProfile) -> str:
    space = profile.profile.xcolor_space.strip()
    return MODES.get(space, space)


def _is_srgb(profile: ImageCms.ImageCmsProfile, mode: str) -> bool:
    levels = np.linspace(0, 255, 12).round().astype(np.uint8)
    colours_HW3 = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(12, -1, 3)
    image = Image.fromarray(colours_HW3).convert(mode)
    converted, plain = (np.asarray(rgb).astype(int) for rgb in (_transformed(image, profile), image.convert("RGB")))
    return int(np.abs(converted - plain).max()) <= NEAR


def _transformed(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    try:
        converted = ImageCms.profileToProfile(image, profile, _srgb(), outputMode="RGB")
    except ImageCms.PyCMSError as error:
        raise ProfileError(f"its colour profile cannot be used ({error})") from error
    assert converted is not None  # None is for conversion in place
    return converted


def _xyz_of_rgb(profile: ImageCms.ImageCmsProfile) -> np.ndarray:
    """XYZ of the primaries, [3, 3], a column for each."""
    primaries = [getattr(profile.profile, f"{name}_colorant") for name in ("red", "green", "blue")]
    if None in primaries:
        raise ProfileError("its colour profile has no primaries")
    return np.array([xyz for xyz, _ in primaries]).T


def _tags(icc: bytes) -> Mapping[str, bytes]:
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        entries = [struct.unpack_from(">4sII", icc, 132 + 12 * index) for index in range(count)]
    except struct.error as error:
        raise ProfileError("its colour profile is cut off") from error
    return {name.decode("latin-1"): icc[start : start + size] for name, start, size in entries}


def _curve(tags: Mapping[str, bytes], name: str, values: np.ndarray) -> np.ndarray:
    """Linear values of encoded ones, by a tone curve."""
    tag = tags.get(name, b"")
    try:
        kind = tag[:4]
        if kind == b"curv":
            (count,) = struct.unpack_from(">I", tag, 8)
            return _sampled(struct.unpack_from(f">{count}H", tag, 12), values)
        if kind == b"para":
            (number,) = struct.unpack_from(">H", tag, 8)
            count = (1, 3, 4, 5, 7)[number]
            return _parametric(number, [x / 65536 for x in struct.unpack_from(f">{count}i", tag, 12)], values)
    except (struct.error, IndexError) as error:
        raise ProfileError(f"the tone curve {name} of its colour profile is damaged") from error
    raise ProfileError(f"its colour profile has no tone curve {name}")


def _sampled(samples: tuple[int, ...], values: np.ndarray) -> np.ndarray:
    if not samples:
        return values
    if len(samples) == 1:
        return values ** np.float32(samples[0] / 256)
    table = np.array(samples, np.float32) / 65535
    return np.interp(values, np.linspace(0, 1, len(table)), table).astype(np.float32)


def _parametric(number: int, parameters: list[float], values: np.ndarray) -> np.ndarray:
    """Y = (a X + b)^g + e from X = d on, and c X + f below; the shorter kinds leave some of these out."""
    g, a, b, c, d, e, f = _completed(number, parameters)
    powered = np.maximum(a * values + b, 0) ** np.float32(g) + e
    return np.where(values >= d, powered, c * values + f).astype(np.float32)


def _completed(number: int, parameters: list[float]) -> list[float]:
    """The seven parameters of the longest kind that mean the same."""
    if number == 0:
        return [*parameters, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    if number in (1, 2):
        g, a, b = parameters[:3]
        offset = parameters[3] if number == 2 else 0.0
        return [g, a, b, 0.0, -b / a, offset, offset]
    return [*parameters, 0.0, 0.0][:7]
