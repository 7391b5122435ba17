"""Work on a folder: every file is accounted for, no output is lost or overwritten, and a stopped run goes on.

Expected values are planted: small files whose outputs are their own bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from objectives.common import command, folder, walk
from objectives.common.folder import Failed, Job, Made, Plan, Result
from objectives.common.record import RECORD
from objectives.common.walk import Skipped


def _why_not(path: Path) -> Skipped | None:
    if path.suffix == ".heic":
        return Skipped(path, "HEIC is not read")
    if path.suffix == ".txt":
        return Skipped(path, "no picture", expected=True)
    return None


def _fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def _copy(job: Job, part: Path) -> dict[str, int]:
    content = job.inputs[0].read_text()
    if content == "bad":
        raise ValueError("it is bad")
    part.write_text(content)
    return {"length": len(content)}


def _run(root: Path, out: Path, make=_copy, **settings: object) -> list[Result]:
    return list(folder.carry_out(folder.plan_folder(root, out, _why_not), settings, make))


def _outputs(out: Path) -> dict[str, str]:
    paths = (path for path in out.rglob("*") if path.is_file() and path.name != RECORD)
    return {str(path.relative_to(out)): path.read_text() for path in paths}


# -- which files ---------------------------------------------------------------------------------------------------
def test_every_file_is_read_or_is_skipped_with_a_reason(tmp_path: Path) -> None:
    root = _fill(
        tmp_path / "in", "a.jpg", "b.heic", "sub/c.jpg", "sub/deep/d.jpg", "._a.jpg", ".DS_Store", ".git/x.jpg", "n.txt"
    )
    (root / "broken.jpg").symlink_to("nowhere.jpg")
    (root / "linked").symlink_to(root / "sub")
    os.mkfifo(root / "pipe.jpg")
    paths, skipped = walk.list_files(root, _why_not)
    assert [str(path.relative_to(root)) for path in paths] == ["a.jpg", "sub/c.jpg", "sub/deep/d.jpg"]
    reasons = {file.path.name: file.reason.split(",")[0] for file in skipped}
    assert reasons == {
        "b.heic": "HEIC is not read",
        "._a.jpg": "AppleDouble files",
        ".DS_Store": "hidden files",
        ".git": "hidden folders",
        "n.txt": "no picture",
        "broken.jpg": "broken links",
        "pipe.jpg": "broken links",
        "linked": "links to folders are not followed",
    }
    assert {file.path.name for file in skipped if not file.expected} == {"b.heic", "broken.jpg", "pipe.jpg", "linked"}


def test_files_of_one_kind_are_counted_together(tmp_path: Path) -> None:
    skipped = [Skipped(Path(f"{index}.heic"), "HEIC is not read") for index in range(12)]
    assert folder.summary_of_skipped([*skipped, Skipped(Path("n.txt"), "no picture")]) == [
        "12 skipped, HEIC is not read: 0.heic, 1.heic, 2.heic, 3.heic, 4.heic and 7 more",
        "1 skipped, no picture: n.txt",
    ]


def test_outputs_inside_the_folder_are_no_inputs(tmp_path: Path) -> None:
    """OUT may lie inside the folder, and so may the outputs of an earlier command."""
    root = _fill(tmp_path / "in", "a.jpg")
    for _ in range(2):
        assert [result.job.name for result in _run(root, root / "out") if isinstance(result, Made)] == ["a.jpg"]
    results = _run(root, root / "second")
    assert [type(result).__name__ for result in results] == ["Skipped", "Made"]
    assert "outputs of an earlier command" in results[0].reason


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "the folder is empty"), (("b.heic", "n.txt"), "1 skipped, HEIC is not read: b.heic; 1 skipped, no picture")],
)
def test_a_folder_with_nothing_to_read_says_what_is_in_it(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    root = _fill(tmp_path, *names)
    with pytest.raises(ValueError, match=f"holds no file that can be read: {message}"):
        folder.plan_folder(root, tmp_path / "out", _why_not)


def test_the_folder_itself_and_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="OUT must be another folder"):
        folder.plan_folder(tmp_path, tmp_path / "x" / "..", _why_not)
    with pytest.raises(ValueError, match="must be a folder"):
        folder.plan_folder(tmp_path / "none", tmp_path, _why_not)


# -- where outputs go ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "outputs",
    [
        {"photo.jpg": "photo.png", "other.png": "other.png"},
        {"photo.jpg": "photo.jpg.png", "photo.png": "photo.png.png", "photo.jpg.png": "photo.jpg.png.png"},
        {"photo.jpg": "photo.png", "photo.png.jpg": "photo.png.png"},
        {"a/photo.jpg": "a/photo.png", "b/photo.jpg": "b/photo.png", "photo.jpg": "photo.png"},
        {"photo.jpg": "photo.jpg.png", "PHOTO.png": "PHOTO.png.png"},  # equal on other file systems
        {"photo": "photo.png", "x.y.jpg": "x.y.png"},
        {"photo": "photo.png", "photo.jpg": "photo.jpg.png"},
    ],
)
def test_every_input_has_an_output_of_its_own(outputs: dict[str, str]) -> None:
    root, out = Path("in"), Path("out")
    named = folder.name_outputs([root / name for name in outputs], root, out)
    assert {str(source.relative_to(root)): str(to.relative_to(out)) for source, to in named.items()} == outputs
    assert len({str(to).casefold() for to in named.values()}) == len(named)


# -- going on ------------------------------------------------------------------------------------------------------
def test_a_bad_file_fails_alone_and_is_tried_again(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg"), tmp_path / "out"
    (root / "b.jpg").write_text("bad")
    made, failed, last = _run(root, out)
    assert isinstance(failed, Failed)
    assert (failed.job.name, failed.reason) == ("b.jpg", "it is bad")
    assert isinstance(made, Made)
    assert isinstance(last, Made)
    (root / "b.jpg").write_text("good")
    assert [result.kept for result in _run(root, out)] == [True, False, True]
    assert _outputs(out) == {"a.png": "a.jpg", "b.png": "good", "c.png": "c.jpg"}


@pytest.mark.parametrize("at", ["begin", "written", "recorded", "renamed"])
def test_a_run_that_was_stopped_anywhere_goes_on_with_the_same_command(tmp_path: Path, monkeypatch, at: str) -> None:
    """The second of three files is cut short. All outputs are then as those of an undisturbed run."""
    root, out = _fill(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg"), tmp_path / "out"

    def cut_short(job: Job, part: Path) -> dict[str, int]:
        facts = _copy(job, part)
        if job.name == "b.jpg" and at in ("begin", "written"):
            part.write_text("" if at == "begin" else "half")
            raise KeyboardInterrupt
        return facts

    rename = Path.rename

    def stopping_rename(path: Path, target: Path) -> None:
        if target.name == "b.png" and at == "recorded":
            raise KeyboardInterrupt
        rename(path, target)
        if target.name == "b.png":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", stopping_rename)
    with pytest.raises(KeyboardInterrupt):
        _run(root, out, cut_short)
    monkeypatch.setattr(Path, "rename", rename)
    assert "half" not in _outputs(out).values()
    results = _run(root, out)
    assert [result.kept for result in results] == [True, at == "renamed", False]
    assert [result.facts for result in results] == [{"length": 5}] * 3
    assert _outputs(out) == {"a.png": "a.jpg", "b.png": "b.jpg", "c.png": "c.jpg"}


def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg", "b.jpg"), tmp_path / "out"
    _run(root, out)
    whole = (out / RECORD).read_bytes()
    (out / RECORD).write_bytes(whole[:-9])
    (out / "b.png").unlink()
    assert [result.kept for result in _run(root, out)] == [True, False]
    assert (out / RECORD).read_bytes() == whole


def test_a_file_that_was_added_later_changes_no_earlier_output(tmp_path: Path) -> None:
    """photo.jpg became photo.png when it was alone, and stays that."""
    root, out = _fill(tmp_path / "in", "photo.jpg"), tmp_path / "out"
    _run(root, out)
    _fill(root, "photo.png")
    assert [(result.output.name, result.kept) for result in _run(root, out)] == [
        ("photo.png", True),
        ("photo.png.png", False),
    ]
    assert _outputs(out) == {"photo.png": "photo.jpg", "photo.png.png": "photo.png"}


# -- nothing is overwritten ------------------------------------------------------------------------------------------
def test_a_file_that_is_not_ours_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg", "b.jpg"), _fill(tmp_path / "out", "b.png")
    with pytest.raises(ValueError, match=r"b\.png is there already and is not overwritten"):
        _run(root, out)
    assert _outputs(out) == {"b.png": "b.png"}


def test_a_file_that_took_the_place_of_a_recorded_output_is_refused(tmp_path: Path) -> None:
    """photo.jpg became photo.png; that was removed, and photo.jpg.png, its next name, is somebody's own."""
    root, out = _fill(tmp_path / "in", "photo.jpg"), tmp_path / "out"
    _run(root, out)
    (out / "photo.png").unlink()
    _fill(root, "photo.png")
    _fill(out, "photo.jpg.png")
    with pytest.raises(ValueError, match="is there already"):
        _run(root, out)
    assert _outputs(out) == {"photo.jpg.png": "photo.jpg.png"}


def test_a_file_that_appears_during_the_run_is_not_overwritten(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg"), tmp_path / "out"

    def make(job: Job, part: Path) -> None:
        part.write_text("ours")
        job.output.write_text("theirs")

    (failed,) = _run(root, out, make)
    assert "has appeared meanwhile" in failed.reason
    assert _outputs(out) == {"a.png": "theirs"}


def test_a_changed_input_and_other_settings_overwrite_nothing(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg"), tmp_path / "out"
    _run(root, out, steps=60)
    with pytest.raises(ValueError, match=r"other settings \(steps was 60 and is 61\)"):
        _run(root, out, steps=61)
    (root / "a.jpg").write_text("changed")
    (failed,) = _run(root, out, steps=60)
    assert "it has changed since" in failed.reason
    assert _outputs(out) == {"a.png": "a.jpg"}


def test_two_commands_do_not_write_to_one_folder(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg", "b.jpg"), tmp_path / "out"
    running = folder.carry_out(folder.plan_folder(root, out, _why_not), {}, _copy)
    next(running)
    with pytest.raises(ValueError, match="another command is writing"):
        _run(root, out)
    assert isinstance(next(running), Made)


def test_a_command_that_began_at_the_same_time_adds_to_the_record_of_the_other(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg", "b.jpg"), tmp_path / "out"
    plan = folder.plan_folder(root, out, _why_not)

    def other_first(job: Job, part: Path) -> dict[str, int]:
        if job.name == "b.jpg":
            list(folder.carry_out(Plan(out, plan.jobs[:1]), {}, _copy))
        return _copy(job, part)

    list(folder.carry_out(Plan(out, plan.jobs[1:]), {}, other_first))
    assert [result.kept for result in _run(root, out)] == [True, True]


def test_a_full_disk_ends_the_run_and_another_error_of_the_system_does_not(tmp_path: Path) -> None:
    root = _fill(tmp_path / "in", "a.jpg")

    def failing(number: int):
        def make(job: Job, part: Path) -> None:
            raise OSError(number, os.strerror(number))

        return make

    assert isinstance(_run(root, tmp_path / "out", failing(5))[0], Failed)
    with pytest.raises(OSError, match="No space left"):
        _run(root, tmp_path / "out", failing(28))


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg"), tmp_path / "out"
    _run(root, out)
    (out / RECORD).write_text("{}\n")
    with pytest.raises(ValueError, match="is damaged"):
        _run(root, out)


def test_a_folder_that_was_moved_goes_on(tmp_path: Path) -> None:
    root = _fill(tmp_path / "in", "sub/a.jpg")
    _run(root, tmp_path / "out")
    shutil.move(tmp_path / "in", tmp_path / "in2")
    shutil.move(tmp_path / "out", tmp_path / "out2")
    assert [result.kept for result in _run(tmp_path / "in2", tmp_path / "out2")] == [True]


# -- the command -----------------------------------------------------------------------------------------------------
def test_a_command_names_what_failed_and_what_was_skipped_at_the_end(tmp_path: Path, capsys) -> None:
    root, out = _fill(tmp_path / "in", "a.jpg", "b.jpg", "c.heic", "n.txt"), tmp_path / "out"
    (root / "b.jpg").write_text("bad")
    ending = command.follow(iter(_run(root, out)), lambda made: made.job.name)
    shown = capsys.readouterr()
    assert ending.exit_code == 1
    assert shown.out == "a.jpg\n"
    assert shown.err.splitlines() == [
        "1 skipped, HEIC is not read: c.heic",
        "1 skipped, no picture: n.txt",
        "failed, b.jpg: it is bad",
        "1 made, 1 failed, 2 skipped",
    ]


@pytest.mark.parametrize(("name", "code"), [("n.txt", 0), (".DS_Store", 0), ("c.heic", 1)])
def test_only_what_would_be_missed_makes_the_exit_code_non_zero(tmp_path: Path, name: str, code: int) -> None:
    root = _fill(tmp_path / "in", "a.jpg", name)
    assert command.follow(iter(_run(root, tmp_path / "out")), lambda made: "").exit_code == code


def test_ctrl_c_leaves_no_traceback(tmp_path: Path, capsys) -> None:
    def stopped() -> Iterator[Result]:
        yield Made(Job("a.jpg", (), tmp_path / "a.png"), tmp_path / "a.png", {}, kept=False)
        raise KeyboardInterrupt

    assert command.follow(stopped(), lambda made: made.job.name).exit_code == 130
    assert "the same command goes on" in capsys.readouterr().err


def test_names_that_are_no_utf8_are_printed_and_recorded(tmp_path: Path, capsys) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    root.mkdir()
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.jpg")).write_text("x")
    for kept in (False, True):
        results = _run(root, out)
        assert [result.kept for result in results] == [kept]
    command.follow(iter(results), lambda made: made.job.name)
    assert capsys.readouterr().out == "caf\\udce9.jpg\n"
    assert json.loads((out / RECORD).read_text().splitlines()[1])["output"] == "caf\udce9.png"


def test_a_plan_of_ones_own_may_have_several_inputs_for_each_output(tmp_path: Path) -> None:
    """The record notices a change in any of them."""
    root, out = _fill(tmp_path / "in", "warp.exr", "hole.exr"), tmp_path / "out"
    job = Job("frame 1", (root / "warp.exr", root / "hole.exr"), out / "filled.exr")
    for kept in (False, True):
        (made,) = folder.carry_out(Plan(out, (job,)), {}, _copy)
        assert made.kept == kept
    (root / "hole.exr").write_text("changed")
    (failed,) = folder.carry_out(Plan(out, (job,)), {}, _copy)
    assert "has changed" in failed.reason
