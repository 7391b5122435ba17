"""Pictures of many kinds are read with the colours and the depth that are in them, or are refused by name.

Expected values come from closed forms, from tifffile and numpy as other writers, and from LittleCMS.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from objectives.common import profiles
from objectives.common.colour import as_uint8
from objectives.common.files import MAX_PIXELS, read_image
from objectives.common.formats import format_of
from objectives.common.listing import pictures_in, why_not_picture

RNG = np.random.default_rng(0)


def _png16(path: Path, samples_HWC: np.ndarray, *, icc: bytes = b"", exif: bytes = b"", filter_: int = 0) -> Path:
    """A PNG of 16 bits a channel, by hand. Filter 2 (Up) stores each row as its difference from the row above."""
    height, width, channels = samples_HWC.shape
    rows = samples_HWC.astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    stored = rows - above if filter_ == 2 else rows
    raw = b"".join(bytes([filter_]) + row.tobytes() for row in stored)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if icc:
        chunks.append((b"iCCP", b"p\0\0" + zlib.compress(icc)))
    if exif:
        chunks.append((b"eXIf", exif))
    chunks += [(b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks))
    return path


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _samples(read: torch.Tensor) -> np.ndarray:
    return np.round(read.permute(1, 2, 0).double().numpy() * 65535).astype(np.uint16)


# -- 16 bits ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("filter_", [0, 2])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_png_of_16_bits_keeps_all_its_bits(tmp_path: Path, channels: int, filter_: int) -> None:
    samples = RNG.integers(0, 65536, (9, 7, channels)).astype(np.uint16)
    samples[..., 3:] = 65535
    assert np.array_equal(_samples(read_image(_png16(tmp_path / "a.png", samples, filter_=filter_))), samples[..., :3])


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_tiff_of_16_bits_keeps_all_its_bits(tmp_path: Path, byteorder, compression, channels: int) -> None:
    samples = RNG.integers(0, 65536, (40, 33, channels)).astype(np.uint16)
    samples[..., 3:] = 65535
    options = {"photometric": "rgb", "byteorder": byteorder, "compression": compression, "rowsperstrip": 16}
    tifffile.imwrite(tmp_path / "a.tif", samples, **options, extrasamples=["unassalpha"] * (channels - 3))
    assert np.array_equal(_samples(read_image(tmp_path / "a.tif")), samples[..., :3])


def test_a_dark_ramp_keeps_its_levels(tmp_path: Path) -> None:
    """Planted: 500 levels a channel, which were 6 once."""
    samples = (np.arange(12288).reshape(64, 64, 3) % 1500).astype(np.uint16)
    tifffile.imwrite(tmp_path / "d.tif", samples, photometric="rgb")
    read = read_image(tmp_path / "d.tif")
    assert [len(channel.unique()) for channel in read] == [500] * 3
    assert torch.allclose(read.permute(1, 2, 0), torch.from_numpy(samples / 65535).float(), atol=1e-7)


def test_16_bits_are_turned_as_the_camera_says(tmp_path: Path) -> None:
    samples = RNG.integers(0, 65536, (4, 6, 3)).astype(np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn, clockwise
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    assert np.array_equal(_samples(read_image(_png16(tmp_path / "a.png", samples, exif=body))), np.rot90(samples, -1))
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="rgb", extratags=[(0x0112, "H", 1, 6, True)])
    assert np.array_equal(_samples(read_image(tmp_path / "a.tif")), np.rot90(samples, -1))


@pytest.mark.parametrize("channels", [2, 4])
def test_what_is_transparent_or_of_other_channels_is_refused(tmp_path: Path, channels: int) -> None:
    path = _png16(tmp_path / "a.png", np.full((4, 4, channels), 65534, np.uint16))
    with pytest.raises(ValueError, match="transparent" if channels == 4 else "RGB and grey are allowed"):
        read_image(path)


def test_planes_of_16_bits_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3, 20, 20), np.uint16), photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match="side by side"):
        read_image(tmp_path / "a.tif")


def test_grey_of_12_bits_is_not_16_times_too_dark(tmp_path: Path) -> None:
    """Judge: the packing of TIFF, two values in three bytes."""
    levels = np.arange(4096, dtype=np.uint16)
    first, second = levels[::2], levels[1::2]
    packed = np.stack([first >> 4, ((first & 15) << 4) | (second >> 8), second & 255], -1).astype(np.uint8).tobytes()
    tags = [(256, 4, 64), (257, 4, 64), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, 64)]
    tags.append((279, 4, len(packed)))
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in tags)
    header = struct.pack("<2sHI", b"II", 42, 8 + len(packed))
    (tmp_path / "a.tif").write_bytes(header + packed + directory + bytes(4))
    read = read_image(tmp_path / "a.tif")
    assert torch.allclose(read[0].flatten(), torch.arange(4096) / 4095, atol=1e-6)


def test_grey_whose_zero_is_white_is_not_inverted(tmp_path: Path) -> None:
    samples = RNG.integers(0, 65536, (8, 8)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", samples, photometric="miniswhite")
    assert np.array_equal(_samples(read_image(tmp_path / "a.tif"))[..., 1], 65535 - samples)


# -- colour profiles -------------------------------------------------------------------------------------------------
D65, D50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.96422, 1.0, 0.82521])
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
ADAPT = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ D65)) @ BRADFORD
SRGB, P3 = ((0.64, 0.33), (0.3, 0.6), (0.15, 0.06)), ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))  # primaries x, y
SRGB_CURVE = struct.pack(
    ">4sIHH5i", b"para", 0, 3, 0, *(round(65536 * x) for x in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
)
GAMMA_CURVE = struct.pack(">4sIIHxx", b"curv", 0, 1, round(2.2 * 256))
TABLE_CURVE = (
    struct.pack(">4sII", b"curv", 0, 256) + (np.linspace(0, 1, 256) ** 1.8 * 65535).round().astype(">u2").tobytes()
)


def _matrix(primaries) -> np.ndarray:
    """Linear RGB to XYZ under D50, by the closed form."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    return ADAPT @ columns @ np.diag(np.linalg.solve(columns, D65))


def _icc(primaries=P3, curve: bytes = SRGB_CURVE, *, grey: bool = False) -> bytes:
    """A profile of version 2 or 4, of a matrix and tone curves."""
    fixed = lambda xyz: struct.pack(">4sI3i", b"XYZ ", 0, *(round(65536 * x) for x in xyz))  # noqa: E731
    tags = {b"wtpt": fixed(D50), b"desc": struct.pack(">4sII", b"desc", 0, 1) + bytes(79), b"cprt": b"text" + bytes(8)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        for name, column in zip(b"rgb", _matrix(primaries).T, strict=True):
            tags[bytes([name]) + b"XYZ"] = fixed(column)
            tags[bytes([name]) + b"TRC"] = curve
    directory, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        directory += struct.pack(">4sII", name, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    space = b"GRAY" if grey else b"RGB "
    header = (
        struct.pack(">I4xI4s4s4s", start + len(body), 0x04000000, b"mntr", space, b"XYZ ").ljust(36, b"\0") + b"acsp"
    )
    header = header.ljust(68, b"\0") + struct.pack(">3i", *(round(65536 * x) for x in D50))
    return header.ljust(128, b"\0") + directory + body


def _encode(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def _save(path: Path, rgb_HW3: np.ndarray, **options: object) -> Path:
    Image.fromarray(rgb_HW3).save(path, **options)
    return path


def _p3_of(srgb: np.ndarray) -> np.ndarray:
    """Display P3 values in [0, 1] that look as sRGB values do."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    return _encode(linear @ (np.linalg.inv(_matrix(P3)) @ _matrix(SRGB)).T)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_display_p3_is_converted(tmp_path: Path, suffix: str) -> None:
    """Closed form: these values look pure red, green and a skin tone in sRGB."""
    srgb = np.array([[[1, 0, 0], [0, 1, 0], [0.8, 0.6, 0.5]]])
    pixels = np.round(_p3_of(srgb) * 255).astype(np.uint8)
    assert pixels[0, 0].tolist() == [234, 51, 35]
    options = {"lossless": True} if suffix == "webp" else {}
    read = read_image(_save(tmp_path / f"a.{suffix}", pixels, icc_profile=_icc(), **options))
    # The file's rounding by half a level is three levels in sRGB, where its curve is steep.
    assert np.abs(read.permute(1, 2, 0).numpy() - srgb).max() * 255 <= 3.5


def test_an_srgb_profile_changes_no_byte(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for icc in (_icc(SRGB), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        read = read_image(_save(tmp_path / "a.png", pixels, icc_profile=icc))
        assert np.array_equal(as_uint8(read).permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize("curve", [SRGB_CURVE, GAMMA_CURVE, TABLE_CURVE], ids=["para", "gamma", "table"])
@pytest.mark.parametrize("primaries", [P3, SRGB], ids=["p3", "srgb"])
def test_16_bits_are_converted_as_8_bits_are(tmp_path: Path, curve: bytes, primaries) -> None:
    """Judge: LittleCMS, to its rounding to 8 bits; and a smooth ramp stays smooth, which 8 bits would not."""
    eights = RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    icc = _icc(primaries, curve)
    by_lcms = read_image(_save(tmp_path / "8.png", eights, icc_profile=icc))
    ours = read_image(_png16(tmp_path / "16.png", eights.astype(np.uint16) * 257, icc=icc))
    assert (ours - by_lcms).abs().max() * 255 < 1.6
    ramp = np.arange(1024, dtype=np.uint16)[None, :, None].repeat(3, -1) + 8192
    assert len(read_image(_png16(tmp_path / "ramp.png", ramp, icc=icc))[1].unique()) > 1000


def test_grey_with_a_profile_is_converted(tmp_path: Path) -> None:
    """Closed form: grey of gamma 2 at a half has the light 1/4, which is .537 in sRGB."""
    icc = _icc(curve=struct.pack(">4sIIHxx", b"curv", 0, 1, 2 * 256), grey=True)
    expected = float(_encode(np.array(0.25)))
    eight = read_image(_save(tmp_path / "8.png", np.full((4, 4), 128, np.uint8), icc_profile=icc))
    sixteen = read_image(_png16(tmp_path / "16.png", np.full((4, 4, 1), 32768, np.uint16), icc=icc))
    assert eight.mean().item() == pytest.approx(expected, abs=1.5 / 255)
    assert sixteen.mean().item() == pytest.approx(expected, abs=1e-4)


def test_palettes_and_grey_pictures_with_a_profile_for_colour_are_converted(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 3), (234, 51, 35), np.uint8)
    Image.fromarray(pixels).quantize(4).save(tmp_path / "p.png", icc_profile=_icc())
    assert read_image(tmp_path / "p.png")[0].min() > 0.99
    grey = read_image(_save(tmp_path / "g.png", np.full((4, 4), 100, np.uint8), icc_profile=_icc(curve=GAMMA_CURVE)))
    assert grey.std() < 1e-6


@pytest.mark.parametrize(
    ("icc", "message"),
    [(b"no profile at all", "damaged"), (_icc(grey=True, curve=GAMMA_CURVE), "is for L, and the picture is RGB")],
)
def test_a_profile_that_says_nothing_about_the_picture_is_left_out_with_a_warning(tmp_path: Path, icc, message) -> None:
    pixels = RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    path = _save(tmp_path / "a.png", pixels, icc_profile=icc)
    with pytest.warns(UserWarning, match=message):
        read = read_image(path)
    assert np.array_equal(as_uint8(read).permute(1, 2, 0).numpy(), pixels)


def test_a_camera_that_says_adobe_rgb_without_a_profile_is_reported(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    pixels = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    with pytest.warns(UserWarning, match="its EXIF says Adobe RGB, and it has no profile"):
        read_image(_save(tmp_path / "a.jpg", pixels, exif=exif))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(_save(tmp_path / "b.jpg", pixels, exif=exif, icc_profile=_icc()))


def test_a_profile_whose_curve_is_damaged_is_an_error_at_16_bits(tmp_path: Path) -> None:
    icc = _icc().replace(b"para", b"wrng")
    with pytest.raises(ValueError, match="profile"):
        profiles.linear_from_profile(np.zeros((2, 2, 3), np.float32), icc)


# -- formats ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("format_", ["WEBP", "GIF", "AVIF", "PNG", "JPEG", "TIFF", "BMP"])
@pytest.mark.parametrize("name", ["a.jpg", "a.jfif", "a.JPE", "a"])
def test_a_format_is_judged_by_content_whatever_the_name(tmp_path: Path, format_: str, name: str) -> None:
    Image.new("RGB", (12, 8), (200, 100, 50)).save(tmp_path / name, format_)
    assert why_not_picture(tmp_path / name) is None
    read = read_image(tmp_path / name)
    assert read.shape == (3, 8, 12)
    assert (read.mean((1, 2)) * 255 - torch.tensor([200, 100, 50])).abs().max() < 8


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.HEIC", HEIC, "HEIC is not read: convert it"),
        ("a.jpg", HEIC, "HEIC is not read: convert it"),
        ("a.jpg", b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL is not read"),
        ("a.psd", b"8BPS\0\1", "Photoshop"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\1", "raw files are not read"),
        ("a.nef", b"II*\0", "raw files are not read"),
        ("a.DNG", b"II*\0", "raw files are not read"),
        ("a.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "videos are not read"),
        ("a.xmp", b"<x:xmpmeta>", "no pictures"),
        ("BM.txt", b"BMW", "no pictures"),
        ("empty.txt", b"", "no pictures"),
    ],
)
def test_what_is_not_read_is_skipped_with_its_kind(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    skipped = why_not_picture(tmp_path / name)
    assert skipped is not None
    assert message in skipped.reason
    assert skipped.expected == (name.endswith((".mov", ".xmp", ".txt")))
    with pytest.raises(ValueError, match="cannot read the image"):
        read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (HEIC, "HEIC is not read"),
        (b"text", "its content is of no format that is known here; allowed: PNG"),
        (b"<!DOCTYPE html>", "its content is HTML; allowed: PNG"),
        (b"\xff\xd8\xff", "damaged"),
    ],
)
def test_the_error_says_what_a_file_is(tmp_path: Path, content: bytes, cause: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=cause):
        read_image(tmp_path / "a.jpg")


def test_a_heif_file_may_hold_avif(tmp_path: Path) -> None:
    """Its main brand is that of any HEIF picture; the compatible ones tell."""
    for brand, name in ((b"avif", "AVIF"), (b"heic", "HEIC")):
        (tmp_path / "a").write_bytes(b"\0\0\0\x1cftypmif1\0\0\0\0mif1miaf" + brand + bytes(40))
        assert format_of(tmp_path / "a") == name


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_of_several_frames_the_first_is_read_and_that_is_said(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **options)
    with pytest.warns(UserWarning, match="it has 3 frames, and only the first is read"):
        read = read_image(tmp_path / f"a.{suffix}")
    assert (read.mean((1, 2)) * 255).tolist() == pytest.approx([250, 0, 0], abs=3)


def test_a_damaged_exif_turns_nothing_and_stops_nothing(tmp_path: Path) -> None:
    samples = np.zeros((4, 6, 3), np.uint16)
    assert read_image(_png16(tmp_path / "a.png", samples, exif=b"no TIFF header")).shape == (3, 4, 6)
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path / "a.jpg").shape == (3, 4, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    """Judge: Pillow's own function for it."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.png", "a.tif", "a.webp"):
        options = {"lossless": True} if name.endswith("webp") else {}
        _save(tmp_path / name, RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8), exif=exif, **options)
        with Image.open(tmp_path / name) as image:
            expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        assert np.array_equal(as_uint8(read_image(tmp_path / name)).permute(1, 2, 0).numpy(), expected)


def test_a_phone_picture_of_108_megapixels_may_be_read_and_a_larger_one_is_refused_by_its_size(tmp_path: Path) -> None:
    """Only headers are read here: each file declares its size, and holds 8 x 8 pixels."""
    assert MAX_PIXELS >= 12_000 * 9_000
    for size, most in (((12_000, 9_000), 100_000_000), ((15_000, 9_000), MAX_PIXELS)):
        image = io.BytesIO()
        Image.new("RGB", (8, 8)).save(image, "JPEG")
        content = bytearray(image.getvalue())
        start = content.index(b"\xff\xc0") + 5
        content[start : start + 4] = struct.pack(">HH", size[1], size[0])
        (tmp_path / "a.jpg").write_bytes(bytes(content))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ValueError, match=f"{size[0]} x {size[1]} pixels; at most {most} are allowed"):
                read_image(tmp_path / "a.jpg", max_pixels=most)


# -- a folder of pictures --------------------------------------------------------------------------------------------
def test_the_pictures_of_a_folder_are_found_in_subfolders_and_under_any_name(tmp_path: Path) -> None:
    names = {"a.jpg": "JPEG", "b.webp": "WEBP", "c.gif": "GIF", "d.avif": "AVIF", "f.jfif": "JPEG", "sub/h.JPE": "JPEG"}
    (tmp_path / "sub").mkdir()
    for name, format_ in names.items():
        Image.new("RGB", (8, 8)).save(tmp_path / name, format_)
    (tmp_path / "e.HEIC").write_bytes(HEIC)
    (tmp_path / "._a.jpg").write_bytes(bytes(4096))
    paths, skipped = pictures_in(tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in paths] == sorted(names)
    assert {file.path.name: file.expected for file in skipped} == {"e.HEIC": False, "._a.jpg": True}
    (tmp_path / "secret").mkdir(mode=0o000)
    if os.geteuid() != 0:
        assert "cannot be read" in pictures_in(tmp_path)[1][0].reason
