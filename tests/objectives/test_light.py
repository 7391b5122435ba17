"""HDR files in and out, a user's frames and their splits, and filling them with an exported network.

Expected values come from the formats' definitions (hand-written bytes), from OpenEXR itself, and from planted frames.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from hpo import Evidence, Fidelity
from objectives.common.exr import Window, Windows
from objectives.common.light import SUFFIXES, read_light, read_mask, read_windows, write_light
from objectives.hdr import HDR, frames, loss
from objectives.hdr.apply import apply, main
from objectives.hdr.reading import read_frame
from tests.objectives.exported import exported
from tests.objectives.exr_bytes import Plane, write_exr

OpenEXR = pytest.importorskip("OpenEXR")


def _light(height: int = 20, width: int = 30, seed: int = 0) -> Tensor:
    """Five decades of light."""
    rng = torch.Generator().manual_seed(seed)
    return 10 ** (5 * torch.rand(3, height, width, generator=rng) - 2)


def _hole(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, height, width, generator=torch.Generator().manual_seed(seed)) < 0.15


# -- formats ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".exr", ".pfm", ".npy"])
def test_float_formats_round_trip_exactly(tmp_path: Path, suffix: str) -> None:
    light = _light()
    light[0, 0, 0], light[1, 2, 3] = -1.5, 3e30
    write_light(tmp_path / f"a{suffix}", light)
    assert torch.equal(read_light(tmp_path / f"a{suffix}"), light)


def test_rgbe_round_trips_to_one_part_in_128_of_the_largest_channel(tmp_path: Path) -> None:
    light = _light() * torch.tensor([1.0, 0.1, 1e-3]).view(3, 1, 1)
    light[:, 0, 0] = 0
    write_light(tmp_path / "a.hdr", light)
    decoded = read_light(tmp_path / "a.hdr")
    assert ((decoded - light).abs() <= light.amax(0) / 128).all()
    assert (decoded[:, 0, 0] == 0).all()
    assert not torch.equal(decoded, light)  # it is not float


def test_exr_is_what_openexr_reads(tmp_path: Path) -> None:
    light = _light()
    write_light(tmp_path / "a.exr", light)
    theirs = OpenEXR.File(str(tmp_path / "a.exr")).channels()["RGB"].pixels
    assert theirs.dtype == np.float32
    assert np.array_equal(theirs, light.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("R", "G", "B"), (0, 1, 2)),
        (("R", "G", "B", "A"), (0, 1, 2)),
        (("B", "G", "R", "Z"), (2, 1, 0)),
        (("beauty.R", "beauty.G", "beauty.B", "beauty.A"), (0, 1, 2)),
        (("Y",), (0, 0, 0)),
        (("Y", "Z"), (0, 0, 0)),
        (("depth",), (0, 0, 0)),
    ],
)
def test_exr_channels_are_found_by_name(tmp_path: Path, names: tuple[str, ...], expected: tuple[int, ...]) -> None:
    planes = np.random.default_rng(0).random((len(names), 4, 5)).astype(np.float32)
    OpenEXR.File({}, dict(zip(names, planes, strict=True))).write(str(tmp_path / "a.exr"))
    light = read_light(tmp_path / "a.exr")
    assert np.array_equal(light.numpy(), planes[list(expected)])


def test_exr_of_halves_comes_as_floats(tmp_path: Path) -> None:
    half = np.random.default_rng(0).random((4, 5, 3)).astype(np.float16)
    OpenEXR.File({}, {"RGB": half}).write(str(tmp_path / "a.exr"))
    assert np.array_equal(read_light(tmp_path / "a.exr").permute(1, 2, 0).numpy(), half.astype(np.float32))


def test_exr_with_two_layers_is_refused_with_their_names(tmp_path: Path) -> None:
    planes = {f"{layer}.{c}": np.zeros((4, 5), np.float32) for layer in ("diffuse", "glossy") for c in "RGB"}
    OpenEXR.File({}, planes).write(str(tmp_path / "a.exr"))
    with pytest.raises(ValueError, match=r"a.exr: it must have channels R, G and B, or just one; got .*glossy.R"):
        read_light(tmp_path / "a.exr")


HEADER = b"#?RADIANCE\n# made by hand\nFORMAT=32-bit_rle_rgbe\nEXPOSURE=2\n\n"


def test_rgbe_pixels_by_hand(tmp_path: Path) -> None:
    """Source: Ward 1991: (mantissa + 0.5) / 256 x 2^(exponent - 128), over the exposure; exponent 0 is black."""
    (tmp_path / "a.hdr").write_bytes(HEADER + b"-Y 1 +X 2\n" + bytes([128, 64, 0, 129, 9, 9, 9, 0]))
    expected = torch.tensor([[128.5, 64.5, 0.5], [0, 0, 0]]) / 256 * 2 / 2
    assert torch.allclose(read_light(tmp_path / "a.hdr")[:, 0].T, expected)


def test_rgbe_run_length_by_component_and_by_pixel_by_hand(tmp_path: Path) -> None:
    """8 pixels: reds a run of 8, greens 8 values, blues two runs, exponents a run; then old runs of pixels."""
    new = bytes([2, 2, 0, 8, 136, 200, 8, *range(128, 136), 131, 150, 133, 160, 136, 128])
    old = bytes([200, 128, 150, 128, 1, 1, 1, 2, 200, 135, 160, 128, 1, 1, 1, 4])
    for name, body in (("new", new), ("old", old)):
        (tmp_path / f"{name}.hdr").write_bytes(b"#?RGBE\n\n-Y 1 +X 8\n" + body)
    unit = 1 / 256
    new_light = read_light(tmp_path / "new.hdr")
    assert torch.allclose(new_light[0, 0], torch.full((8,), 200.5 * unit))
    assert torch.allclose(new_light[1, 0], (torch.arange(128, 136) + 0.5) * unit)
    assert torch.allclose(new_light[2, 0], torch.tensor([150.5] * 3 + [160.5] * 5) * unit)
    assert torch.allclose(read_light(tmp_path / "old.hdr")[1, 0], torch.tensor([128.5] * 3 + [135.5] * 5) * unit)


def test_pfm_by_hand_is_read_from_the_bottom_up_in_either_byte_order(tmp_path: Path) -> None:
    for name, order, scale in (("little", "<", b"-1.0"), ("big", ">", b"1.0")):
        body = struct.pack(f"{order}4f", 1.0, 2.0, 3.0, 4.0)
        (tmp_path / f"{name}.pfm").write_bytes(b"Pf\n2 2\n" + scale + b"\n" + body)
        assert torch.equal(read_light(tmp_path / f"{name}.pfm"), torch.tensor([[3.0, 4.0], [1.0, 2.0]]).expand(3, 2, 2))


def test_masks_come_from_any_format_and_from_a_plain_picture(tmp_path: Path) -> None:
    mask = _hole(6, 7)
    write_light(tmp_path / "a.exr", mask.float().expand(3, -1, -1))
    OpenEXR.File({}, {"Y": mask[0].numpy().astype(np.float32)}).write(str(tmp_path / "b.exr"))
    np.save(tmp_path / "c.npy", mask[0].numpy())
    Image.fromarray((mask[0].numpy() * 255).astype(np.uint8)).save(tmp_path / "d.png")
    for name in ("a.exr", "b.exr", "c.npy", "d.png"):
        assert torch.equal(read_mask(tmp_path / name), mask), name


def _part(name: str, *channels: str, light: Tensor) -> object:
    planes = {channel: light[index % 3].numpy().copy() for index, channel in enumerate(channels)}
    return OpenEXR.Part({"name": name, "type": OpenEXR.scanlineimage}, planes)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_of_several_parts_the_one_with_colour_is_read(tmp_path: Path, order: tuple[int, ...]) -> None:
    """A depth of 777 in the first part must not become the picture."""
    light = _light()
    parts = [
        _part("depth", "Z", light=torch.full_like(light, 777)),
        _part("beauty", "R", "G", "B", light=light),
        _part("normals", "N.X", "N.Y", "N.Z", light=-light),
    ]
    OpenEXR.File([parts[index] for index in order]).write(str(tmp_path / "a.exr"))
    assert torch.equal(read_light(tmp_path / "a.exr"), light)


def test_parts_that_could_all_be_the_picture_are_refused_by_their_names(tmp_path: Path) -> None:
    light = _light()
    parts = [_part("left", "R", "G", "B", light=light), _part("right", "R", "G", "B", light=light)]
    OpenEXR.File(parts).write(str(tmp_path / "a.exr"))
    with pytest.raises(ValueError, match=r"a.exr: 2 of its parts could be the picture: left, right; write a file with"):
        read_light(tmp_path / "a.exr")
    OpenEXR.File([_part("depth", "Z", light=light), _part("id", "id", light=light)]).write(str(tmp_path / "a.exr"))
    with pytest.raises(ValueError, match="2 of its parts could be the picture: depth, id"):
        read_mask(tmp_path / "a.exr")
    OpenEXR.File([_part("normals", "X", "Y", "W", light=light), _part("uv", "U", "V", light=light)]).write(
        str(tmp_path / "a.exr")
    )
    with pytest.raises(ValueError, match="must have channels R, G and B, or just one; got W, X, Y; U, V"):
        read_light(tmp_path / "a.exr")


@pytest.mark.parametrize(("size", "sampling"), [((34, 40), 2), ((13, 15), 1)])
@pytest.mark.parametrize("prefix", ["", "beauty."])
def test_luminance_and_chroma_become_the_colours_that_they_were_made_of(
    tmp_path: Path, size: tuple[int, int], sampling: int, prefix: str
) -> None:
    """Chroma that is linear across the picture is interpolated exactly, but for the row beyond the last sample."""
    height, width = size
    weight = torch.tensor([0.2126, 0.7152, 0.0722])
    luminance = _light(height, width)[0]
    down = torch.linspace(0, 0.3, height)[:, None].expand(height, width)
    red, blue = luminance * (1 + down), luminance * (1 - 2 * down)
    light = torch.stack([red, (luminance - weight[0] * red - weight[2] * blue) / weight[1], blue])
    chroma = {"RY": down, "BY": -2 * down}
    planes = {prefix + name: Plane(plane[::sampling, ::sampling].numpy(), sampling) for name, plane in chroma.items()}
    write_exr(tmp_path / "a.exr", size, planes | {prefix + "Y": Plane(luminance.numpy())})
    assert OpenEXR.File(str(tmp_path / "a.exr"), separate_channels=True).channels()[prefix + "BY"].xSampling == sampling
    made = read_light(tmp_path / "a.exr")
    assert torch.allclose(made[:, :-1], light[:, :-1], rtol=1e-3, atol=1e-3)
    assert (weight[:, None, None] * made).sum(0).allclose(luminance, rtol=1e-4)


def test_luminance_is_that_of_the_files_own_primaries(tmp_path: Path) -> None:
    """Green of Rec. 2020 has a luminance of 0.6780, red of 0.2627: ITU-R BT.2020, table 4."""
    rec2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
    red, green, blue = 0.5, 2.0, 0.25
    luminance = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    values = {"Y": luminance, "RY": (red - luminance) / luminance, "BY": (blue - luminance) / luminance}
    planes = {name: Plane(np.full((4, 4), value)) for name, value in values.items()}
    write_exr(tmp_path / "a.exr", (4, 4), planes, rec2020)
    assert torch.allclose(read_light(tmp_path / "a.exr")[:, 1, 1], torch.tensor([red, green, blue]), rtol=1e-3)


def test_subsampled_colour_is_refused(tmp_path: Path) -> None:
    planes = {name: Plane(np.ones((2, 2)), 2) for name in "RGB"}
    write_exr(tmp_path / "a.exr", (4, 4), planes | {"A": Plane(np.ones((4, 4)))})
    with pytest.raises(ValueError, match="its channels R, G, B are subsampled; only RY and BY may be"):
        read_light(tmp_path / "a.exr")


def test_exposures_and_colour_corrections_of_a_radiance_file_multiply(tmp_path: Path) -> None:
    """The light is the values over the product of all of them; 128.5 / 256 at the exponent 128."""
    lines = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\nEXPOSURE=2\nCOLORCORR= 1 2 0.5\nEXPOSURE= 4.0\nCOLORCORR=1 1 2\n\n"
    (tmp_path / "a.hdr").write_bytes(lines + b"-Y 1 +X 1\n" + bytes([128, 128, 128, 128]))
    expected = 128.5 / 256 / torch.tensor([8.0, 16.0, 8.0])
    assert torch.allclose(read_light(tmp_path / "a.hdr")[:, 0, 0], expected)


@pytest.mark.parametrize("kind", ["deepscanline", "deeptile"])
def test_a_deep_picture_is_refused_as_one(tmp_path: Path, kind: str) -> None:
    samples = np.empty((4, 4), object)
    for index in range(16):
        samples.flat[index] = np.ones(index % 3 + 1, np.float32)
    header = {"type": getattr(OpenEXR, kind), "compression": OpenEXR.ZIPS_COMPRESSION}
    if kind == "deeptile":
        header["tiles"] = OpenEXR.TileDescription()
    OpenEXR.File(header, {name: samples for name in "RGB"}).write(str(tmp_path / "a.exr"))
    with pytest.raises(ValueError, match=r"a.exr: it is a deep picture, with several samples in a pixel; flatten it"):
        read_light(tmp_path / "a.exr")


def test_pictures_that_carry_another_formats_suffix_are_named_for_what_they_are(tmp_path: Path) -> None:
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    for suffix in sorted(SUFFIXES):
        for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"):
            picture.save(tmp_path / f"a{suffix}", kind)
            with pytest.raises(
                ValueError, match=rf"cannot read .*a\{suffix}: .*: its content is {kind}|; .* is {kind}"
            ):
                read_light(tmp_path / f"a{suffix}")


def test_windows_of_an_exr_file_are_kept(tmp_path: Path) -> None:
    windows = Windows(Window(-4, 2, 25, 21), Window(0, 0, 99, 49))
    write_light(tmp_path / "a.exr", _light(20, 30), windows)
    assert read_windows(tmp_path / "a.exr") == windows
    header = OpenEXR.File(str(tmp_path / "a.exr"), header_only=True).header()
    assert [corner.tolist() for corner in header["dataWindow"]] == [[-4, 2], [25, 21]]
    write_light(tmp_path / "a.npy", _light())
    assert read_windows(tmp_path / "a.npy") is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 255), (0, 100)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_mask_of_two_values_is_true_at_the_one_that_is_not_0(
    tmp_path: Path, low: int, high: int, dtype: type
) -> None:
    hole = _hole(6, 7)
    codes = np.where(hole[0].numpy(), high, low).astype(dtype)
    Image.fromarray(codes).save(tmp_path / "a.png")
    Image.fromarray(codes).save(tmp_path / "a.tif")
    np.save(tmp_path / "a.npy", codes)
    for name in ("a.png", "a.tif", "a.npy"):
        assert torch.equal(read_mask(tmp_path / name), hole), name


def test_a_mask_of_more_values_is_true_above_one_half(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 100, 127, 128, 255]], np.uint8)).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[[False, False, False, True, True]]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.exr", b"", "cannot read .*a.exr: it is no OpenEXR file: the file is empty"),
        ("a.exr", b"no exr at all", "cannot read .*a.exr: .* its content is of no format that is known here"),
        ("a.exr", b"\x76\x2f\x31\x01\2\0\0\0chan", "a.exr: the file is truncated or damaged: .* read its header"),
        ("a.hdr", b"#?RADIANCE\n\n+X 4 -Y 4\n", "there must be a line such as '-Y 480"),
        ("a.hdr", b"#?RADIANCE\nFORMAT=32-bit_rle_xyze\n\n-Y 4 +X 4\n", "FORMAT must be 32-bit_rle_rgbe"),
        ("a.hdr", b"#?RADIANCE\n\n-Y 4 +X 4\n1234", "truncated"),
        ("a.hdr", b"#?RADIANCE\n\n-Y 1 +X 8\n" + bytes([2, 2, 0, 8, 250, 7]), "a run of its scanlines exceeds"),
        ("a.hdr", b"#?RADIANCE\nEXPOSURE=0\n\n-Y 1 +X 1\n1234", "EXPOSURE must be a finite number above 0"),
        ("a.hdr", b"#?RADIANCE\nCOLORCORR=1 2\n\n-Y 1 +X 1\n1234", "COLORCORR must be three finite numbers above"),
        ("a.hdr", b"#?RADIANCE\n\n-Y 999999 +X 999999\n", "999999 x 999999 pixels; 1 to"),
        ("a.pfm", b"PF\n2 2\n-1.0\n1234", "truncated: 48 bytes of pixels expected, got 4"),
        ("a.pfm", b"P6\n2 2\n255\n", "must begin with PF or Pf"),
        ("a.npy", b"\x93NUMPY\1\0", "cannot read .*a.npy"),
        ("a.tga", b"", "must end in one of .exr, .hdr, .npy, .pfm"),
        ("b.exr", None, "b.exr: there is no such file"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_light(tmp_path / name)


def test_a_truncated_exr_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_light(tmp_path / "whole.exr", _light())
    content = (tmp_path / "whole.exr").read_bytes()
    for share in (0.02, 0.5, 0.99):
        (tmp_path / "a.exr").write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match=r"cannot read .*a.exr: the file is truncated or damaged"):
            read_light(tmp_path / "a.exr")


def test_an_exr_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    write_light(tmp_path / "a.exr", _light())
    content = bytearray((tmp_path / "a.exr").read_bytes())
    at = content.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    content[at + 8 : at + 16] = struct.pack("<2i", 99_999, 99_999)
    (tmp_path / "a.exr").write_bytes(content)
    with pytest.raises(ValueError, match="100000 x 100000 pixels; 1 to"):
        read_light(tmp_path / "a.exr")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(sorted(SUFFIXES - {".exr"})),
    place=st.floats(0, 1),
    byte=st.integers(0, 255),
    keep=st.floats(0, 1),
)
def test_damaged_bytes_give_a_picture_or_a_value_error(
    tmp_path: Path, suffix: str, place: float, byte: int, keep: float
) -> None:
    path = tmp_path / f"a{suffix}"
    write_light(path, _light(4, 9))
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] = byte
    path.write_bytes(content[: round(keep * len(content))] if keep < 0.5 else content)
    outcome = _outcome(path)
    assert outcome == "a picture" or str(path) in outcome


def _outcome(path: Path) -> str:
    try:
        read_light(path)
    except ValueError as error:
        return str(error)
    return "a picture"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("a.exr", torch.nan, "1 values to be written are not finite"),
        ("a.hdr", -1.0, "hold no negative light; got -1"),
        ("a.jpg", 1.0, "must end in one of"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, value: float, message: str) -> None:
    light = _light()
    light[0, 0, 0] = value
    with pytest.raises(ValueError, match=message):
        write_light(tmp_path / name, light)
    assert not (tmp_path / name).exists()


# -- a user's frames -------------------------------------------------------------------------------------------------
def _tree(
    root: Path,
    count: int = 8,
    *,
    size: tuple[int, int] = (48, 56),
    suffix: str = ".exr",
    folders: tuple[str, str, str] = ("warp", "ref", "hole"),
) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
    for number in range(1, count + 1):
        light, hole = _light(*size, seed=number), _hole(*size, seed=number)
        write_light(root / folders[0] / f"warped_hole-{number:04d}{suffix}", light * ~hole)
        write_light(root / folders[1] / f"ref-{number:04d}{suffix}", light)
        write_light(root / folders[2] / f"hole-{number:04d}.exr", hole.float().expand(3, -1, -1))
    return root


@pytest.mark.parametrize("folders", [("warp", "ref", "hole"), ("warp_hole", "ref", "bistro/correct")])
@pytest.mark.parametrize("suffix", [".exr", ".npy"])
def test_frames_are_found_in_either_layout_and_split_in_blocks(
    tmp_path: Path, folders: tuple[str, str, str], suffix: str
) -> None:
    sequence = frames.read_sequence(_tree(tmp_path, 8, suffix=suffix, folders=folders))
    numbers = [[frame.number for frame in sequence.of(split)] for split in ("train", "val", "test")]
    assert numbers == [[1, 2, 3, 4, 5, 6], [7], [8]]
    assert str(sequence) == "6 train, 1 val and 1 test frames"


def test_a_long_sequence_leaves_a_frame_out_on_each_border_of_two_blocks(tmp_path: Path) -> None:
    """Neighbouring frames show nearly the same: they would leak from one split into the next."""
    sequence = frames.read_sequence(_tree(tmp_path, 20, size=(4, 4)))
    numbers = [[frame.number for frame in sequence.of(split)] for split in ("train", "val", "test")]
    assert numbers == [list(range(1, 14)), [15, 16], [18, 19, 20]]


def test_frames_that_lack_a_file_are_reported_and_make_preflight_cautious(tmp_path: Path) -> None:
    _tree(tmp_path, 8, size=(64, 64))
    (tmp_path / "hole" / "hole-0003.exr").unlink()
    assert frames.read_sequence(tmp_path).incomplete == (3,)
    checks = HDR(data=str(tmp_path)).checks(Evidence("preflight"))
    assert [(c.status, c.seen) for c in checks if c.name == "frames have all their files"] == [
        ("caution", "5 train, 1 val and 1 test frames; incomplete: 3")
    ]


def test_a_fault_of_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere must be a folder"):
        frames.read_sequence(tmp_path / "nowhere")
    (tmp_path / "ref").mkdir()
    with pytest.raises(ValueError, match=r"must hold a folder warp or warped or warp_hole; found: ref"):
        frames.read_sequence(tmp_path)
    few = _tree(tmp_path / "few", 2)
    with pytest.raises(ValueError, match=r"few must hold at least 3 complete frames.*got 2"):
        frames.read_sequence(few)
    twice = _tree(tmp_path / "twice", 3)
    write_light(twice / "ref" / "other-1.exr", _light())
    with pytest.raises(ValueError, match=r"other-1.exr and ref-0001.exr have the same number"):
        frames.read_sequence(twice)


def test_a_frame_is_scaled_to_a_middle_grey_by_what_the_network_may_see(tmp_path: Path) -> None:
    """The target's light in holes must not move the scale, nor what lies under a hole in the warped file."""
    root = _tree(tmp_path, 3)
    paths = [
        root / folder / f"{name}-0001.exr"
        for folder, name in (("warp", "warped_hole"), ("hole", "hole"), ("ref", "ref"))
    ]
    frame = read_frame(*paths)
    shown = frame.warped_3HW[:, ~frame.hole_1HW[0]]
    luminance = (shown * torch.tensor([0.2126, 0.7152, 0.0722])[:, None]).sum(0)
    assert float(luminance.median()) == pytest.approx(0.2, rel=1e-4)
    assert torch.allclose(frame.target_3HW / frame.gain, read_light(paths[2]), rtol=1e-5)
    warped = read_light(paths[0])
    write_light(paths[0], torch.where(frame.hole_1HW, 1e6, warped))
    assert read_frame(*paths).gain == frame.gain
    assert (read_frame(*paths).warped_3HW[:, frame.hole_1HW[0]] == 0).all()


def test_light_that_is_not_finite_is_refused_with_a_count_except_under_holes(tmp_path: Path) -> None:
    root = _tree(tmp_path, 3)
    warp, ref, hole = (root / "warp/warped_hole-0001.exr", root / "ref/ref-0001.exr", root / "hole/hole-0001.exr")
    mask, light = read_mask(hole), read_light(warp)

    def spoil(path: Path, where: Tensor) -> None:
        OpenEXR.File({}, {"RGB": torch.where(where, torch.nan, light).permute(1, 2, 0).numpy().copy()}).write(str(path))

    spoil(warp, mask)
    assert torch.isfinite(read_frame(warp, hole, None).warped_3HW).all()
    spoil(warp, ~mask)
    with pytest.raises(ValueError, match=rf"warped_hole-0001.exr: {3 * int((~mask).sum())} values outside its holes"):
        read_frame(warp, hole, None)
    write_light(warp, light)
    spoil(ref, mask)
    with pytest.raises(ValueError, match=rf"ref-0001.exr: {3 * int(mask.sum())} values in it are not finite"):
        read_frame(warp, hole, ref)


def test_negative_light_counts_as_none_and_sizes_must_agree(tmp_path: Path) -> None:
    root = _tree(tmp_path, 3)
    warp, hole = root / "warp/warped_hole-0001.exr", root / "hole/hole-0001.exr"
    write_light(warp, read_light(warp) - 1.0)
    assert read_frame(warp, hole, None).warped_3HW.min() == 0
    write_light(warp, _light(10, 10))
    with pytest.raises(ValueError, match=r"must have the same size and place; got data window \(0, 0\)-\(55, 47\)"):
        read_frame(warp, hole, None)


def _windowed(path: Path, picture: Tensor, left: int, top: int, frame: tuple[int, int] = (56, 48)) -> Path:
    """`picture` at this place of a frame of this width and height."""
    height, width = picture.shape[1:]
    data = Window(left, top, left + width - 1, top + height - 1)
    display = Window(0, 0, frame[0] - 1, frame[1] - 1)
    write_light(path, picture.float().expand(3, -1, -1), Windows(data, display))
    return path


def test_files_of_a_frame_are_aligned_by_their_windows(tmp_path: Path) -> None:
    """The warped file holds columns 8 to 55 of 56; the mask is cropped to its holes, the reference is whole."""
    light, hole = _light(48, 56), _hole(48, 56)
    hole[..., :12], hole[..., 44:], hole[:, :3] = False, False, False
    warp = _windowed(tmp_path / "warp.exr", light[..., 8:] * ~hole[..., 8:], 8, 0)
    ref = _windowed(tmp_path / "ref.exr", light, 0, 0)
    cropped = _windowed(tmp_path / "hole.exr", hole[:, 3:, 12:44], 12, 3)
    Image.fromarray((hole[0] * 255).byte().numpy()).save(tmp_path / "frame.png")
    Image.fromarray((hole[0, :, 8:] * 255).byte().numpy()).save(tmp_path / "data.png")
    for mask in (cropped, tmp_path / "frame.png", tmp_path / "data.png"):
        frame = read_frame(warp, mask, ref)
        assert torch.equal(frame.hole_1HW, hole[..., 8:])
        assert torch.allclose(frame.target_3HW / frame.gain, light[..., 8:], rtol=1e-5)
        assert frame.windows == Windows(Window(8, 0, 55, 47), Window(0, 0, 55, 47))


def test_files_that_cannot_be_aligned_are_refused_with_both_windows(tmp_path: Path) -> None:
    light, hole = _light(48, 48), _hole(48, 48)
    warp = _windowed(tmp_path / "warp.exr", light, 8, 0)
    elsewhere = _windowed(tmp_path / "hole.exr", hole, 0, 0, frame=(48, 48))
    with pytest.raises(ValueError, match=r"size and place; got data window \(0, 0\)-\(47, 47\) .*\(8, 0\)-\(55"):
        read_frame(warp, elsewhere, None)
    left = _windowed(tmp_path / "hole.exr", hole, 0, 0)
    outside = int(hole[..., :8].sum())
    with pytest.raises(ValueError, match=rf"hole.exr marks {outside} pixels that .*warp.exr does not hold; got da"):
        read_frame(warp, left, None)
    here = _windowed(tmp_path / "hole.exr", hole, 8, 0)
    short = _windowed(tmp_path / "ref.exr", light, 0, 0)
    with pytest.raises(ValueError, match=r"ref.exr must cover the pixels of .*warp.exr; got .*\(0, 0\)-\(47, 47\)"):
        read_frame(warp, here, short)
    Image.fromarray((hole[0, 1:] * 255).byte().numpy()).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match=r"other.png and .* must have the same size; got 48 x 47 pixels"):
        read_frame(warp, tmp_path / "other.png", None)


def test_patches_of_a_users_frames_are_patches_of_its_files(tmp_path: Path) -> None:
    """Every target patch is a window of its frame, in the frame's own scale; no layers and no motion are made up."""
    task = HDR(data=str(_tree(tmp_path, 5)), flip=False)
    fidelity = Fidelity(size=32, train=6, val=4, epochs=1)
    batch = next(task.batches("train", fidelity, 6, torch.Generator()))
    assert not batch.motion_B2SS.any()
    assert not batch.occluder_B1SS.any()
    assert not batch.source_B.any()  # one sequence
    assert (batch.hole_B1SS.mean((1, 2, 3)) > 0.005).all()
    assert torch.equal(batch.warped_B3SS, batch.target_B3SS * (1 - batch.hole_B1SS))
    wholes = [read_frame(f.warp, f.hole, f.ref).target_3HW for f in frames.read_sequence(tmp_path).train]
    for target in batch.target_B3SS:
        assert any(
            torch.equal(target, whole[:, top : top + 32, left : left + 32])
            for whole in wholes
            for top, left in (whole[0] == target[0, 0, 0]).nonzero().tolist()
        )
    origins = [task.origins(split, fidelity) for split in ("train", "val", "test")]
    assert [len(hashes) for hashes in origins] == [3, 1, 1]
    assert len(set.union(*origins)) == 5


def test_a_frame_that_is_too_small_or_has_no_hole_is_refused_with_its_name(tmp_path: Path) -> None:
    task = HDR(data=str(_tree(tmp_path / "small", 3, size=(24, 40))))
    fidelity = Fidelity(size=32, train=1, val=1, epochs=1)
    with pytest.raises(ValueError, match=r"hole-0001.exr: the frame must have at least 32 pixels a side; got 40 x 24"):
        next(task.batches("train", fidelity, 1, torch.Generator()))
    whole = _tree(tmp_path / "whole", 3)
    write_light(whole / "hole" / "hole-0001.exr", torch.zeros(3, 48, 56))
    with pytest.raises(ValueError, match=r"hole-0001.exr: the frame has no hole"):
        next(HDR(data=str(whole)).batches("train", fidelity, 1, torch.Generator()))


# -- filling frames --------------------------------------------------------------------------------------------------
def test_an_exported_network_fills_exr_frames_in_their_own_scale(tmp_path: Path) -> None:
    """An untrained network adds almost nothing: holes hold the classical fill, and the rest is the input."""
    winner = exported(tmp_path / "winner", HDR(width=8))
    root = _tree(tmp_path / "shot", 3, size=(40, 33))
    written = [made.output for made in apply(winner, root, tmp_path / "out")]
    assert [path.name for path in written] == ["filled-0001.exr", "filled-0002.exr", "filled-0003.exr"]
    light, warped = read_light(written[0]), read_light(root / "warp/warped_hole-0001.exr")
    hole = read_mask(root / "hole/hole-0001.exr")
    away = ~torch.nn.functional.max_pool2d(hole.float(), 3, 1, 1).bool().expand_as(light)
    assert torch.allclose(light[away], warped[away], rtol=1e-5)
    assert (light[:, hole[0]] > 0).all()
    assert float(light[:, hole[0]].log().mean()) == pytest.approx(float(warped[:, ~hole[0]].log().mean()), abs=1.0)


def test_light_outside_holes_stays_as_it_was_bit_by_bit(tmp_path: Path) -> None:
    """Negative light too, in the ring around holes as well, and the windows of the warped file."""
    winner = exported(tmp_path / "winner", HDR(width=8))
    hole = torch.zeros(1, 40, 33, dtype=torch.bool)
    hole[:, 10:14, 5:30] = True
    light = _light(40, 33) / 7
    light[0, 30:], light[1, 14] = -0.5, -0.25  # far from the holes, and in their ring
    windows = Windows(Window(3, 4, 35, 43), Window(0, 0, 63, 63))
    for folder, picture in (("warp", light), ("hole", hole.float().expand(3, -1, -1))):
        (tmp_path / folder).mkdir()
        write_light(tmp_path / folder / "1.exr", picture, windows)
    written = next(apply(winner, tmp_path, tmp_path / "out")).output
    made = read_light(written)
    is_ring = torch.nn.functional.max_pool2d(hole.float(), 3, 1, 1).bool() & ~hole
    assert torch.equal(made[:, ~(is_ring | hole)[0]], light[:, ~(is_ring | hole)[0]])
    assert torch.equal(made[1, 14], light[1, 14])
    assert (made[:, hole[0]] >= 0).all()
    assert read_windows(written) == windows


def test_the_command_says_what_it_wrote_or_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    winner, root = exported(tmp_path / "winner", HDR(width=8)), _tree(tmp_path / "shot", 3)
    arguments = [str(winner), str(root), str(tmp_path / "out")]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("filled-") == 3
    (tmp_path / "out" / "hpo-record.jsonl").unlink()
    with pytest.raises(SystemExit, match=r"filled-0001\.exr is there already"):
        main(arguments)
    with pytest.raises(SystemExit, match="nowhere must be a folder"):
        main([str(winner), str(tmp_path / "nowhere"), str(tmp_path / "out")])


def test_a_bad_frame_fails_alone_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A damaged frame and one without a hole are named; once they are mended, the others are not made again."""
    winner, root = exported(tmp_path / "winner", HDR(width=8)), _tree(tmp_path / "shot", 4)
    arguments = [str(winner), str(root), str(tmp_path / "out")]
    torn, hole = root / "warp" / "warped_hole-0002.exr", root / "hole" / "hole-0003.exr"
    whole, mask = torn.read_bytes(), hole.read_bytes()
    torn.write_bytes(whole[:900])
    write_light(hole, torch.zeros(3, 48, 56))
    (root / "hole" / "hole-0004.exr").unlink()
    (root / "warp" / "._warped_hole-0001.exr").write_bytes(b"AppleDouble")
    (root / "warp" / "7.tif").write_bytes(b"")
    assert main(arguments) == 1
    ending = capsys.readouterr()
    assert ending.out.count("filled-") == 1
    assert "failed, 2: cannot read" in ending.err
    assert "warped_hole-0002.exr: the file is truncated or damaged" in ending.err
    assert "hole-0003.exr: the frame has no hole" in ending.err
    assert "1 skipped, frames that lack a file in one of warp and hole: warped_hole-0004.exr" in ending.err
    assert "of a format that holds no light: 7.tif" in ending.err
    assert "1 made, 2 failed, 3 skipped" in ending.err
    first = (tmp_path / "out" / "filled-0001.exr").stat().st_mtime_ns
    torn.write_bytes(whole)
    hole.write_bytes(mask)
    assert main(arguments) == 1
    assert "2 made, 1 kept from an earlier run, 3 skipped" in capsys.readouterr().err
    assert (tmp_path / "out" / "filled-0001.exr").stat().st_mtime_ns == first


# -- layers and motion of a user's frames ----------------------------------------------------------------------------
def _with_layers(root: Path, count: int) -> Path:
    """Frames whose foreground is the left half, which moves 8 pixels to the right and 2 up; the rest stands still."""
    _tree(root, count, size=(32, 32))
    left = (torch.arange(32) < 16).float().expand(3, 32, 32)
    for kind in ("occluder", "motion"):
        (root / kind).mkdir()
    for number in range(1, count + 1):
        write_light(root / "occluder" / f"front-{number:04d}.exr", left)
        write_light(root / "motion" / f"mv-{number:04d}.exr", left * torch.tensor([8.0, -2.0, 0.0]).view(3, 1, 1))
    return root


def test_layers_and_motion_are_read_where_a_folder_has_them(tmp_path: Path) -> None:
    """Motion is minus its mean over what is seen, in units of 8 pixels, and 0 in holes, where nothing is known."""
    paths = frames.read_sequence(_with_layers(tmp_path, 3)).train[0]
    frame = read_frame(paths.warp, paths.hole, paths.ref, paths.layers)
    seen = ~frame.hole_1HW[0]
    left = (torch.arange(32) < 16).expand(32, 32)
    assert torch.equal(frame.occluder_1HW[0], left & seen)
    share = float(left[seen].float().mean())
    for axis, moved in enumerate((8.0, -2.0)):
        assert torch.allclose(frame.motion_2HW[axis][left & seen], torch.tensor(moved * (1 - share) / 8), atol=1e-5)
        assert torch.allclose(frame.motion_2HW[axis][~left & seen], torch.tensor(-moved * share / 8), atol=1e-5)
    assert not frame.motion_2HW[:, ~seen].any()
    batch = next(
        HDR(data=str(tmp_path)).batches("val", Fidelity(size=32, train=1, val=1, epochs=1), 1, torch.Generator())
    )
    assert batch.occluder_B1SS.any()
    assert batch.motion_B2SS.any()


def test_a_frame_without_a_layer_file_is_incomplete_where_others_have_one(tmp_path: Path) -> None:
    root = _with_layers(tmp_path, 4)
    (root / "motion" / "mv-0002.exr").unlink()
    assert frames.read_sequence(root).incomplete == (2,)


def test_a_folder_that_is_split_already_keeps_its_split_and_tells_its_sequences(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 1), ("test", 2)):
        _tree(tmp_path / split, count, size=(32, 32))
    ref = tmp_path / "train" / "ref"
    (ref / "ref-0003.exr").rename(ref / "second-shot-0003.exr")
    sequence = frames.read_sequence(tmp_path)
    assert [len(sequence.of(split)) for split in frames.SPLITS] == [4, 1, 2]
    assert [frame.sequence for frame in sequence.train] == [0, 0, 1, 0]
    batch = next(
        HDR(data=str(tmp_path)).batches("train", Fidelity(size=32, train=4, val=1, epochs=1), 4, torch.Generator())
    )
    assert sorted(batch.source_B.tolist()) == [0, 0, 0, 1]


def test_a_split_of_a_users_own_needs_a_complete_frame(tmp_path: Path) -> None:
    for split in frames.SPLITS:
        _tree(tmp_path / split, 2, size=(32, 32))
    (tmp_path / "val" / "hole" / "hole-0001.exr").unlink()
    (tmp_path / "val" / "ref" / "ref-0002.exr").unlink()
    with pytest.raises(ValueError, match=r"val must hold at least 1 complete frame, for val; got 0 \(2 others lack"):
        frames.read_sequence(tmp_path)


@pytest.mark.parametrize("layers", [True, False])
def test_applied_files_score_as_the_task_scores_the_same_frames(tmp_path: Path, layers: bool) -> None:
    """With layers in files the score is that of the study; without them, that of frames whose layers are hidden."""
    task = HDR(width=8, data=str(_with_layers(tmp_path / "shot", 3)))
    if not layers:
        for kind in ("occluder", "motion"):
            (tmp_path / "shot" / kind).rename(tmp_path / kind)
    model = task.model()
    with torch.no_grad():
        model.leave.weight.mul_(30.0)  # or an untrained network adds almost nothing
    winner = exported(tmp_path / "winner", task, model)
    batch = next(task.batches("test", Fidelity(size=32, train=1, val=1, epochs=1), 1, torch.Generator()))
    assert bool(batch.occluder_B1SS.any()) == layers
    with torch.no_grad():
        expected = task.score(model, batch)
    written = [made.output for made in apply(winner, tmp_path / "shot", tmp_path / "out")]
    paths = frames.read_sequence(tmp_path / "shot").test[0]
    gain = read_frame(paths.warp, paths.hole, paths.ref).gain
    scores = loss.light_scores(gain * read_light(written[2])[None], *loss.score_references(batch))
    for name in ("score", "psnr_mu", "gain_db", "psnr_mu_hole"):
        assert float(scores[name]) == pytest.approx(float(expected[name]), abs=1e-3)
    assert abs(float(expected["gain_db"])) > 0.1  # or the network has done nothing
    if not layers:
        assert float(expected["score"]) == pytest.approx(float(expected["score_without_layers"]), abs=1e-4)
