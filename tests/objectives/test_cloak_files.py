"""A user's own photographs: how they are read, split, protected and written.

Expected values come from closed forms, from Pillow's own reading of what was written, and from planted folders.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hpo import Evidence, generator
from objectives.cloak import Cloaking, data, encoders, own, own_folder, protect, tier
from objectives.cloak.__main__ import main
from objectives.common import photographs
from objectives.common.colour import as_uint8
from objectives.common.files import read_image
from objectives.common.folder import Made
from tests.objectives.exported import exported
from tests.toy import Toy

TINYFACE = Cloaking(size=48, critic="tinyface", judge="tinyface-wide")
SETTINGS = protect.Settings(TINYFACE, steps=4)
FAST = ["--critic", "tinyface", "--size", "48", "--device", "cpu"]


@pytest.fixture(autouse=True)
def small_critics(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path_factory.getbasetemp() / "hpo-cache"))
    monkeypatch.setattr(encoders, "TINY", {"tinyface": 8, "tinyface-wide": 10})
    monkeypatch.setattr(encoders, "STEPS", 100)


@pytest.fixture(autouse=True, scope="module")
def fresh_critics():
    for cached in (encoders._critic, encoders._calibration):
        cached.cache_clear()
    yield
    for cached in (encoders._critic, encoders._calibration):
        cached.cache_clear()


@pytest.fixture
def folder(tmp_path):
    """Three photographs of other sizes and formats; the JPEG carries a camera, a place and a rotation."""
    own = tmp_path / "own"
    own.mkdir()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera", 6  # maker; to be turned by a quarter
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    coffee = Image.fromarray(as_uint8(photographs.srgb("coffee")).permute(1, 2, 0).numpy())
    coffee.resize((120, 80)).save(own / "coffee.jpg", exif=exif, quality=95)
    cat = Image.fromarray(as_uint8(photographs.srgb("chelsea")).permute(1, 2, 0).numpy())
    cat.resize((90, 60)).save(own / "cat.png")
    cat.crop((0, 0, 200, 200)).resize((40, 40)).save(own / "cat.bmp")
    return own


def _changed(folder, out, settings=SETTINGS) -> list[Made]:
    results = list(own_folder.protect(folder, out, settings, device="cpu"))
    assert all(isinstance(result, Made) for result in results)
    return results


def _image(path: Path) -> torch.Tensor:
    photo = read_image(path)
    places = protect.places_in(photo, SETTINGS)
    return protect.changed_photograph(photo, places, SETTINGS, seed=own_folder.seed_of(path), device="cpu")


# -- writing -------------------------------------------------------------------------------------------------------
def test_what_is_written_is_what_was_measured(folder, tmp_path) -> None:
    """Judge: Pillow reads the file that was written."""
    _changed(folder, tmp_path / "out")
    pixels = np.asarray(Image.open(tmp_path / "out" / "coffee.png"))
    assert np.array_equal(pixels, as_uint8(_image(folder / "coffee.jpg")).permute(1, 2, 0).numpy())


def test_a_changed_photograph_tells_nothing_but_its_pixels(folder, tmp_path) -> None:
    """Judge: Pillow's own reading of EXIF and text chunks, and the raw bytes."""
    assert Image.open(folder / "coffee.jpg").getexif()[0x010F] == "A camera"
    _changed(folder, tmp_path / "out")
    written = Image.open(tmp_path / "out" / "coffee.png")
    assert len(written.getexif()) == 0
    assert written.info == {}
    assert b"camera" not in (tmp_path / "out" / "coffee.png").read_bytes()


def test_a_photograph_keeps_its_size_its_rotation_and_nearly_its_pixels(folder, tmp_path) -> None:
    """Closed form for the size: the camera's quarter turn makes 120 x 80 into 80 x 120."""
    results = {result.job.name: result for result in _changed(folder, tmp_path / "out")}
    assert results["coffee.jpg"].facts["pixels"] == [80, 120]
    assert results["cat.png"].facts["pixels"] == [90, 60]
    assert results["cat.bmp"].output.name == "cat.bmp.png"  # beside cat.png
    for name, result in results.items():
        before, after = read_image(folder / name), read_image(result.output)
        assert 0 < (before - after).abs().mean() < 0.05
        assert result.facts["largest_change"] == pytest.approx(float((before - after).abs().max() * 255), abs=0.01)


def test_nothing_is_ever_overwritten_and_originals_are_left_alone(folder, tmp_path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="OUT must be another folder"):
        _changed(folder, folder)
    out = folder.parent / "out"
    out.mkdir()
    (out / "coffee.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"coffee\.png is there already and is not overwritten"):
        _changed(folder, out)
    assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_else_lies_in_the_folder_changes_nothing_about_a_photograph(folder, tmp_path) -> None:
    together = _image(folder / "cat.png")
    lone = tmp_path / "lone"
    lone.mkdir()
    (folder / "cat.png").rename(lone / "renamed.png")
    assert torch.equal(_image(lone / "renamed.png"), together)


# -- the command ---------------------------------------------------------------------------------------------------
def test_the_command_changes_a_folder_and_reports(folder, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main([str(folder), str(out), *FAST, "--steps", "3"]) == 0
    shown = capsys.readouterr().out
    assert "coffee.jpg: visible" in shown
    assert "tinyface-wide was not attacked" in shown
    assert "Another matcher may still match them." in shown
    report = json.loads((out / "report.json").read_text())
    assert (report["settings"]["steps"], report["settings"]["task.size"]) == (3, 48)
    assert {photograph["written"] for photograph in report["photographs"]} == {
        "coffee.png",
        "cat.png.png",
        "cat.bmp.png",
    }


def test_every_photograph_is_changed_or_named(folder, tmp_path, capsys) -> None:
    """Other formats and subfolders, names that are alike, and files that cannot be read."""
    (folder / "sub").mkdir()
    red = Image.new("RGB", (40, 30), (200, 60, 60))
    for name, format_ in {"cat.png.png": "PNG", "b.webp": "WEBP", "c.jfif": "JPEG", "sub/h.jpg": "JPEG"}.items():
        red.save(folder / name, format_)
    (folder / "e.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (folder / "empty.png").write_bytes(b"")
    (folder / "junk.jpg").write_bytes(b"\x89PNG\r\n\x1a\n junk")
    (folder / "._cat.png").write_bytes(bytes(4096))
    out = tmp_path / "out"
    assert main([str(folder), str(out), *FAST, "--steps", "1"]) == 1
    shown = capsys.readouterr()
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.png")) == [
        "b.png",
        "c.png",
        "cat.bmp.png",
        "cat.png.png",
        "cat.png.png.png",
        "coffee.png",
        "sub/h.png",
    ]
    for line in ("1 skipped, HEIC is not read", "1 skipped, AppleDouble", "failed, empty.png: ", "failed, junk.jpg: "):
        assert line in shown.err
    assert "are NOT changed" in shown.out


def test_a_stopped_run_goes_on_and_its_report_has_every_photograph(folder, tmp_path, capsys, monkeypatch) -> None:
    out, work = tmp_path / "out", own_folder.changed_photograph
    arguments = [str(folder), str(out), *FAST, "--steps"]
    calls = []

    def stop_at_the_second(*args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return work(*args, **options)

    monkeypatch.setattr(own_folder, "changed_photograph", stop_at_the_second)
    assert main([*arguments, "2"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert len(json.loads((out / "report.json").read_text())["photographs"]) == 1
    monkeypatch.setattr(own_folder, "changed_photograph", work)
    assert main([*arguments, "2"]) == 0
    assert "2 made, 1 kept from an earlier run" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())["photographs"]
    assert {photograph["source"] for photograph in report} == {"cat.bmp", "cat.png", "coffee.jpg"}
    assert main([*arguments, "3"]) == 2
    assert "steps was 2 and is 3" in capsys.readouterr().err


def test_a_report_of_others_is_not_overwritten(folder, tmp_path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("mine")
    assert main([str(folder), str(tmp_path / "out"), *FAST, "--steps", "2"]) == 2
    assert "report.json is there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.json").read_text() == "mine"


def test_an_empty_folder_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "in").mkdir()
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    assert "the folder is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_encoder_that_was_attacked_is_no_judge(folder, tmp_path, capsys) -> None:
    assert main([str(folder), str(tmp_path / "out"), "--critic", "tinyface", "--judge", "tinyface"]) == 2
    assert "must be another encoder" in capsys.readouterr().err


def test_a_card_of_another_task_or_none_is_refused(folder, tmp_path, capsys) -> None:
    assert main([str(folder), str(tmp_path / "out"), "--card", str(tmp_path)]) == 2
    assert "no card.json in it" in capsys.readouterr().err
    other = exported(tmp_path / "other", Toy())
    assert main([str(folder), str(tmp_path / "out"), "--card", str(other)]) == 2
    assert "holds a Toy; an exported Cloaking is needed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_card_of_an_earlier_version_is_refused_in_a_sentence(folder, tmp_path, capsys) -> None:
    """Planted: the setting that cosines had."""
    card = exported(tmp_path / "winner", TINYFACE)
    described = json.loads((card / "card.json").read_text())
    described["fields"]["margin"] = 0.0
    (card / "card.json").write_text(json.dumps(described))
    assert main([str(folder), str(tmp_path / "out"), "--card", str(card)]) == 2
    assert "whose scores were cosines (margin is no setting any more)" in capsys.readouterr().err


def test_a_card_gives_its_settings_and_its_number_of_steps(tmp_path) -> None:
    """Closed form: 3 epochs of 16 steps for 2 + 2 photographs are 12 steps for each."""
    task = replace(TINYFACE, val_photos=2, test_photos=2, noise_lr=0.2)
    card = exported(tmp_path / "winner", task)
    described = json.loads((card / "card.json").read_text())
    recipe = {"class": "Recipe", **asdict(protect.RECIPE)}
    fidelity = {"epochs": 3, "train": 16}
    (card / "card.json").write_text(json.dumps({**described, "recipe": recipe, "fidelity": fidelity}))
    settings = protect.load_settings(card)
    assert settings.task == task
    assert settings.recipe == protect.RECIPE
    assert settings.steps == 12


# -- the user's folder as a study's data ---------------------------------------------------------------------------
def _parts(folder) -> dict[str, set[str]]:
    """Content hashes by part."""
    split = own.split_folder(str(folder))
    return {part: {photo.sha256 for photo in getattr(split, part)} for part in ("val", "test")}


def test_a_folder_is_split_by_content_and_copies_stay_together(folder) -> None:
    (folder / "again.png").write_bytes((folder / "cat.png").read_bytes())
    before = _parts(folder)
    assert len(before["val"]) + len(before["test"]) == 3
    assert not before["val"] & before["test"]
    for part in ("val", "test"):  # a new file moves no other
        Image.new("RGB", (50, 50), (hash(part) % 255, 9, 9)).save(folder / f"new-{part}.png")
    after = _parts(folder)
    assert before["val"] <= after["val"] or before["test"] <= after["test"]


def test_one_photograph_cannot_be_split(folder) -> None:
    for name in ("coffee.jpg", "cat.bmp"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match="at least 2 different photographs"):
        own.split_folder(str(folder))


def test_too_few_photographs_stand_in_turn_and_the_checks_say_so(folder) -> None:
    task = replace(TINYFACE, val_photos=4, data=str(folder))
    fidelity = tier(size=48, val=4, steps=2, epochs=1)
    batches = list(task.batches("val", fidelity, 4, generator("any")))
    assert sum(len(batch.number_B) for batch in batches) == 4
    photographs = [photograph for batch in batches for photograph in batch.person_B.tolist()]
    assert len(set(photographs)) == len(own.split_folder(str(folder)).val) < 4
    assert not task.origins("val", fidelity) & task.origins("test", fidelity)
    checks = {check.name: check for check in task.checks(Evidence("preflight"))}
    assert checks["enough of the user's own photographs"].status == "caution"


def test_more_photographs_than_ship_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 20 photographs ship for val; asked for 21"):
        data.load_shipped("val", 48, 21)
    with pytest.raises(ValueError, match="size must be at least 32"):
        data.load_shipped("val", 16, 2)


def test_the_faces_are_the_file_that_is_pinned(monkeypatch) -> None:
    """Judge: numpy reads the same file; another hash is refused."""
    assert data.faces().shape == (100, 1, 25, 25)
    assert data.faces().min() >= 0
    assert data.faces().max() <= 1
    monkeypatch.setattr(data, "FACES_FILE", replace(data.FACES_FILE, sha256="0" * 64))
    data._faces.cache_clear()
    with pytest.raises(ValueError, match=r"the faces of scikit-image: .*lfw_subset\.npy must have sha256"):
        data.faces()
    data._faces.cache_clear()
