"""OpenEXR files: the part and the channels that hold the picture, and where it lies.

A file may have several parts, each with a data window (the pixels that it holds) and a display window (the whole
frame). Both are in the coordinates of the frame, so that files of one frame can be aligned. Source: OpenEXR 3,
"Technical introduction" and "File layout".
Shapes: A channels of colour (3 in the order RGB, or 1), H x W pixels of the data window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from objectives.common.headers import EXR_START, check_pixels, describe, start_of

REC709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)  # x, y of red, green, blue and white: the default
_CHROMA = ("RY", "BY")


class Window(NamedTuple):
    """A rectangle of pixels; the last row and column belong to it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left + 1

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top + 1

    def __str__(self) -> str:
        return f"({self.left}, {self.top})-({self.right}, {self.bottom})"


class Windows(NamedTuple):
    """Where the picture of a file lies."""

    data: Window  # of the pixels in the file
    display: Window  # of the whole frame

    def __str__(self) -> str:
        return f"data window {self.data} in display window {self.display}"


class _Picture(NamedTuple):
    """The picture that was chosen among the parts of a file."""

    part: int
    parts: int
    channels: list[str]
    windows: Windows
    chromaticities: Sequence[float]


def read_windows(path: Path) -> Windows:
    """The windows of the picture in a file. Raises ValueError as read_planes does."""
    return _picture(path).windows


def read_planes(path: Path) -> np.ndarray:
    """The colour channels of the picture in a file, [A, H, W] float32.

    The picture is the only part with colour, and in it R, G and B, or those of the only layer; else luminance and
    chroma (Y, RY, BY), made RGB; else Y; else the only channel beside alpha. Raises ValueError with the cause, without
    the path: no OpenEXR file, a damaged one, several parts or layers to choose from, deep pixels, too many pixels.
    """
    import OpenEXR

    picture = _picture(path)
    parts = OpenEXR.File(str(path), separate_channels=True, num_threads=1).parts
    if len(parts) != picture.parts:
        raise ValueError("the file is truncated or damaged: OpenEXR cannot read its pixels")
    channels = parts[picture.part].channels
    planes = [channels[name] for name in picture.channels]
    if picture.channels[-1].split(".")[-1] in _CHROMA:
        return _rgb_from_chroma(planes, picture)
    if any(plane.xSampling != 1 or plane.ySampling != 1 for plane in planes):
        raise ValueError(f"its channels {', '.join(picture.channels)} are subsampled; only RY and BY may be")
    return np.stack([plane.pixels for plane in planes]).astype(np.float32)


def write(path: Path, rgb_HW3: np.ndarray, windows: Windows | None) -> None:
    """Write 32-bit float, ZIP. Without windows the picture begins at (0, 0)."""
    import OpenEXR

    header: dict[str, Any] = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    if windows is not None:
        header["dataWindow"] = (tuple(windows.data[:2]), tuple(windows.data[2:]))
        header["displayWindow"] = (tuple(windows.display[:2]), tuple(windows.display[2:]))
    OpenEXR.File(header, {"RGB": rgb_HW3}).write(str(path))


def _picture(path: Path) -> _Picture:
    """The part and channels that hold the picture, from the headers alone: nothing is decoded."""
    headers = _headers(path)
    choices = {
        index: channels
        for index, header in enumerate(headers)
        if not _is_deep(header) and (channels := _colour_channels(_names(header)))
    }
    in_colour = [index for index, channels in choices.items() if len(channels) == 3]
    candidates = in_colour or list(choices)
    if len(candidates) > 1:
        names = ", ".join(str(headers[index].get("name", index)) for index in candidates)
        raise ValueError(f"{len(candidates)} of its parts could be the picture: {names}; write a file with one of them")
    if not candidates:
        raise ValueError(_no_picture(headers))
    header = headers[candidates[0]]
    windows = Windows(_window(header["dataWindow"]), _window(header["displayWindow"]))
    return _Picture(
        candidates[0],
        len(headers),
        choices[candidates[0]],
        windows,
        header.get("chromaticities", REC709),
    )


def _headers(path: Path) -> list[Mapping[str, Any]]:
    import OpenEXR

    start = start_of(path)
    if not start.startswith(EXR_START):
        raise ValueError(f"it is no OpenEXR file: {describe(start)}")
    try:
        headers = [part.header for part in OpenEXR.File(str(path), header_only=True, num_threads=1).parts]
    except RuntimeError as error:
        raise ValueError("the file is truncated or damaged: OpenEXR cannot read its header") from error
    for header in headers:
        window = _window(header["dataWindow"])
        check_pixels(window.width, window.height)  # before anything is decoded
    return headers


def _no_picture(headers: Sequence[Mapping[str, Any]]) -> str:
    if all(_is_deep(header) for header in headers):
        return "it is a deep picture, with several samples in a pixel; flatten it first"
    names = "; ".join(", ".join(sorted(_names(header))) for header in headers if not _is_deep(header))
    return f"it must have channels R, G and B, or just one; got {names}"


def _is_deep(header: Mapping[str, Any]) -> bool:
    import OpenEXR

    return header.get("type") in (OpenEXR.deepscanline, OpenEXR.deeptile)


def _names(header: Mapping[str, Any]) -> list[str]:
    return [channel.name for channel in header["channels"]]


def _window(box: tuple[Any, Any]) -> Window:
    low, high = box
    return Window(int(low[0]), int(low[1]), int(high[0]), int(high[1]))


def _colour_channels(names: Sequence[str]) -> list[str]:
    """The three channels of the picture in a part, or its one channel; none where that is not clear."""
    for triple in (("R", "G", "B"), ("Y", *_CHROMA)):
        layers = [name.removesuffix(f".{triple[1]}") for name in names if name.endswith(f".{triple[1]}")]
        prefixes = ["", f"{layers[0]}."] if len(layers) == 1 else [""]
        for prefix in prefixes:
            channels = [prefix + name for name in triple]
            if set(channels) <= set(names):
                return channels
    if "Y" in names and "X" not in names:  # X, Y and Z are a place or a direction
        return ["Y"]
    without_alpha = [name for name in names if name.split(".")[-1] != "A"]
    return without_alpha if len(without_alpha) == 1 else []


def _rgb_from_chroma(planes: Sequence[Any], picture: _Picture) -> np.ndarray:
    """RGB of luminance and chroma: Y = w . (R, G, B), RY = (R - Y) / Y, BY = (B - Y) / Y.

    The weights w are the luminances of the file's primaries, Rec. 709 by default. Chroma has a sample at each position
    that its sampling rate divides, and is interpolated linearly between them.
    """
    y_HW, red_ratio_HW, blue_ratio_HW = (_at_every_pixel(plane, picture.windows.data) for plane in planes)
    weight = _luminance_weights(picture.chromaticities)
    red_HW = (red_ratio_HW + 1) * y_HW
    blue_HW = (blue_ratio_HW + 1) * y_HW
    green_HW = (y_HW - weight[0] * red_HW - weight[2] * blue_HW) / weight[1]
    return np.stack([red_HW, green_HW, blue_HW]).astype(np.float32)


def _at_every_pixel(plane: Any, window: Window) -> np.ndarray:
    pixels = plane.pixels.astype(np.float64)
    for axis, (side, sampling) in enumerate(((window.height, plane.ySampling), (window.width, plane.xSampling))):
        place = np.arange(side) / sampling
        before = np.floor(place).astype(int)
        after = np.minimum(before + 1, pixels.shape[axis] - 1)
        share = np.expand_dims(place - before, 1 - axis)
        pixels = (1 - share) * pixels.take(before, axis) + share * pixels.take(after, axis)
    return pixels


def _luminance_weights(chromaticities: Sequence[float]) -> np.ndarray:
    """The luminance of each primary where all three together are white, [3]."""
    x, y = np.array(chromaticities, np.float64).reshape(4, 2).T
    xyz_34 = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return np.linalg.solve(xyz_34[:, :3], xyz_34[:, 3])
