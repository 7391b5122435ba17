"""X-Trans: raw files through LibRaw, its demosaicers on known truth, the published network, and a user's own folder.

The raw files are synthetic: DNGs of known mosaics, read by the real LibRaw. What needs the extra `raw` is skipped, and
says so, where that is not installed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from hpo import REFERENCE, Split, evaluate
from objectives.common.colour import srgb_from_linear
from objectives.common.image_scores import psnr_db
from objectives.xtrans import (
    CHEAP,
    XTrans,
    baseline,
    cfa,
    data,
    develop,
    gharbi,
    look,
    loss,
    raf,
    reference_free,
    scenes,
)
from objectives.xtrans.data import TILE
from objectives.xtrans.light import RAW, per_channel
from objectives.xtrans.model import ARCHS
from objectives.xtrans.own_files import split_own_files
from tests.objectives.exported import exported
from tests.objectives.raf_bytes import write_raf

needs_raw = pytest.mark.skipif(not raf.installed(), reason="LibRaw is NOT tested: pip install 'hpo[raw]'")
needs_gharbi = pytest.mark.skipif(not gharbi.installed(), reason="the published network is NOT tested: hpo[raw]")
SIDE = 516
WIDE = (slice(None), slice(12, -12), slice(12, -12))


@pytest.fixture(scope="module")
def picture() -> Tensor:
    """The astronaut's face in balanced light, mirrored to the size of a frame."""
    astronaut = next(scene for scene in scenes.load_scenes("train", scenes.Source()) if scene.name == "astronaut")
    rgb = astronaut.views_3HW[0]
    return torch.cat([torch.cat([rgb, rgb.flip(-1)], -1), torch.cat([rgb.flip(-2), rgb.flip(-1, -2)], -1)], -2)


@pytest.fixture(scope="module")
def frame(picture: Tensor) -> Tensor:
    return torch.nn.functional.pad(picture[None], (0, SIDE - 512, 0, SIDE - 512), mode="reflect")[0]


def _dng(
    path: Path,
    mosaic_HW: Tensor,
    *,
    black: int,
    white: int,
    gain: tuple[float, float, float],
    orientation: int = 1,
) -> Path:
    from objectives.xtrans import dng

    dng.write(path, _codes(mosaic_HW, black, white), black=black, white=white, neutral=gain, orientation=orientation)
    return path


def _codes(mosaic_HW: Tensor, black: int | Tensor, white: int) -> np.ndarray:
    return (mosaic_HW * (white - black) + black).round().clip(0, 65535).numpy().astype(np.uint16)


def _shown(rgb: Tensor) -> Tensor:
    return srgb_from_linear(rgb.clamp(0, 1))


def _psnr(made: Tensor, target: Tensor) -> float:
    return float(psnr_db(made[WIDE][None], target[WIDE][None]))


# -- raw files -------------------------------------------------------------------------------------------------------
@needs_raw
def test_the_black_level_is_taken_off_once(tmp_path: Path) -> None:
    """Pitfall. Planted: a flat 0.25 over a black level of 1024; taken off twice it would be 0.183."""
    raw = raf.read(_dng(tmp_path / "flat.dng", torch.full((SIDE, SIDE), 0.25), black=1024, white=16383, gain=RAW))
    assert torch.allclose(raw.mosaic_1HW, torch.tensor(0.25), atol=1e-4)
    assert raw.black == (1024.0, 1024.0, 1024.0)
    assert raw.white == 16383.0
    assert torch.allclose(raw.gain_3, torch.tensor(RAW), atol=1e-3)
    developed, _ = raf.develop(tmp_path / "flat.dng", 4)
    assert torch.allclose(developed[1], torch.tensor(0.25), atol=1e-3)
    assert torch.allclose(developed[:, 20:-20, 20:-20].mean((1, 2)), 0.25 / torch.tensor(RAW), rtol=1e-2)


@needs_raw
def test_values_below_black_and_above_white_are_not_clipped(tmp_path: Path) -> None:
    mosaic = torch.full((SIDE, SIDE), 0.5)
    mosaic[:50], mosaic[50:100] = -0.05, 1.5
    raw = raf.read(_dng(tmp_path / "wide.dng", mosaic, black=1024, white=16383, gain=RAW))
    assert float(raw.mosaic_1HW.min()) == pytest.approx(-0.05, abs=1e-3)
    assert float(raw.mosaic_1HW.max()) == pytest.approx(1.5, abs=1e-3)


@needs_raw
def test_a_mosaic_comes_back_as_it_was_written(tmp_path: Path, frame: Tensor) -> None:
    """Within half a code of 14 bits, at phase (0, 0)."""
    mosaic = cfa.mosaic(frame * per_channel(torch.tensor(RAW)))[0]
    raw = raf.read(_dng(tmp_path / "a.dng", mosaic, black=1024, white=16383, gain=RAW))
    assert torch.allclose(raw.mosaic_1HW[0], mosaic, atol=0.51 / (16383 - 1024))


@needs_raw
@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 12), (13, 8), (30, 24)])
@pytest.mark.parametrize("kind", ["raf", "dng"])
def test_a_visible_area_may_begin_anywhere(tmp_path: Path, kind: str, top: int, left: int) -> None:
    """Pitfall: the colours that rawpy tells are wrong behind margins of more than 6 pixels.

    Planted: red, green and blue pixels of 2000, 3000 and 4000, and a number in them for each place.
    """
    from objectives.xtrans import dng

    if kind == "raf":  # LibRaw moves the area to whole tiles; the filter is that of the whole sensor
        top, left, phase = -(-top // 6) * 6, -(-left // 6) * 6, (0, 0)
    else:  # the filter begins where the visible area does
        phase = (-top % 6, -left % 6)
    number = torch.arange(612 * 624).view(612, 624) % 997
    codes = (2000 + 1000 * cfa.colours(612, 624, phase) + number).numpy().astype(np.uint16)
    path = tmp_path / f"a.{kind}"
    if kind == "raf":
        write_raf(path, codes, visible=(top, left, 552, 540))
    else:
        dng.write(path, codes, black=1022, white=16383, active=(top, left, top + 552, left + 540))
    made = (raf.read(path).mosaic_1HW[0] * (16383 - 1022) + 1022).round().int().numpy()
    assert np.array_equal((made - 2000) // 1000, cfa.colours(552, 540))
    assert np.array_equal(made, codes[top : top + 552, left : left + 540])


@needs_raw
def test_a_filter_may_begin_at_any_phase(tmp_path: Path) -> None:
    """The rows and columns before phase (0, 0) are cut off; black levels stay with their places."""
    from objectives.xtrans import dng

    for phase in ((2, 1), (5, 3)):
        colours = cfa.colours(516, 516, phase)
        tile = colours[:6, :6].flatten().tolist()
        levels = [(900, 1024, 1200)[colour] for colour in tile]
        codes = (2000 + 1000 * colours + torch.arange(516)).numpy().astype(np.uint16)
        dng.write(tmp_path / "a.dng", codes, black=levels, white=16383)
        content = (tmp_path / "a.dng").read_bytes()
        standard = bytes(cfa.TILE.flatten().tolist())
        assert content.count(standard) == 1
        (tmp_path / "a.dng").write_bytes(content.replace(standard, bytes(tile)))
        made = raf.read(tmp_path / "a.dng").mosaic_1HW[0]
        black = torch.tensor([900, 1024, 1200])[cfa.colours(*made.shape)]
        down, across = 516 - made.shape[0], 516 - made.shape[1]
        assert np.array_equal((made * (16383 - black) + black).round().numpy(), codes[down:, across:])


@needs_raw
@pytest.mark.parametrize("kind", ["raf", "dng"])
def test_each_place_has_its_own_black_level(tmp_path: Path, kind: str) -> None:
    """rawpy tells the lowest for all. Planted: 5 % of white above 900, 1024 and 1200; LibRaw finds it flat as well."""
    import rawpy

    from objectives.xtrans import dng

    black = torch.tensor([900, 1024, 1200])[cfa.TILE]
    codes = _codes(torch.full((516, 516), 0.05), black.repeat(86, 86), 16383)
    path = tmp_path / f"a.{kind}"
    if kind == "raf":
        write_raf(path, codes, black=black.flatten().tolist(), gain=(1.0, 1.0, 1.0))
    else:
        dng.write(path, codes, black=black.flatten().tolist(), white=16383)
    raw = raf.read(path)
    assert torch.allclose(raw.mosaic_1HW, torch.tensor(0.05), atol=1e-4)
    assert raw.black == (900, 1024, 1200)
    with rawpy.imread(str(path)) as opened:
        assert len(set(opened.black_level_per_channel)) == 1
        rgb_HW3 = opened.postprocess(
            user_wb=[1, 1, 1, 1], no_auto_bright=True, gamma=(1, 1), output_bps=16, output_color=rawpy.ColorSpace.raw
        )
    levels = rgb_HW3[20:-20, 20:-20].reshape(-1, 3) / (65535 / (16383 - 900))  # LibRaw's white is that of the lowest
    assert np.ptp(levels, 0).max() < 1
    assert np.allclose(levels.mean(0), [0.05 * (16383 - level) for level in raw.black], atol=1)


@needs_raw
def test_a_bayer_file_and_no_raw_file_are_errors_that_name_the_file(tmp_path: Path) -> None:
    import tifffile

    bayer = tmp_path / "bayer.dng"
    tags = [
        (33421, 3, 2, (2, 2), True),
        (33422, 1, 4, bytes([0, 1, 1, 2]), True),
        (50706, 1, 4, bytes([1, 4, 0, 0]), True),
        (50708, 2, 0, "Bayer", True),
    ]
    tifffile.imwrite(bayer, np.zeros((600, 600), np.uint16), photometric=32803, extratags=tags, metadata=None)
    with pytest.raises(
        ValueError, match=r"bayer.dng: the colour filter must be the 6 x 6 .*; got RG GB in its first two"
    ):
        raf.read(bayer)
    linear = tmp_path / "linear.dng"
    tifffile.imwrite(linear, np.zeros((600, 600, 3), np.uint16), photometric=34892, extratags=tags[2:], metadata=None)
    with pytest.raises(ValueError, match=r"linear.dng: the colour filter must be .*; the file was demosaiced already"):
        raf.read(linear)


@needs_raw
def test_what_libraw_cannot_read_is_named_with_the_cause_in_words(tmp_path: Path) -> None:
    whole = write_raf(tmp_path / "whole.raf", np.full((516, 516), 1500, np.uint16)).read_bytes()
    jpeg = tmp_path / "a.jpg"
    Image.new("RGB", (9, 9)).save(jpeg)
    contents = {
        b"": "LibRaw knows no such raw file; the file is empty",
        b"not a raw file": "LibRaw knows no such raw file; its content is of no format that is known here",
        jpeg.read_bytes(): "LibRaw knows no such raw file; its content is JPEG",
        whole[:3000]: "it is truncated or damaged",
        whole[: len(whole) // 2]: "it is truncated or damaged",
    }
    for content, message in contents.items():
        (tmp_path / "broken.raf").write_bytes(content)
        with pytest.raises(ValueError, match=rf"cannot read the raw file .*broken.raf: {message}"):
            raf.read(tmp_path / "broken.raf")
    with pytest.raises(ValueError, match=r"none.raf: there is no such file"):
        raf.read(tmp_path / "none.raf")


@needs_raw
def test_a_frame_below_512_pixels_is_refused_before_libraw_fails_on_it() -> None:
    with pytest.raises(ValueError, match="at least 512 pixels a side"):
        raf.run_libraw(torch.zeros(504, 600), "markesteijn 3")


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raf, "installed", lambda: False)
    with pytest.raises(ValueError, match=r"needs rawpy and tifffile, .* pip install 'hpo\[raw\]'"):
        raf.read(Path("a.raf"))


# -- LibRaw's demosaicers --------------------------------------------------------------------------------------------
@needs_raw
def test_libraws_names_for_other_filters_all_run_markesteijn_here(frame: Tensor, monkeypatch) -> None:
    """Pitfall: "DHT" is recorded, and never runs. AHD and DHT give the same bits; PPG is one pass instead of three."""
    monkeypatch.setitem(raf.ALGORITHMS, "as AHD", "AHD")
    mosaic = cfa.mosaic(frame)[0]
    three_passes, ahd, one_pass = (
        raf.run_libraw(mosaic, name) for name in ("markesteijn 3", "as AHD", "markesteijn 1")
    )
    assert torch.equal(three_passes, ahd)
    assert not torch.equal(three_passes, one_pass)


@needs_raw
def test_classical_demosaicers_want_the_white_balanced(tmp_path: Path, frame: Tensor) -> None:
    """Pitfall: a teacher at unity white balance. On one photograph Markesteijn loses more than 1 dB by it."""
    gain = per_channel(torch.tensor(RAW))
    mosaic = cfa.mosaic(frame * gain)
    raw = raf.Raw(mosaic, torch.tensor(RAW), "planted", (0.0, 0.0, 0.0), 1.0)
    right = raf.demosaic(raw, "markesteijn 3")
    wrong = raf.run_libraw(mosaic[0], "markesteijn 3") / gain
    assert _psnr(right, frame) > _psnr(wrong, frame) + 1


@needs_raw
def test_light_above_white_survives_a_demosaicer_that_clips(frame: Tensor) -> None:
    raw = raf.Raw(cfa.mosaic(3 * frame), torch.ones(3), "planted", (0.0, 0.0, 0.0), 1.0)
    made = raf.demosaic(raw, "markesteijn 1")
    assert float(made.max()) > 2.5
    assert _psnr(made / 3, frame) > 30


@needs_raw
def test_tiles_side_by_side_are_demosaiced_as_in_the_whole_photograph(frame: Tensor) -> None:
    """In their middles, where they are judged: what lies beside a tile does not reach that far."""
    whole = raf.run_libraw(cfa.mosaic(frame)[0], "markesteijn 3")
    tops, lefts = (96, 240, 330), (60, 180, 402)
    places = [(slice(None), slice(top, top + TILE), slice(left, left + TILE)) for top in tops for left in lefts]
    tiles = torch.stack([cfa.mosaic(frame)[place] for place in places])
    made = torch.stack(list(baseline._run(tiles, "markesteijn 3")))
    expected = torch.stack([whole[place] for place in places])
    error = loss.inner(made - expected, data.BORDER).abs()
    assert float((error > 2e-3).float().mean()) < 0.01


@needs_raw
def test_one_tile_has_the_same_score_alone_and_among_others() -> None:
    """Promotion asks for each tile by itself; its place in a frame must not matter."""
    task = XTrans()
    batch = next(task.batches("val", replace(CHEAP, val=4), 4, torch.Generator()))
    method = task.methods()["markesteijn 3"]
    together = loss.tile_scores(method(batch), batch)["psnr_lin"]
    alone = [
        loss.tile_scores(method(tile), tile)["psnr_lin"]
        for tile in (data.Batch(*(field[row : row + 1] for field in batch)) for row in range(4))
    ]
    assert torch.allclose(torch.cat(alone), together, atol=1e-4)


@needs_raw
def test_methods_come_in_the_order_that_others_have_measured() -> None:
    """Markesteijn beats VNG beats bilinear, in light as seen, on photographs that nobody tuned for."""
    task = XTrans()
    batch = next(task.batches("val", CHEAP, 24, torch.Generator()))
    methods = task.methods()
    decibels = {
        name: float(loss.tile_scores(methods[name](batch), batch)["psnr_lin"].mean())
        for name in ("libraw linear", "libraw vng", "markesteijn 3")
    }
    assert decibels["libraw linear"] < decibels["libraw vng"] < decibels["markesteijn 3"]


# -- the published network -------------------------------------------------------------------------------------------
@needs_gharbi
def test_the_published_network_has_the_parameters_that_it_was_published_with() -> None:
    """409,923: counted in its weight file; it is a reference, and no rival."""
    assert sum(parameter.numel() for parameter in gharbi.network().parameters()) == 409_923
    assert next(name for name in XTrans().methods() if name.startswith("Gharbi")).endswith(REFERENCE)


@needs_gharbi
def test_the_published_network_wants_encoded_values(picture: Tensor, monkeypatch) -> None:
    """Pitfall: fed linear light it loses more than 1 dB as seen."""
    rgb = picture[:, 60:192, 60:192]

    def seen_db() -> float:
        made = _shown(gharbi.demosaic(cfa.mosaic(rgb[None]))[0])
        return _psnr(made, _shown(rgb))

    right = seen_db()
    with monkeypatch.context() as patch:
        patch.setattr(gharbi, "srgb_from_linear", lambda x: x)
        patch.setattr(gharbi, "linear_from_srgb", lambda x: x)
        linear = seen_db()
    assert right > 30
    assert right > linear + 1


@needs_gharbi
def test_other_weights_than_the_published_ones_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(gharbi, "WEIGHTS", replace(gharbi.WEIGHTS, sha256="0" * 64))
    gharbi.network.cache_clear()
    with pytest.raises(ValueError, match=f"the published network: .*must have sha256 {'0' * 64}"):
        gharbi.network()
    gharbi.network.cache_clear()


# -- a user's own folder ---------------------------------------------------------------------------------------------
def _picture_file(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((320, 280), Image.Resampling.BICUBIC).save(path)


JUDGING: tuple[tuple[Split, int], ...] = (("val", 0), ("test", 0), ("test", 1), ("test", 2))


def test_a_new_file_moves_no_other_to_another_split(tmp_path: Path) -> None:
    def split_of() -> dict[str, str]:
        split_own_files.cache_clear()
        parts = {
            f"{split} {fold}": split_own_files(str(tmp_path), fold, scenes.FOLDS)[split] for split, fold in JUDGING
        }
        return {sha: part for part, files in parts.items() for _, sha in files}

    for index in range(20):
        (tmp_path / f"{index}.png").write_bytes(bytes([index]))
    before = split_of()
    for index in range(20, 30):
        (tmp_path / f"{index}.png").write_bytes(bytes([index]))
    after = split_of()
    assert {sha: after[sha] for sha in before} == before
    assert set(before.values()) == {"val 0", "test 0", "test 1", "test 2"}
    assert len(after) == 30


def test_a_folder_of_pictures_is_split_and_learned_from(tmp_path: Path) -> None:
    for index in range(6):
        _picture_file(tmp_path / f"{index}.png", index)
    task = XTrans(data=str(tmp_path))
    tiny = replace(CHEAP, train=4, val=2, test=2)
    splits = {split: task.origins(split, tiny) for split in ("train", "val", "test")}
    assert all(splits.values())
    assert sum(len(origins) for origins in splits.values()) == len(set.union(*splits.values())) == 6
    for split in splits:
        batch = next(task.batches(split, tiny, 4, torch.Generator().manual_seed(0)))
        assert torch.isfinite(batch.target_B3SS).all()
        assert set(batch.scene_B.tolist()) <= {-1, *(int(sha256[:8], 16) for sha256 in splits[split])}
        assert torch.allclose(batch.gain_B3, torch.tensor(RAW))


def test_files_of_every_split_are_decoded_and_all_bad_ones_are_named(tmp_path: Path) -> None:
    """A test file that is cut off stops the training split too, since a sweep would find it at its end."""
    for index in range(6):
        _picture_file(tmp_path / f"{index}.png", index)
    split_own_files.cache_clear()
    files = split_own_files(str(tmp_path), 0, scenes.FOLDS)
    bad = [files["test"][0][0], files["val"][0][0]]
    for path in bad:
        path.write_bytes(path.read_bytes()[:900])
    split_own_files.cache_clear()
    with pytest.raises(ValueError, match="2 of 6 files cannot be used") as error:
        next(XTrans(data=str(tmp_path)).batches("train", replace(CHEAP, train=4), 4, torch.Generator()))
    assert all(path.name in str(error.value) for path in bad)


@needs_raw
def test_a_folder_of_raw_files_is_learned_from_with_each_ones_own_gains(tmp_path: Path, frame: Tensor) -> None:
    gains = [(0.4, 1.0, 0.7), (0.5, 1.0, 0.6), (0.6, 1.0, 0.5), (0.7, 1.0, 0.4)]
    for index, gain in enumerate(gains):
        rgb = frame.roll(40 * index, 1) * per_channel(torch.tensor(gain))
        _dng(tmp_path / f"{index}.dng", cfa.mosaic(rgb)[0], black=512, white=16383, gain=gain)
    task = XTrans(data=str(tmp_path), patterns=0.0)
    tiny = replace(CHEAP, train=2, val=2, test=2)
    judging = [replace(task, fold=fold).batches(split, tiny, 2, torch.Generator()) for split, fold in JUDGING]
    judged = [next(batches).gain_B3[0, 0].item() for batches in judging]
    assert sorted(np.round(judged, 2)) == [0.4, 0.5, 0.6, 0.7]
    crops = next(task.batches("train", replace(tiny, train=12), 12, torch.Generator().manual_seed(0)))
    assert set(np.round(crops.gain_B3[:, 0].tolist(), 2)) == set(np.round(judged[2:], 2))
    batch = next(task.batches("val", tiny, 2, torch.Generator()))
    assert evaluate(task, task.model(), [batch])["psnr_lin"] > 20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "must hold at least 4 different files"),
        (lambda folder: [_picture_file(folder / f"{i}.png", 0) for i in range(5)], "at least 4 different files.*got 1"),
    ],
)
def test_a_folder_that_cannot_be_split_is_an_error(tmp_path: Path, make, message: str) -> None:
    split_own_files.cache_clear()
    make(tmp_path)
    with pytest.raises(ValueError, match=message):
        split_own_files(str(tmp_path), 0, scenes.FOLDS)


def test_files_of_a_folder_are_taken_once_and_the_others_are_named(tmp_path: Path) -> None:
    """Pitfall: the JPEG that a camera writes beside a raw file shows its scene, and could be in another split."""
    split_own_files.cache_clear()
    for name in ("a.RAF", "sub/a.RAF", "b.dng", "a.JPG", "b.png", "sub/c.jpg", "._a.RAF", "d.heic", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic" if name == "d.heic" else name.encode())
    with pytest.warns(UserWarning, match=r"1 skipped, HEIC is not read: convert it to JPEG or PNG first.*: d\.heic"):
        splits = split_own_files(str(tmp_path), 0, scenes.FOLDS)
    taken = {str(file.path.relative_to(tmp_path)) for files in splits.values() for file in files}
    assert taken == {"a.RAF", "sub/a.RAF", "b.dng", "sub/c.jpg"}


def test_a_folder_that_is_none_and_pictures_that_are_too_small_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--data .*none must be a folder"):
        XTrans(data=str(tmp_path / "none")).origins("val", CHEAP)
    for index in range(4):
        Image.fromarray(np.full((90, 90, 3), index, np.uint8)).save(tmp_path / f"{index}.png")
    with pytest.raises(ValueError, match=rf"must have at least {TILE} pixels a side; got 45 x 45"):
        next(XTrans(data=str(tmp_path)).batches("val", replace(CHEAP, val=1), 1, torch.Generator()))


# -- developing ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("arch", ARCHS)
def test_a_picture_made_in_strips_is_the_one_made_whole(arch: str, monkeypatch) -> None:
    """No seam, at the borders neither: with every weight off zero, and of a height that no strip divides."""
    monkeypatch.setattr(develop, "ROWS", 96)
    torch.manual_seed(0)
    model = XTrans(arch=arch).model().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        mosaic, known, gain = torch.rand(1, 1, 331, 70) ** 3, cfa.masks(331, 70)[None], torch.tensor([RAW])
        whole = model(mosaic, known, gain)[0]
    made = develop.demosaic_in_strips(model, mosaic[0], gain[0])
    assert made.shape == whole.shape
    assert (made - whole).abs().max() < 1e-4
    alone = model(mosaic[..., :96, :], known[..., :96, :], gain)[0]
    assert (alone - whole[:, :96]).abs().max() > 1e-3  # strips alone differ


@needs_raw
@pytest.mark.parametrize(
    ("kind", "orientation"), [*(("dng", orientation) for orientation in range(1, 9)), ("raf", 1), ("raf", 7)]
)
def test_colours_are_those_that_libraw_gives_without_a_profile(tmp_path: Path, kind: str, orientation: int) -> None:
    """Patches, where no demosaicer can go wrong: black level, balance, matrix, curve and turn are LibRaw's own."""
    import rawpy

    patches = torch.tensor(
        [
            [0.5, 0.5, 0.5],
            [0.05, 0.05, 0.05],
            [0.4, 0.2, 0.1],
            [0.1, 0.3, 0.2],
            [0.1, 0.15, 0.4],
            [0.02, 0.3, 0.3],
            [0.35, 0.3, 0.05],
            [0.9, 0.9, 0.9],
            [0.2, 0.05, 0.2],
        ]
    )
    light = patches.T.reshape(3, 3, 3).repeat_interleave(172, 1).repeat_interleave(172, 2)
    mosaic = cfa.mosaic(light * per_channel(torch.tensor(RAW)))[0]
    path = tmp_path / f"patches.{kind}"
    if kind == "raf":
        write_raf(path, _codes(mosaic, 1022, 16383), gain=RAW, orientation=orientation)
    else:
        _dng(path, mosaic, black=1024, white=16383, gain=RAW, orientation=orientation)
    raw = raf.read(path)
    ours = look.render(
        develop.demosaic_in_strips(XTrans().model().eval(), raw.mosaic_1HW, raw.gain_3),
        raw.gain_3,
        look.read_look(path),
        bright=False,
    )
    with rawpy.imread(str(path)) as opened:
        theirs_HW3 = opened.postprocess(
            use_camera_wb=True,
            no_auto_bright=True,
            adjust_maximum_thr=0,
            output_bps=16,
            gamma=(2.4, 12.92),
            demosaic_algorithm=rawpy.DemosaicAlgorithm.LINEAR,
        )
    theirs = torch.from_numpy(theirs_HW3.astype(np.float32) / 65535).permute(2, 0, 1)
    middles = [slice(86 + 172 * patch - 10, 86 + 172 * patch + 10) for patch in range(3)]
    for down in middles:
        for across in middles:
            our_mean, their_mean = (colours[:, down, across].mean((1, 2)) for colours in (ours, theirs))
            assert torch.allclose(our_mean, their_mean, atol=2 / 255)


@needs_raw
def test_a_folder_of_raw_files_is_developed_and_goes_on(tmp_path: Path, frame: Tensor, capsys, monkeypatch) -> None:
    """RAF and DNG, in subfolders: a torn file fails alone, other cameras' files are named, nothing is made twice."""
    monkeypatch.setattr(reference_free, "MIDDLE", 96)
    winner, raws, out = exported(tmp_path / "winner", XTrans(width=8, depth=2)), tmp_path / "raws", tmp_path / "out"
    main = partial(develop.main, [str(winner), str(raws), str(out)])
    with pytest.raises(SystemExit, match="must be a folder"):
        main()
    (raws / "sub").mkdir(parents=True)
    (raws / "beside.jpg").write_bytes(b"the camera's own")
    with pytest.raises(SystemExit, match="holds no file that can be read: 1 skipped, no raw files"):
        main()
    mosaic = cfa.mosaic(frame * per_channel(torch.tensor(RAW)))[0]
    _dng(raws / "own.dng", mosaic, black=1024, white=16383, gain=RAW)
    whole = write_raf(raws / "sub" / "other.RAF", _codes(mosaic, 1022, 16383), gain=RAW).read_bytes()
    (raws / "sub" / "other.RAF").write_bytes(whole[:4000])
    (raws / "bayer.NEF").write_bytes(b"another camera's")
    assert main() == 1
    ending = capsys.readouterr()
    assert ending.out.startswith(f"{out / 'own.png'}  re-mosaic ")
    assert "other.RAF: it is truncated or damaged" in ending.err
    assert "1 skipped, raw files of cameras without the X-Trans filter: bayer.NEF" in ending.err
    (raws / "sub" / "other.RAF").write_bytes(whole)
    (raws / "bayer.NEF").unlink()
    assert main() == 0
    assert "1 made, 1 kept from an earlier run, 1 skipped" in capsys.readouterr().err
    pictures = {name: np.asarray(Image.open(out / name)) for name in ("own.png", "sub/other.png")}
    assert pictures["own.png"].shape == (SIDE, SIDE, 3)
    assert 0.005 < (pictures["own.png"].max(2) == 255).mean() < 0.05  # about a hundredth is white
    records = [json.loads(line) for line in (out / "hpo-record.jsonl").read_text().splitlines()]
    facts = {record["name"]: record["facts"] for record in records if "facts" in record}
    assert facts["sub/other.RAF"]["camera"] == "X-T2"
    assert facts["sub/other.RAF"]["matrix_source"] == "LibRaw, for the camera"
    assert facts["own.dng"]["camera"] == "synthetic X-Trans"
    assert facts["own.dng"]["black"] == [1024.0] * 3
    with Image.open(out / "own.png") as made:
        assert not made.info.get("exif")
