"""Photographs, colour, image files, image scores and perceptual distances.

Expected values come from scikit-image, torchmetrics and closed forms; each test says which.
"""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from hpo import REFERENCE, Evidence
from objectives.common import batches, colour, crops, files, image_scores, perceptual, photographs
from objectives.common.checks import check_lead
from objectives.common.exposure import grey_gain
from objectives.common.pictures import evenly_spaced
from objectives.common.rivals import best_rival


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _noisy_pair(*shape: int, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    clean = torch.rand(shape, generator=_rng())
    return (clean + noise * torch.randn(shape, generator=_rng(1))).clamp(0, 1), clean


def _channels_last(image_3HW: Tensor) -> np.ndarray:
    return image_3HW.permute(1, 2, 0).double().numpy()


# -- photographs ---------------------------------------------------------------------------------------------------
def test_every_photograph_is_the_file_that_is_pinned_and_scikit_images_own_reader_agrees() -> None:
    """Judge: skimage.data, for two names that it reads from the same package folder."""
    from skimage import data

    for name in photographs.PHOTOGRAPHS:
        rgb_3HW = photographs.srgb(name)
        assert rgb_3HW.shape[0] == 3
        assert rgb_3HW.dtype == torch.float32
        assert rgb_3HW.min() >= 0
        assert 0.9 < rgb_3HW.max() <= 1
    for name in ("astronaut", "chelsea"):
        theirs = getattr(data, name)()
        assert np.array_equal(colour.as_uint8(photographs.srgb(name)).permute(1, 2, 0).numpy(), theirs)


def test_unknown_photograph_is_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="unknown photograph 'cat'; known: astronaut, chelsea"):
        photographs.srgb("cat")  # scikit-image would download this one


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"package": "no_such_package"}, "no_such_package, which is not installed"),
        ({"path": "data/no_such_file.png"}, "no_such_file.png is missing"),
        ({"sha256": "0" * 64}, "chelsea.png must have sha256 0000"),
    ],
)
def test_missing_or_altered_photograph_is_named(monkeypatch, change: dict[str, str], message: str) -> None:
    altered = replace(photographs.PHOTOGRAPHS["chelsea"], **change)
    monkeypatch.setitem(photographs.PHOTOGRAPHS, "altered", altered)
    with pytest.raises(ValueError, match=message):
        photographs.srgb("altered")


# -- colour --------------------------------------------------------------------------------------------------------
def test_srgb_curve_has_the_standards_values_and_is_its_own_inverse() -> None:
    """Closed form of IEC 61966-2-1 in double precision, at the joint, the ends and in between."""
    encoded = torch.tensor([0.0, 0.02, 0.04045, 0.2, 0.5, 1.0], dtype=torch.float64)
    light = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in encoded.tolist()]
    assert colour.linear_from_srgb(encoded).tolist() == pytest.approx(light, rel=1e-12)
    every_byte = torch.arange(256) / 255
    assert torch.equal(
        colour.as_uint8(colour.srgb_from_linear(colour.linear_from_srgb(every_byte))),
        torch.arange(256, dtype=torch.uint8),
    )


def test_srgb_curve_has_a_finite_gradient_at_black() -> None:
    linear = torch.zeros(3, requires_grad=True)
    colour.srgb_from_linear(linear).sum().backward()
    assert linear.grad.tolist() == pytest.approx([12.92] * 3)


def test_saturation_is_that_of_hsv() -> None:
    """Judge: the standard library's colorsys."""
    import colorsys

    rgb = torch.rand(20, generator=_rng()).repeat(3, 1).view(3, 4, 5) * torch.rand(3, 4, 5, generator=_rng(1))
    ours = colour.saturation(rgb).flatten().tolist()
    theirs = [colorsys.rgb_to_hsv(*pixel)[1] for pixel in rgb.flatten(1).T.tolist()]
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_rounding_to_8_bit_is_unbiased_where_truncation_darkens_by_half_a_level() -> None:
    values = torch.rand(200_000, generator=_rng())
    assert float((colour.round8(values) - values).mean()) * 255 == pytest.approx(0.0, abs=0.01)
    assert torch.equal(colour.as_float(colour.as_uint8(values)), colour.round8(values))


# -- scores --------------------------------------------------------------------------------------------------------
def test_psnr_is_scikit_images_of_each_image_and_not_of_the_pool() -> None:
    noisy, clean = _noisy_pair(2, 3, 20, 24)
    noisy[1] = clean[1] + 0.01  # a pooled error would hide the good image behind the bad one
    theirs = [peak_signal_noise_ratio(clean[i].numpy(), noisy[i].numpy(), data_range=1) for i in range(2)]
    assert image_scores.psnr_db(noisy, clean).tolist() == pytest.approx(theirs, abs=1e-4)
    assert theirs[1] - theirs[0] > 15


def test_psnr_of_equal_images_is_finite() -> None:
    image = torch.rand(1, 3, 12, 12)
    assert image_scores.psnr_db(image, image).item() == pytest.approx(image_scores.MAX_PSNR_DB)


def test_ssim_is_scikit_images_with_gaussian_weights() -> None:
    noisy, clean = _noisy_pair(3, 3, 40, 33)
    theirs = [
        structural_similarity(
            _channels_last(clean[i]),
            _channels_last(noisy[i]),
            data_range=1,
            channel_axis=2,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for i in range(3)
    ]
    assert image_scores.ssim(noisy, clean).tolist() == pytest.approx(theirs, abs=2e-6)


def test_ms_ssim_is_the_product_of_scikit_images_terms_over_five_scales() -> None:
    """Judge: scikit-image's SSIM on a pyramid. A huge K1 makes its luminance term 1 and leaves contrast-structure."""
    noisy, clean = _noisy_pair(1, 1, 176, 192, noise=0.3)
    a, b = noisy[0, 0].double().numpy(), clean[0, 0].double().numpy()
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        term = structural_similarity(
            a,
            b,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            K1=0.01 if scale == 4 else 1e6,
        )
        product *= term**weight
        a, b = (x[: x.shape[0] // 2 * 2].reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3)) for x in (a, b))
    assert image_scores.ms_ssim(noisy, clean).item() == pytest.approx(product, abs=1e-5)


def test_ssim_and_ms_ssim_of_one_pair_differ_and_so_never_share_a_column() -> None:
    clean = crops.resized(photographs.srgb("astronaut"), 192)[None]
    noisy = (clean + 0.1 * torch.randn(clean.shape, generator=_rng())).clamp(0, 1)
    assert image_scores.ms_ssim(noisy, clean).item() > image_scores.ssim(noisy, clean).item() + 0.2


def test_ssim_is_the_same_under_mixed_precision() -> None:
    noisy, clean = _noisy_pair(2, 3, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = image_scores.ssim(noisy, clean)
    assert torch.equal(inside, image_scores.ssim(noisy, clean))


def test_ssim_and_ms_ssim_refuse_images_that_their_windows_do_not_fit() -> None:
    with pytest.raises(ValueError, match="at least 11 pixels"):
        image_scores.ssim(torch.rand(1, 3, 10, 40), torch.rand(1, 3, 10, 40))
    with pytest.raises(ValueError, match="at least 161 pixels"):
        image_scores.ms_ssim(torch.rand(1, 3, 160, 160), torch.rand(1, 3, 160, 160))


# -- perceptual ----------------------------------------------------------------------------------------------------
def test_sobel_of_a_ramp_is_its_slope() -> None:
    """Closed form: an image that rises by 0.02 a pixel to the right has slope 0.02 across and 0 down."""
    ramp = (0.02 * torch.arange(12.0)).expand(1, 1, 8, 12)
    slopes = perceptual.sobel(ramp)[0, :, :, 1:-1]
    assert torch.allclose(slopes[0], torch.tensor(0.02))
    assert torch.allclose(slopes[1], torch.tensor(0.0), atol=1e-7)


def test_pged_of_a_brightened_grey_image_has_its_closed_form() -> None:
    """Flat images have no edges: 0.25 * 4 * ((a - b) / (b + 0.1))^2 on every level."""
    a, b = torch.full((2, 3, 32, 32), 0.5), torch.full((2, 3, 32, 32), 0.3)
    assert perceptual.pged(a, b).tolist() == pytest.approx([(0.2 / 0.4) ** 2] * 2, rel=1e-5)


def test_pged_is_zero_for_equal_images_and_grows_with_noise() -> None:
    image = crops.resized(photographs.srgb("astronaut"), 64)[None]
    noise = torch.rand(image.shape, generator=_rng()) * 2 - 1
    distances = [perceptual.pged(image + a * noise, image).item() for a in (0.0, 0.01, 0.05, 0.1)]
    assert distances[0] == 0
    assert distances == sorted(distances)


@pytest.mark.skipif(perceptual.installed("stlpips"), reason="its weights are installed here")
def test_a_perceptual_backend_that_is_missing_is_an_error_and_never_swapped() -> None:
    with pytest.raises(ValueError, match=r"pip install --no-deps stlpips-pytorch==0\.0\.2"):
        perceptual.perceptual_distance("stlpips", torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    with pytest.raises(ValueError, match="must be one of pged, stlpips; got 'lpips'"):
        perceptual.perceptual_distance("lpips", torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))


@pytest.mark.skipif(not perceptual.installed("stlpips"), reason="needs stlpips-pytorch 0.0.2")
def test_stlpips_is_the_packages_own_class() -> None:
    """Reference: stlpips_pytorch.stlpips.LPIPS(net="alex", variant="shift_tolerant") on the same tensors."""
    ramp = torch.linspace(0, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    assert perceptual.perceptual_distance("stlpips", ramp**0.5, ramp).item() == pytest.approx(0.133597, abs=1e-5)
    names = ("astronaut", "chelsea", "coffee", "flower")
    clean = torch.stack([crops.resized(photographs.srgb(name)[:, :300, :300], 96) for name in names])
    noisy = (clean + 0.03 * (torch.rand(clean.shape, generator=_rng()) * 2 - 1)).clamp(0, 1)
    distances = perceptual.perceptual_distance("stlpips", noisy, clean).tolist()
    assert distances == pytest.approx([0.006694, 0.013890, 0.008482, 0.017484], abs=1e-5)


# -- crops ---------------------------------------------------------------------------------------------------------
def test_a_random_square_has_the_asked_size_and_repeats_with_its_generator() -> None:
    photo = photographs.srgb("chelsea")
    draw = [crops.random_square(photo, 48, scale=(0.35, 0.9), rng=_rng(7), flip=True) for _ in range(2)]
    assert draw[0].shape == (3, 48, 48)
    assert torch.equal(*draw)
    assert crops.random_square(photo, 512, scale=(0.35, 0.9), rng=_rng()).shape == (3, 512, 512)  # smaller photo


# -- files ---------------------------------------------------------------------------------------------------------
def _save(path, array: np.ndarray, **options):
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "PNG"])
def test_lossless_files_come_back_byte_for_byte(tmp_path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    read = files.read_image(_save(tmp_path / f"a.{suffix}", pixels))
    assert read.shape == (3, 9, 13)
    assert np.array_equal(colour.as_uint8(read).permute(1, 2, 0).numpy(), pixels)


def test_grey_16_bit_png_and_tiff_keep_all_their_bits(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (8, 8)).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        read = files.read_image(_save(tmp_path / name, pixels))
        assert np.array_equal(np.round(read[1].double().numpy() * 65535).astype(np.uint16), pixels)


def test_jpeg_palette_and_grey_files_become_rgb(tmp_path) -> None:
    smooth = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    grey = files.read_image(_save(tmp_path / "a.jpg", smooth, quality=95))
    assert torch.equal(grey[0], grey[2])
    assert np.abs(grey[0].numpy() * 255 - smooth).max() < 4
    Image.fromarray(smooth).convert("P").save(tmp_path / "p.png")
    assert files.read_image(tmp_path / "p.png").shape == (3, 32, 32)


def test_the_cameras_rotation_is_applied(tmp_path) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn by 90 degrees
    assert files.read_image(_save(tmp_path / "a.png", pixels, exif=exif)).shape == (3, 6, 4)


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def _truncated(format_: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, format_)
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "the file is empty"),
        (b"not an image at all", "of no format"),
        (_truncated("PNG"), ""),
        (_truncated("JPEG"), "truncated"),
        (_truncated("BMP"), "truncated"),
        (_truncated("TIFF"), ""),
        (_png(15_000, 9_000), "15000 x 9000 pixels; at most 120000000"),
        (_png(40_000, 40_000), "at most 120000000"),
        (b"GIF89a" + bytes(100), ""),
    ],
    ids=["empty", "text", "png", "jpeg", "bmp", "tiff", "large", "bomb", "gif"],
)
def test_a_file_that_cannot_be_read_is_an_error_with_its_path_and_cause(tmp_path, content: bytes, cause: str) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot read the image .*photo\.png") as error:
        files.read_image(path)
    assert cause in str(error.value)


def test_missing_transparent_and_deep_files_are_refused(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.png"):
        files.read_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="transparent"):
        files.read_image(_save(tmp_path / "t.png", np.zeros((4, 4, 4), np.uint8)))
    with pytest.raises(ValueError, match="pixel mode 'F'"):
        files.read_image(_save(tmp_path / "f.tif", np.zeros((4, 4), np.float32)))
    opaque = np.full((4, 4, 4), 255, np.uint8)
    assert math.isclose(files.read_image(_save(tmp_path / "o.png", opaque)).mean().item(), 1.0)


def test_a_folder_is_listed_by_name_and_an_empty_or_missing_one_refused(tmp_path) -> None:
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in files.image_files(tmp_path)] == ["a.JPG", "b.png"]
    (tmp_path / "empty").mkdir()
    for folder, cause in ((tmp_path / "empty", "holds no image"), (tmp_path / "none", "must be a folder")):
        with pytest.raises(ValueError, match=cause):
            files.image_files(folder)


# -- what several tasks share ------------------------------------------------------------------------------------------
class _Pair(NamedTuple):
    number_B: Tensor
    picture_B1SS: Tensor


def test_batches_are_joined_and_cut_again_without_a_change() -> None:
    whole = _Pair(torch.arange(5), torch.arange(20.0).view(5, 1, 2, 2))
    parts = batches.parts_of(whole, 2)
    assert [len(part.number_B) for part in parts] == [2, 2, 1]
    for field, expected in zip(batches.joined(parts), whole, strict=True):
        assert torch.equal(field, expected)
    assert batches.example(whole, 3).picture_B1SS.flatten().tolist() == [12, 13, 14, 15]
    with pytest.raises(ValueError, match="there must be a batch to join"):
        batches.joined([])


def test_the_grey_gain_brings_the_geometric_mean_to_middle_grey() -> None:
    """Of 1/16 and 1/4 that mean is 1/8; of 0, which counts as 1/64, and 1/4 it is 1/16."""
    assert float(grey_gain(torch.tensor([1 / 16, 1 / 4]), least=1e-6)) == pytest.approx(0.18 * 8)
    assert float(grey_gain(torch.tensor([0.0, 1 / 4]), least=1 / 64)) == pytest.approx(0.18 * 16)


def test_shown_rows_are_evenly_spaced_from_the_first_to_the_last() -> None:
    assert evenly_spaced(9, 3) == [0, 4, 8]
    assert evenly_spaced(2, 5) == [0, 1]
    assert evenly_spaced(4, 1) == [0]


def test_the_best_rival_is_no_reference_and_not_the_network() -> None:
    scores = {"network": {"score": 9.0}, "a": {"score": 2.0}, "b": {"score": 3.0}, f"told{REFERENCE}": {"score": 8.0}}
    assert best_rival(scores, "score") == "b"
    rivals = {name: each for name, each in scores.items() if name != "network"}
    evidence = Evidence("promotion", scores={"score": 2.5}, baselines=rivals)
    check = check_lead(evidence, "score", behind="caution", look_at="more epochs")
    assert (check.status, check.allowed) == ("caution", "above 3.000 (b)")
