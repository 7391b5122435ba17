"""A user's folder of pairs: which files are partners, which show one scene, and what is said about all others.

Expected values are planted: small files of noise or of one photograph's crops.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from objectives.common import photographs
from objectives.common.colour import as_uint8
from objectives.lowlight import pairs as pairs_module
from objectives.lowlight.matching import match
from objectives.lowlight.pairs import Pairs, scene_numbers, split_pairs


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path_factory.getbasetemp() / "hpo-cache"))


def _noise(seed: int, size: tuple[int, int] = (40, 48)) -> np.ndarray:
    """Blocks of noise, which are as different from each other as photographs are."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(blocks).resize(size[::-1], Image.Resampling.NEAREST))


def _save(path: Path, pixels_HW3: np.ndarray, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_HW3).save(path, **options)


def _plant(root: Path, names: list[str], *, seed: int = 0, sides: tuple[str, str] = ("low", "high")) -> None:
    for index, name in enumerate(names):
        high = _noise(100 * seed + index)
        _save(root / sides[0] / name, high // 4)
        _save(root / sides[1] / name, high)


def _splits_of(pairs: Pairs) -> dict[str, str]:
    return {pair.high.stem: split for split in ("train", "val", "test") for pair in pairs.of(split)}


# -- partners --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (["night3.png", "3.png"], ["3.png"], {"3.png": "3.png"}),  # both had this partner
        (["night3.png", "3.png"], ["3.png", "day3.png"], {"3.png": "3.png"}),  # 3 is the number of two
        (["a.png", "a_low.png"], ["a.png"], {"a.png": "a.png"}),
        (["a_low.png", "a_dark.png"], ["a.png"], {}),
        (["3.png", "3.jpg"], ["3.png"], {"3.png": "3.png"}),
        (["3.png", "3.jpg"], ["3.tif"], {}),
        (["IMG_1.JPG"], ["img_1.png"], {"IMG_1.JPG": "img_1.png"}),
        (["a.png", "A.png"], ["a.png", "A.png"], {"a.png": "a.png", "A.png": "A.png"}),
        (["s1/1.png", "s2/1.png"], ["s1/1.png", "s2/1.png"], {"s1/1.png": "s1/1.png", "s2/1.png": "s2/1.png"}),
        (["s1/low_1.png"], ["s2/normal_1.png"], {}),
        (["low7.png"], ["normal007.png"], {"low7.png": "normal007.png"}),
    ],
)
def test_no_file_has_two_partners_and_the_closest_name_wins(low, high, expected: dict[str, str]) -> None:
    matched, unmatched = match(map(Path, low), map(Path, high), "flexible")
    assert {str(first): str(second) for first, second in matched} == expected
    assert len(unmatched) == len(low) + len(high) - 2 * len(matched)


def test_a_case_of_the_suffix_is_no_other_name_when_names_must_be_equal() -> None:
    matched, _ = match([Path("a.JPG"), Path("b.png")], [Path("a.jpg"), Path("b_gt.png")], "strict")
    assert matched == [(Path("a.JPG"), Path("a.jpg"))]


@pytest.mark.parametrize(
    ("second", "names"),
    [
        (("Low", "High"), "Low, low, High, high"),
        (("input", "high"), "input, low, high"),
        (("our485/low", "our485/high"), "our485/low, our485/high, low, high"),
    ],
)
def test_two_folders_that_could_be_meant_are_refused_by_name(tmp_path: Path, second, names: str) -> None:
    """6 of 10 pairs were dropped, and every file had its partner."""
    _plant(tmp_path, [f"{n}.png" for n in range(6)])
    _plant(tmp_path, [f"{n}.png" for n in range(6, 10)], sides=second)
    with pytest.raises(ValueError, match=f"several folders could be those of train: {names}"):
        split_pairs(tmp_path, "flexible")


def test_train_beside_our485_is_refused(tmp_path: Path) -> None:
    for parent in ("train", "our485"):
        _plant(tmp_path / parent, [f"{n}.png" for n in range(4)])
    with pytest.raises(ValueError, match="our485/low, our485/high, train/low, train/high"):
        split_pairs(tmp_path, "flexible")


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    """Folders beside the pairs, files of other formats, hidden ones, and subfolders."""
    _plant(tmp_path, [f"{n}.png" for n in range(4)])
    _plant(tmp_path / "extra", ["x.png"])
    _plant(tmp_path, ["night/7.png"], seed=1)
    (tmp_path / "low" / "5.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "low" / "._1.png").write_bytes(bytes(4096))
    (tmp_path / "low" / "Thumbs.db").write_bytes(b"x")
    pairs = split_pairs(tmp_path, "strict")
    assert len(pairs.train) + len(pairs.val) + len(pairs.test) == 5
    assert pairs.is_doubtful
    assert "every file has its partner; not read: the folder extra; " in str(pairs)
    assert re.search(r"low: 1 skipped, HEIC is not read.*: 5\.heic$", str(pairs))


# -- every file is looked at -------------------------------------------------------------------------------------------
def test_every_file_of_every_split_is_decoded_and_all_bad_ones_are_named(tmp_path: Path) -> None:
    """LOL-v2's layout; a test file is cut off, one is no picture, and one pair has two sizes."""
    _plant(tmp_path / "Train", [f"{n}.png" for n in range(6)], sides=("Low", "Normal"))
    _plant(tmp_path / "Test", ["a.png", "b.png", "c.png"], sides=("Low", "Normal"), seed=1)
    for name in ("a.png", "c.png"):
        _save(tmp_path / "Test/Low" / name, np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))
    cut = tmp_path / "Test/Low/a.png"
    cut.write_bytes(cut.read_bytes()[:900])
    (tmp_path / "Test/Normal/b.png").write_bytes(b"text")
    _save(tmp_path / "Train/Low/2.png", _noise(2, (40, 50)))
    with pytest.raises(ValueError, match="3 of 9 pairs cannot be used") as error:
        split_pairs(tmp_path, "flexible")
    for line in ("Test/Low/a.png", "Test/Normal/b.png: its content is of no format", "2.png must have the same size"):
        assert line in str(error.value)


def test_the_cameras_rotation_is_in_the_file_or_in_its_exif(tmp_path: Path) -> None:
    """A pair whose bright file was turned by hand fits; one whose dark file lost its EXIF does not."""
    exif = Image.Exif()
    exif[0x0112] = 6
    _plant(tmp_path, [f"{n}.png" for n in range(4)])
    sideways = _noise(50)
    _save(tmp_path / "low/x.png", sideways // 4, exif=exif)
    _save(tmp_path / "high/x.png", np.rot90(sideways, -1))
    assert len(_splits_of(split_pairs(tmp_path, "strict"))) == 5
    other = tmp_path / "other"
    _plant(other, [f"{n}.png" for n in range(4)])
    _save(other / "low/x.png", sideways // 4)
    _save(other / "high/x.png", sideways, exif=exif)
    with pytest.raises(ValueError, match=r"must have the same size; got \(40, 48\) and \(48, 40\)"):
        split_pairs(other, "strict")


# -- one scene, one split ----------------------------------------------------------------------------------------------
def _scene(index: int) -> np.ndarray:
    """One of many different crops of the photographs that ship, 96 pixels a side."""
    names = ("coffee", "chelsea", "astronaut", "rocket", "china", "flower")
    photograph = photographs.srgb(names[index % len(names)])
    start = 100 * (index // len(names))
    return as_uint8(photograph[:, start : start + 96, 100:196]).permute(1, 2, 0).numpy()


def test_reencoded_takes_of_a_scene_stay_in_one_split(tmp_path: Path) -> None:
    """Planted: three takes of twelve scenes under numbers that say nothing, as in LOL-v2: a level up or down, as JPEG,
    and a third of a stop brighter at another size. Splits hold whole scenes, and scenes are told apart."""
    rng = np.random.default_rng(0)
    takes_of_scene: dict[int, list[str]] = {}
    numbers = iter(rng.permutation(900) + 100)
    for scene in range(12):
        high = _scene(scene)
        noisy = np.clip(high.astype(int) + rng.integers(-1, 2, high.shape), 0, 255).astype(np.uint8)
        brighter = Image.fromarray(np.clip(high * 1.1, 0, 255).astype(np.uint8)).resize((80, 80))
        for take, picture in enumerate((high, noisy, np.asarray(brighter))):
            name, suffix = f"low{next(numbers):05d}", ".jpg" if take == 1 else ".png"
            takes_of_scene.setdefault(scene, []).append(name)
            _save(tmp_path / "Train/Low" / (name + suffix), picture // 4)
            _save(tmp_path / "Train/Normal" / (name.replace("low", "normal") + suffix), picture)
    pairs = split_pairs(tmp_path, "flexible")
    where = {pair.low.stem: (split, pair.scene) for split in ("train", "val", "test") for pair in pairs.of(split)}
    places = [{where[name] for name in names} for names in takes_of_scene.values()]
    assert [len(place) for place in places] == [1] * 12
    assert len(set.union(*places)) == 12
    assert len(set(scene_numbers(pairs.train))) == len({pair.scene for pair in pairs.train}) == 8


def test_takes_in_two_splits_of_the_users_own_are_reported(tmp_path: Path) -> None:
    _plant(tmp_path / "our485", [f"{n}.png" for n in range(5)])
    _plant(tmp_path / "eval15", ["1.png", "2.png"], seed=1)  # numbers that start anew are other scenes
    pairs = split_pairs(tmp_path, "strict")
    assert not pairs.notes
    high = np.clip(_noise(3).astype(int) + 1, 0, 255).astype(np.uint8)
    for side, pixels in (("low", high // 4), ("high", high)):
        _save(tmp_path / "eval15" / side / "9.png", pixels)
    pairs_module._split_pairs.cache_clear()
    pairs = split_pairs(tmp_path, "strict")
    assert len(pairs.notes) == 1
    assert pairs.notes[0].startswith("1 scenes look alike in two splits: ")
    assert "val 9.png" in pairs.notes[0]


def test_flat_pictures_are_not_taken_for_one_scene(tmp_path: Path) -> None:
    """Skies and walls of another colour: their thumbnails correlate, and are nothing alike."""
    for index in range(4):
        _save(tmp_path / "high" / f"{index}.png", np.full((40, 40, 3), (60 * index, 40, 200 - 50 * index), np.uint8))
        _save(tmp_path / "low" / f"{index}.png", np.full((40, 40, 3), 10 * index, np.uint8))
    pairs = split_pairs(tmp_path, "strict")
    assert len({pair.scene for split in ("train", "val", "test") for pair in pairs.of(split)}) == 4
    assert scene_numbers(pairs.train) == list(range(len(pairs.train)))
