"""HDR's frames: composed scenes, cameras, a path tracer's scenes, foreground, and which light is in which split."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from hpo import Fidelity
from objectives.common import panoramas, photographs
from objectives.hdr import HDR, rendered, scenes, splits
from objectives.hdr.cameras import Camera
from objectives.hdr.frames import read_sequence
from objectives.hdr.render import main
from objectives.hdr.warp import MIDDLE_LIGHT, MOTION_UNIT, Frame, foreground, warped_frame

STILL = scenes.Motion(1.0, 0.0, (0.0, 0.0))
SIDE = 64
FIDELITY = Fidelity(size=32, train=4, val=4, epochs=1)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _scene(background: scenes.Motion, foreground: scenes.Motion, side: int = SIDE) -> scenes.Scene:
    """A square of 16 pixels in the middle, ten times as near as the background."""
    everywhere = torch.ones(side, side, dtype=torch.bool)
    square = torch.zeros(side, side, dtype=torch.bool)
    square[24:40, 24:40] = True
    light = torch.rand(2, 3, side, side, generator=_rng()) + 0.1
    return [scenes.Layer(light[0], everywhere, 0.1, background), scenes.Layer(light[1], square, 1.0, foreground)]


# -- composed frames -------------------------------------------------------------------------------------------------
def test_a_scene_that_does_not_move_has_no_holes_and_no_motion() -> None:
    scene = _scene(STILL, STILL)
    frame = scenes.rendered(scene, _rng())
    assert not frame.hole_1SS.any()
    assert frame.motion_2SS.abs().max() < 1e-6
    window = slice(scenes.MARGIN, -scenes.MARGIN)
    truth = torch.where(scene[1].outline_CC, scene[1].light_3CC, scene[0].light_3CC)[:, window, window]
    gain = frame.target_3SS / truth
    assert torch.allclose(gain, gain[0, 0, 0], rtol=1e-4)
    assert ((frame.warped_3SS / frame.target_3SS - 1).abs() <= scenes.SAMPLING_NOISE + 1e-5).all()


def test_a_picture_that_grows_to_twice_its_size_lands_on_a_quarter_of_its_pixels() -> None:
    frame = scenes.rendered(_scene(STILL._replace(zoom=2.0), STILL._replace(zoom=2.0), 96), _rng())
    assert float(frame.hole_1SS.float().mean()) == pytest.approx(0.75, abs=0.02)


def test_a_foreground_that_moves_uncovers_a_strip_behind_it() -> None:
    """Planted: 16 pixels high, shifted by 5: a hole of 16 x 5, and motion of 5 pixels against the background's 0."""
    frame = scenes.rendered(_scene(STILL, STILL._replace(shift=(5.0, 0.0))), _rng())
    assert int(frame.hole_1SS.sum()) == 16 * 5
    assert int(frame.occluder_1SS.sum()) == 16 * 16
    across = frame.motion_2SS[0] * MOTION_UNIT
    front, seen = frame.occluder_1SS[0], ~frame.hole_1SS[0]
    assert torch.allclose(across[front] - across[seen & ~front][0], torch.tensor(5.0), atol=1e-4)
    assert across[seen].mean().abs() < 1e-4
    assert (frame.motion_2SS[:, ~seen] == 0).all()


def test_what_a_nearer_layer_covers_in_the_first_frame_is_thrown_nowhere() -> None:
    """Planted: the middle layer lies under the nearest one, which moves away: where it was, the middle is a hole."""
    back, near = _scene(STILL, STILL._replace(shift=(16.0, 0.0)))
    middle = near._replace(nearness=0.5, motion=STILL)
    frame = scenes.rendered([back, middle, near], _rng())
    start = 24 - scenes.MARGIN
    assert frame.hole_1SS[0, start : start + 16, start : start + 16].all()
    assert int(frame.hole_1SS.sum()) == 16 * 16


def test_expansion_leaves_the_dark_alone_and_multiplies_white_by_the_peak() -> None:
    light = torch.tensor([0.2, 0.6, 1.0]).expand(3, 1, 3)
    assert torch.allclose(scenes.expanded(light, 50.0)[0, 0], torch.tensor([0.2, 0.6, 50.0]))


def test_composed_frames_are_what_they_are_said_to_be() -> None:
    """Real light of three decades and more, holes of 2 to 35 %, and nothing in holes; the same at every call."""
    names = ("rooitou_park", "lebombo")
    arrays = scenes.make(names, "val", 48, 12)
    made = {name: torch.from_numpy(array) for name, array in arrays.items()}
    share = made["hole_1SS"].float().mean((1, 2, 3))
    assert share.min() > 0.02
    assert share.max() < 0.35
    assert (made["warped_3SS"][made["hole_1SS"].expand(-1, 3, -1, -1)] == 0).all()
    assert all(torch.isfinite(field.float()).all() for field in made.values())
    light = made["target_3SS"].flatten(1)
    assert float((light.amax(1) / light.amin(1)).log10().max()) > 3
    assert float(light.max()) > 30 * MIDDLE_LIGHT  # a window, the sky
    assert made["source"].tolist() == [0, 1] * 6
    again = scenes.make(names, "val", 48, 12)
    assert all(np.array_equal(arrays[name], again[name]) for name in arrays)


# -- what all frames share -------------------------------------------------------------------------------------------
def test_foreground_is_what_is_much_nearer_than_its_surroundings() -> None:
    """Planted: a near square on a far wall; a slope, whose nearness is linear in x, has none; nor has a gentle step."""
    seen = torch.ones(48, 48, dtype=torch.bool)
    square = torch.full((48, 48), 0.1)
    square[20:30, 20:30] = 1.0
    assert torch.equal(foreground(square, seen), square > 0.5)
    slope = (1 + torch.arange(48) * 0.1).expand(48, 48)
    assert not foreground(slope, seen)[:, 16:-16].any()
    assert not foreground(torch.where(square > 0.5, 1.0, 0.85), seen).any()


def test_holes_are_never_foreground_and_their_nearness_is_never_read() -> None:
    nearness = torch.full((40, 40), 0.1)
    nearness[10:20, 10:20] = 1.0
    seen = torch.ones(40, 40, dtype=torch.bool)
    seen[12:14] = False
    clean = foreground(nearness, seen)
    assert torch.equal(clean, foreground(torch.where(seen, nearness, 1e9), seen))
    assert not clean[~seen].any()
    assert clean[10:12, 10:20].all()


def test_a_frame_is_scaled_by_what_is_seen_and_its_motion_has_the_mean_0() -> None:
    warped, target = torch.rand(2, 3, 8, 8, generator=_rng())
    seen = torch.rand(8, 8, generator=_rng(1)) < 0.7
    moved = torch.rand(2, 8, 8, generator=_rng(2))
    frame = warped_frame(torch.where(seen, warped, torch.nan), target, seen, torch.ones(8, 8), moved)
    luminance = (frame.warped_3SS * torch.tensor([0.2126, 0.7152, 0.0722]).view(3, 1, 1)).sum(0)[seen]
    assert float(luminance.median()) == pytest.approx(MIDDLE_LIGHT, rel=1e-5)
    assert torch.allclose(frame.warped_3SS[:, seen] / frame.target_3SS[:, seen], (warped / target)[:, seen], rtol=1e-5)
    assert frame.motion_2SS[:, seen].mean(1).abs().max() < 1e-6
    assert (frame.warped_3SS[:, ~seen] == 0).all()


# -- cameras and throws ----------------------------------------------------------------------------------------------
LOOK = Camera((0.0, 1.0, 5.0), (0.0, 1.0, 0.0), 90.0)


def test_a_camera_sees_the_points_of_its_own_rays_in_the_middles_of_their_pixels() -> None:
    camera = Camera((1.0, 2.0, 3.0), (-0.5, 0.4, 0.2), 60.0)
    x, y, depth = camera.project(7.0 * camera.directions(9), 9)
    assert np.allclose(x, np.arange(9) + 0.5)
    assert np.allclose(y, (np.arange(9) + 0.5)[:, None])
    assert (depth > 0).all()


def test_a_point_to_the_right_and_above_is_right_and_above_in_the_picture() -> None:
    """At 90 degrees the edge of the picture is as far from the axis as the point is from the camera."""
    x, y, depth = LOOK.project(np.array([5.0, 2.5, -5.0]), 64)
    assert (float(x), float(y), float(depth)) == pytest.approx((64.0, 16.0, 5.0))


def _wall(camera: Camera, distance: float, size: int = 16) -> rendered.Surfaces:
    """A wall across the axis of the camera."""
    directions = camera.directions(size)
    depth = directions @ camera.axes()[2]
    return rendered.Surfaces(directions * (distance / depth)[..., None], np.full((size, size), distance))


def test_a_camera_that_stands_still_throws_every_pixel_onto_itself() -> None:
    wall = _wall(LOOK, 5.0)
    throw = rendered.thrown(wall, (LOOK, LOOK), wall)
    assert throw.landed_SS.ravel().tolist() == list(range(16 * 16))
    assert np.abs(throw.moved_SS2).max() < 1e-9


def test_a_camera_that_steps_to_the_right_moves_a_wall_to_the_left() -> None:
    """Closed form: shift = step x focal length / distance = 1.25 x 8 / 5 = 2 pixels, and 2 columns are holes."""
    step = 1.25
    second = Camera((step, 1.0, 5.0), (step, 1.0, 0.0), 90.0)
    throw = rendered.thrown(_wall(LOOK, 5.0), (LOOK, second), _wall(second, 5.0))
    assert throw.hole_share == pytest.approx(2 / 16)
    assert (throw.landed_SS[:, -2:] == -1).all()
    assert np.allclose(throw.moved_SS2[:, :-2], [-2.0, 0.0])


def test_what_lies_at_another_depth_than_the_next_frame_shows_is_a_hole() -> None:
    """A far wall, seen through the cracks of something near, would land where the next frame shows the near thing."""
    throw = rendered.thrown(_wall(LOOK, 5.0), (LOOK, LOOK), _wall(LOOK, 4.0))
    assert throw.hole_share == 1.0


def test_of_two_points_that_land_on_one_pixel_the_nearer_one_wins() -> None:
    """The second camera stands four times as far away, so that 4 x 4 pixels of the first one land on one of its own."""
    wall = _wall(LOOK, 5.0)
    nearer = np.zeros((16, 16), bool)
    nearer[1::4, 2::4] = True
    bumps = wall.offset_SS3 * np.where(nearer, 0.99, 1.0)[..., None]
    second = Camera((0.0, 1.0, 20.0), (0.0, 1.0, 0.0), 90.0)
    after = rendered.Surfaces(_wall(second, 20.0).offset_SS3, np.full((16, 16), 20.0))
    throw = rendered.thrown(rendered.Surfaces(bumps, wall.depth_SS), (LOOK, second), after)
    landed = throw.landed_SS[throw.landed_SS >= 0]
    assert len(landed) == 4 * 4
    assert nearer.ravel()[landed].all()


# -- a path tracer's frames ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def scene() -> dict[str, np.ndarray]:
    pytest.importorskip("mitsuba")
    return rendered.scene_frames("lebombo", 0, 32)


def test_light_lands_where_the_next_picture_shows_it(scene: dict[str, np.ndarray]) -> None:
    """The traced geometry and mitsuba's pictures agree: at its place the thrown light is that of the next frame, and
    one pixel beside it, it is not."""
    seen = ~scene["hole_1SS"][:, 0]
    warped, target = (np.log(scene[name].mean(1) + 1e-3) for name in ("warped_3SS", "target_3SS"))
    errors = {}
    for shift in (0, 1, -1):
        for axis in (1, 2):
            errors[shift, axis] = float(
                np.abs(np.roll(warped, shift, axis) - target)[np.roll(seen, shift, axis)].mean()
            )
    assert errors[0, 1] < 0.15
    assert errors[0, 1] < 0.7 * min(error for (shift, _), error in errors.items() if shift)


def test_rendered_frames_are_what_they_are_said_to_be(scene: dict[str, np.ndarray]) -> None:
    hole = scene["hole_1SS"]
    assert {name: array.shape for name, array in scene.items()} == {
        name: (rendered.FRAMES, channels, 32, 32) for name, channels in zip(Frame._fields, (3, 1, 1, 2, 3), strict=True)
    }
    assert ((hole.mean((1, 2, 3)) > 0.02) & (hole.mean((1, 2, 3)) < 0.35)).all()
    assert (scene["warped_3SS"][np.broadcast_to(hole, (4, 3, 32, 32))] == 0).all()
    assert np.isfinite(scene["target_3SS"]).all()
    assert scene["occluder_1SS"].any()
    assert np.abs(scene["motion_2SS"]).max() > 0.05
    assert not np.array_equal(scene["target_3SS"][0], scene["target_3SS"][1])


def test_the_renderer_writes_a_folder_that_a_study_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mitsuba")
    main([str(tmp_path / "shots"), "--scenes", "1", "--size", "32"])
    assert capsys.readouterr().out.splitlines()[1] == "val: scene 000 under lebombo"
    sequence = read_sequence(tmp_path / "shots")
    assert str(sequence) == "4 train, 4 val and 4 test frames"
    task = HDR(data=str(tmp_path / "shots"))
    batch = next(task.batches("val", FIDELITY, 4, _rng()))
    arrays = rendered.scene_frames("lebombo", 0, 32)
    order = [
        int(np.argmin([np.abs(target - t.numpy()).max() for target in arrays["target_3SS"]])) for t in batch.target_B3SS
    ]
    assert sorted(order) == [0, 1, 2, 3]
    ours = (batch.warped_B3SS, batch.hole_B1SS, batch.occluder_B1SS, batch.motion_B2SS, batch.target_B3SS)
    for name, field in zip(Frame._fields, ours, strict=True):
        assert torch.allclose(field, torch.from_numpy(arrays[name][order]).float(), atol=1e-4, rtol=1e-4)
    with pytest.raises(SystemExit, match="shots is there already"):
        main([str(tmp_path / "shots")])


def test_without_the_path_tracer_rendered_frames_are_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered._mitsuba.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "mitsuba", None)
    with pytest.raises(
        ValueError, match=r'rendered frames need mitsuba.*pip install mitsuba==3.9.1.*scenes="composed"'
    ):
        rendered.scene_frames("lebombo", 0, 32)
    rendered._mitsuba.cache_clear()


# -- splits ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("fold", range(HDR.folds))
def test_no_light_is_in_two_splits(fold: int) -> None:
    origins = [HDR(fold=fold).origins(split, FIDELITY) for split in ("train", "val", "test")]
    assert not any(a & b for index, a in enumerate(origins) for b in origins[index + 1 :])
    assert len(set.union(*origins)) == len(panoramas.PANORAMAS) + len(splits.PHOTOGRAPHS)
    assert photographs.origin("china") in origins[0]
    assert origins[1] == {panoramas.origin(name) for name in ("lebombo", "potsdamer_platz")}


def test_every_panorama_that_does_not_choose_judges_in_one_fold() -> None:
    judging = [name for fold in range(HDR.folds) for name in splits.lights("test", fold)]
    assert sorted([*judging, *splits.CHOOSING]) == sorted(panoramas.PANORAMAS)


def test_a_scene_has_one_source_and_another_source_changes_all_of_it() -> None:
    """With the same draws, every layer of a scene of another panorama is another one."""
    for name, other in (("lebombo", "venice_sunset"), ("china", "coffee")):
        ours, theirs = (scenes.random_scene(source, 32, _rng(3)) for source in (name, other))
        assert len(ours) > 1
        for ours_layer, theirs_layer in zip(ours, theirs, strict=True):
            assert torch.equal(ours_layer.outline_CC, theirs_layer.outline_CC)
            assert not torch.allclose(ours_layer.light_3CC, theirs_layer.light_3CC)


def test_examples_are_half_composed_and_half_rendered_and_know_their_source() -> None:
    pytest.importorskip("mitsuba")
    batch = next(HDR().batches("val", FIDELITY, 4, _rng()))
    assert batch.rendered_B.tolist() == [0, 0, 1, 1]
    assert [splits.SOURCES[number] for number in batch.source_B.tolist()] == [
        "lebombo",
        "potsdamer_platz",
        "lebombo",
        "lebombo",
    ]
    composed = next(HDR(scenes="composed").batches("val", FIDELITY, 4, _rng()))
    assert not composed.rendered_B.any()
    assert math.isfinite(float(composed.base_log_B3SS.sum()))
