"""A user's own photographs: how they are read, split, protected and written.

Expected values come from closed forms, from Pillow's own reading of what was written, and from planted folders.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from hpo import Evidence, generator
from objectives.cloak import Cloaking, data, encoders, protect, tier
from objectives.cloak.__main__ import main
from objectives.common import photographs
from objectives.common.colour import as_uint8
from objectives.common.files import read_image
from objectives.common.folder import Made
from tests.objectives.exported import exported
from tests.toy import Toy

SETTINGS = protect.Settings(Cloaking(size=48), steps=4)


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


def _protected(folder, out, settings=SETTINGS) -> list[protect.Protected]:
    results = list(protect.protect(folder, out, settings, device="cpu"))
    assert all(isinstance(result, Made) for result in results)
    return [protect.protected_of(made) for made in results]


# -- writing -------------------------------------------------------------------------------------------------------
def test_what_is_written_is_what_was_judged(tmp_path) -> None:
    """Judge: Pillow reads the file that was written."""
    image = torch.rand(3, 20, 31, generator=generator("image"))
    returned = protect.write_png(image, tmp_path / "x.png")
    pixels = np.asarray(Image.open(tmp_path / "x.png"))
    assert np.array_equal(pixels, as_uint8(image).permute(1, 2, 0).numpy())
    assert torch.equal(as_uint8(returned), as_uint8(image))
    assert list(tmp_path.iterdir()) == [tmp_path / "x.png"]


def test_a_protected_photograph_tells_nothing_but_its_pixels(folder, tmp_path) -> None:
    """Judge: Pillow's own reading of EXIF and text chunks, and the raw bytes."""
    assert Image.open(folder / "coffee.jpg").getexif()[0x010F] == "A camera"
    _protected(folder, tmp_path / "out")
    written = Image.open(tmp_path / "out" / "coffee.png")
    assert len(written.getexif()) == 0
    assert written.info == {}
    assert b"camera" not in (tmp_path / "out" / "coffee.png").read_bytes()


def test_a_photograph_keeps_its_size_its_rotation_and_nearly_its_pixels(folder, tmp_path) -> None:
    """Closed form for the size: the camera's quarter turn makes 120 x 80 into 80 x 120."""
    results = {result.source: result for result in _protected(folder, tmp_path / "out")}
    assert results["coffee.jpg"].pixels == (80, 120)
    assert results["cat.png"].pixels == (90, 60)
    assert results["cat.bmp"].written == "cat.bmp.png"  # beside cat.png
    for result in results.values():
        before, after = read_image(folder / result.source), read_image(tmp_path / "out" / result.written)
        assert 0 < (before - after).abs().mean() < 0.05
        assert result.largest_change == pytest.approx(float((before - after).abs().max() * 255), abs=0.01)


def test_nothing_is_ever_overwritten_and_originals_are_left_alone(folder, tmp_path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match="OUT must be another folder"):
        _protected(folder, folder)
    out = folder.parent / "out"
    out.mkdir()
    (out / "coffee.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"coffee\.png is there already and is not overwritten"):
        _protected(folder, out)
    assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_else_lies_in_the_folder_changes_nothing_about_a_photograph(folder, tmp_path) -> None:
    together = protect.protected_image(folder / "cat.png", SETTINGS, device="cpu")
    lone = tmp_path / "lone"
    lone.mkdir()
    (folder / "cat.png").rename(lone / "renamed.png")
    assert torch.equal(protect.protected_image(lone / "renamed.png", SETTINGS, device="cpu"), together)


def test_a_limit_means_the_same_at_another_working_size(folder, monkeypatch) -> None:
    """Planted: a distance of 2 at 96 pixels and 5 at 48, so the limit becomes 5/2 of what it was. `pged` is measured in
    that very noise and keeps its limit."""
    monkeypatch.setattr(protect, "_noise_distance", lambda task: {96: 2.0, 48: 5.0}[task.size])
    for backend, limit in (("stlpips", 0.125), ("pged", 0.05)):
        settings = protect.Settings(Cloaking(size=96, perceptual=backend), size=48)
        task = protect.working_task(folder / "cat.png", settings)
        assert task.size == 48
        assert task.visible_limit == pytest.approx(limit)


# -- the command ---------------------------------------------------------------------------------------------------
def test_the_command_protects_a_folder_and_reports(folder, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    code = main([str(folder), str(out), "--size", "48", "--steps", "3", "--device", "cpu"])
    assert code == 0
    shown = capsys.readouterr().out
    assert "coffee.jpg" in shown
    assert "says nothing about any other encoder" in shown
    report = json.loads((out / "report.json").read_text())
    assert report["perceptual_backend"] == "pged"
    assert (report["steps"], report["size"]) == (3, 48)
    assert {photograph["written"] for photograph in report["photographs"]} == {
        "coffee.png",
        "cat.png.png",
        "cat.bmp.png",
    }


def test_every_photograph_is_protected_or_named(folder, tmp_path, capsys) -> None:
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
    assert main([str(folder), str(out), "--size", "48", "--steps", "1", "--device", "cpu"]) == 1
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
    assert "7 made, 2 failed, 2 skipped" in shown.err
    assert "are NOT changed" in shown.out


def test_a_stopped_run_goes_on_and_its_report_has_every_photograph(folder, tmp_path, capsys, monkeypatch) -> None:
    out, work = tmp_path / "out", protect.protected_image
    arguments = [str(folder), str(out), "--size", "48", "--steps", "2", "--device", "cpu"]

    def stop_at_the_second(path, settings, *, device):
        if path.name == "cat.png":
            raise KeyboardInterrupt
        return work(path, settings, device=device)

    monkeypatch.setattr(protect, "protected_image", stop_at_the_second)
    assert main(arguments) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert len(json.loads((out / "report.json").read_text())["photographs"]) == 1
    monkeypatch.setattr(protect, "protected_image", work)
    assert main(arguments) == 0
    assert "2 made, 1 kept from an earlier run" in capsys.readouterr().err
    report = json.loads((out / "report.json").read_text())["photographs"]
    assert {photograph["source"] for photograph in report} == {"cat.bmp", "cat.png", "coffee.jpg"}
    assert main([*arguments[:5], "3", *arguments[6:]]) == 2
    assert "steps was 2 and is 3" in capsys.readouterr().err


def test_a_report_of_others_is_not_overwritten(folder, tmp_path, capsys) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("mine")
    assert main([str(folder), str(tmp_path / "out"), "--size", "48", "--steps", "2", "--device", "cpu"]) == 2
    assert "report.json is there already" in capsys.readouterr().err
    assert (tmp_path / "out" / "report.json").read_text() == "mine"


def test_an_empty_folder_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "in").mkdir()
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    assert "the folder is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_encoder_that_was_attacked_is_no_judge(folder, tmp_path, capsys) -> None:
    assert main([str(folder), str(tmp_path / "out"), "--judge", "tinyface"]) == 2
    assert "must be another encoder" in capsys.readouterr().err


def test_a_card_of_another_task_or_none_is_refused(folder, tmp_path, capsys) -> None:
    assert main([str(folder), str(tmp_path / "out"), "--card", str(tmp_path)]) == 2
    assert "no card.json in it" in capsys.readouterr().err
    other = exported(tmp_path / "other", Toy())
    assert main([str(folder), str(tmp_path / "out"), "--card", str(other)]) == 2
    assert "holds a Toy; an exported Cloaking is needed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_card_gives_its_settings_and_its_number_of_steps(tmp_path) -> None:
    """Closed form: 3 epochs of 16 steps for 2 + 2 photographs are 12 steps for each."""
    card = exported(tmp_path / "winner", Cloaking(size=48, val_photos=2, test_photos=2, noise_lr=0.2))
    described = json.loads((card / "card.json").read_text())
    recipe = {"class": "Recipe", **asdict(protect.RECIPE)}
    fidelity = {"epochs": 3, "train": 16}
    (card / "card.json").write_text(json.dumps({**described, "recipe": recipe, "fidelity": fidelity}))
    settings = protect.load_settings(card)
    assert settings.task == Cloaking(size=48, val_photos=2, test_photos=2, noise_lr=0.2)
    assert settings.recipe == protect.RECIPE
    assert settings.steps == 12


# -- the user's folder as a study's data ---------------------------------------------------------------------------
def test_a_folder_is_split_by_content_and_copies_stay_together(folder) -> None:
    (folder / "again.png").write_bytes((folder / "cat.png").read_bytes())
    parts = data.split_folder(str(folder))
    assert len(parts["val"]) + len(parts["test"]) == 3
    before = {part: {path.read_bytes() for path in paths} for part, paths in parts.items()}
    assert not before["val"] & before["test"]
    for part in ("val", "test"):  # a new file moves no other
        Image.new("RGB", (50, 50), (hash(part) % 255, 9, 9)).save(folder / f"new-{part}.png")
    after = {part: {path.read_bytes() for path in paths} for part, paths in data.split_folder(str(folder)).items()}
    assert before["val"] <= after["val"] or before["test"] <= after["test"]


def test_one_photograph_cannot_be_split(folder) -> None:
    for name in ("coffee.jpg", "cat.bmp"):
        (folder / name).unlink()
    with pytest.raises(ValueError, match="at least 2 different photographs"):
        data.split_folder(str(folder))


def test_too_few_photographs_stand_in_turn_and_the_checks_say_so(folder) -> None:
    task = replace(Cloaking(size=48, val_photos=4), data=str(folder))
    fidelity = tier(size=48, val=4, steps=2, epochs=1)
    batches = list(task.batches("val", fidelity, 4, generator("any")))
    assert sum(len(batch.number_B) for batch in batches) == 4
    photographs = [photograph for batch in batches for photograph in batch.photograph_B.tolist()]
    assert len(set(photographs)) == len(data.split_folder(str(folder))["val"]) < 4
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
    monkeypatch.setattr(data, "FACES_SHA256", "0" * 64)
    data._faces.cache_clear()
    with pytest.raises(ValueError, match="must be scikit-image's"):
        data.faces()
    data._faces.cache_clear()
