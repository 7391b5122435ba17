"""X-Trans: the colour filter, light, networks, losses, scores, splits, and the task's promises.

Expected values come from closed forms, other libraries and planted truths; each test says which where it is not plain.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from skimage import data as skimage_data
from skimage.metrics import peak_signal_noise_ratio
from sklearn.datasets import load_sample_image
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure

from hpo import Evidence, Fidelity, Recipe, evaluate, fit, generator
from objectives.common import photographs
from objectives.common.colour import linear_from_srgb, srgb_from_linear
from objectives.xtrans import (
    CHEAP,
    FULL,
    SMOKE,
    XTrans,
    baseline,
    cfa,
    data,
    lmmse,
    loss,
    scenes,
    spectrum,
    torture,
)
from objectives.xtrans.checks import checks
from objectives.xtrans.data import BORDER, TILE, Augment, Batch, model_inputs
from objectives.xtrans.light import BALANCED, RAW, area_mean, other_gain
from objectives.xtrans.loss import Demosaic
from objectives.xtrans.model import Demosaicer, interpolate
from objectives.xtrans.scenes import FOLDS, Scene, Source, load_scenes, names_of
from tests.epochs import epoch

TINY = Fidelity(size=24, train=8, val=4, epochs=1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _light(height: int = 48, width: int = 48, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=_rng())


def _plain(batch: Batch, base: str = "nc") -> Tensor:
    return interpolate(batch.mosaic_B1SS, batch.cfa_B3SS, base)


def _seen(rgb: Tensor, gain: tuple[float, float, float] = BALANCED) -> Batch:
    """Sensor light as a batch; `rgb` is white-balanced."""
    return data.simulate_sensor(rgb, torch.tensor(gain).expand(len(rgb), 3))


def _trained_a_little(task: XTrans, steps: int, lr: float = 4e-3) -> nn.Module:
    model = task.model()
    optimizer = torch.optim.Adam(model.parameters(), lr)
    batch = task._crops(4, 48, _rng())
    for _ in range(steps):
        optimizer.zero_grad()
        sum(loss.terms(model(*model_inputs(batch)), batch.target_B3SS, task.weights).values()).backward()
        optimizer.step()
    return model


# -- the colour filter -----------------------------------------------------------------------------------------------
def test_the_tile_has_20_green_8_red_and_8_blue_pixels() -> None:
    assert torch.bincount(cfa.TILE.flatten()).tolist() == [8, 20, 8]


@pytest.mark.parametrize("width", [48, 50, 51, 53])
@pytest.mark.parametrize("move", cfa.MOVES)
def test_a_moved_mosaic_is_the_mosaic_of_the_moved_picture_at_the_moved_phase(move: str, width: int) -> None:
    """Pitfall: flips of a recorded mosaic under unmoved masks mislabel most of its pixels."""
    rgb = _light(54, width)
    moved = cfa.MOVES[move](cfa.mosaic(rgb))
    assert torch.equal(moved, cfa.mosaic(cfa.MOVES[move](rgb), cfa.moved_phase(move, 54, width)))


def test_masks_that_did_not_move_with_the_mosaic_are_wrong() -> None:
    """The negative control of the test above, with the shares that counting gives: 78 % at width 48, 0 at 53."""
    wrong = {}
    for width in (48, 53):
        flipped = cfa.colours(48, width).flip(-1)
        wrong[width] = float((flipped != cfa.colours(48, width)).float().mean())
    assert wrong[48] == pytest.approx(7 / 9, abs=0.01)
    assert wrong[53] == 0.0


@pytest.mark.parametrize(
    ("move", "shift"),
    [
        ("flip across", (0, 5)),
        ("flip down", (1, 0)),
        ("turn 180", (1, 5)),
        ("transpose", (1, 2)),
        ("turn 90", (0, 2)),
        ("turn 270", (1, 3)),
        ("anti-transpose", (0, 3)),
    ],
)
def test_moves_shift_the_phase_as_the_tile_says(move: str, shift: tuple[int, int]) -> None:
    """For sides that are multiples of 6: found by hand on the printed tile."""
    assert cfa.moved_phase(move, 48, 48) == shift


def test_every_phase_has_a_twin_and_the_smaller_one_is_found() -> None:
    """Pitfall: the tile is its own copy at (3, 3), so a search that demands one answer fails on every file."""
    assert torch.equal(cfa.colours(12, 12), cfa.colours(12, 12, (3, 3)))
    for down in range(6):
        for across in range(6):
            twin = ((down + 3) % 6, (across + 3) % 6)
            assert cfa.find_phase(cfa.colours(12, 12, (down, across))) == min((down, across), twin)


def test_red_and_blue_swapped_is_a_shift_by_three_rows() -> None:
    swapped = torch.tensor([2, 1, 0])[cfa.colours(12, 12)]
    assert torch.equal(swapped, cfa.colours(12, 12, (3, 0)))


@pytest.mark.parametrize("colours", [torch.tensor([[0, 1], [1, 2]]).repeat(6, 6), cfa.colours(5, 12)])
def test_a_bayer_filter_or_too_small_a_map_has_no_phase(colours: Tensor) -> None:
    with pytest.raises(ValueError, match="must be an X-Trans filter of at least 6 x 6"):
        cfa.find_phase(colours)


def test_padding_a_mosaic_keeps_each_pixels_colour_where_reflection_does_not() -> None:
    colours = cfa.colours(30, 32).float()[None, None]
    padded = cfa.extend(colours, 7, 5, 8, 9)[0, 0].long()
    assert torch.equal(padded, cfa.colours(45, 46, (-7 % 6, -5 % 6)))
    reflected = torch.nn.functional.pad(colours, (5, 9, 7, 8), mode="reflect")[0, 0].long()
    assert (reflected != padded).any()


# -- light -----------------------------------------------------------------------------------------------------------
def test_pictures_are_shrunk_in_linear_light_and_not_as_encoded() -> None:
    """Half black, half white is 0.5 of the light; the mean of the encoded values would be 0.21 of it."""
    stripes = torch.tensor([0.0, 1.0]).repeat(3, 4, 4).double()
    assert torch.allclose(area_mean(linear_from_srgb(stripes), 2), torch.tensor(0.5).double())
    assert float(linear_from_srgb(torch.tensor(0.5))) == pytest.approx(0.214, abs=1e-3)
    task = XTrans()
    expected = area_mean(linear_from_srgb(photographs.srgb("coffee").double()), task.down).float()
    coffee = next(scene for scene in load_scenes("val", Source()) if scene.name == "coffee")
    assert torch.allclose(coffee.views_3HW[0], expected)


def test_bundled_photographs_decode_as_their_packages_decode_them() -> None:
    """Pitfall: an upgrade that decodes a JPEG otherwise. The judge is the package's own loader, within one level.

    Rocket is not among them: it is in Adobe RGB, and that loader gives its values without converting them.
    """
    theirs = {
        "coffee": skimage_data.coffee(),
        "astronaut": skimage_data.astronaut(),
        "china": load_sample_image("china.jpg"),
    }
    for name, pixels_HW3 in theirs.items():
        ours = photographs.srgb(name).permute(1, 2, 0).numpy()
        assert np.abs(ours - pixels_HW3 / 255).max() <= 1 / 255 + 1e-6, name


def test_light_above_white_is_kept_in_float32_through_data_and_model() -> None:
    """Pitfall: half floats have steps of 2 above 2048; a clip anywhere loses what a highlight was."""
    bright = 3000.0 + torch.rand(2, 3, 48, 48)
    batch = _seen(bright)
    assert batch.target_B3SS.dtype == torch.float32
    assert torch.equal(batch.target_B3SS, bright)
    made = XTrans().model()(*model_inputs(batch))
    assert torch.allclose(made[..., 6:-6, 6:-6], bright[..., 6:-6, 6:-6], atol=5.0)
    exposed = data.simulate_sensor(_light(count=8), torch.ones(8, 3), _rng(), Augment(stops=2.0))
    assert float(exposed.target_B3SS.max()) > 1.5


def test_noise_is_in_the_mosaic_alone_with_the_variance_that_was_asked_for() -> None:
    """Closed form: shot x light + read squared; negative samples stay negative."""
    rgb = torch.full((8, 3, 96, 96), 0.25)
    noisy = data.simulate_sensor(rgb, torch.ones(8, 3), _rng(), Augment(read_noise=0.3, shot_noise=0.04))
    assert torch.equal(noisy.target_B3SS, rgb)
    assert float(noisy.mosaic_B1SS.var()) == pytest.approx(0.04 * 0.25 + 0.09, rel=0.03)
    assert float(noisy.mosaic_B1SS.min()) < 0


def test_a_crop_is_mosaiced_after_it_was_moved_so_its_samples_are_the_targets() -> None:
    task = XTrans(gain_spread=0.3, stops=1.0, patterns=0.5)
    batch = task._crops(16, 24, _rng())
    assert torch.equal(batch.mosaic_B1SS, (batch.target_B3SS * cfa.masks(24, 24)).sum(1, keepdim=True))


def test_the_other_sensor_is_balanced_where_this_one_is_raw_and_the_other_way_round() -> None:
    gains = torch.tensor([RAW, BALANCED])
    assert torch.allclose(other_gain(gains), gains.flip(0))


# -- splits ----------------------------------------------------------------------------------------------------------
def test_every_scene_has_one_part_in_a_fold_and_judges_in_one_fold_unless_it_chooses() -> None:
    """Pitfall: crops split at random share photographs; the stereo pair shows one scene twice."""
    judged = [name for fold in range(FOLDS) for name in names_of("test", fold)]
    assert len(judged) == len(set(judged)) == 13
    assert not any("right" in photo.path for name, photo in photographs.PHOTOGRAPHS.items() if name in judged)
    assert len({names_of("val", fold) for fold in range(FOLDS)}) == 1
    assert not set(judged) & set(names_of("val", 0))
    for fold in range(FOLDS):
        train, val, test = (XTrans(fold=fold).origins(split, FULL) for split in ("train", "val", "test"))
        assert not train & val
        assert not (train | val) & test
        assert len(train | val | test) == 20  # seven photographs, ten panoramas and three that only teach


def test_a_view_of_a_panorama_is_exposed_to_middle_grey_and_clipped_at_white() -> None:
    views_3HW = next(scene for scene in load_scenes("val", Source()) if scene.name == "lebombo").views_3HW
    assert len(views_3HW) == 5
    for view_3HW in views_3HW:
        assert view_3HW.shape == (3, 144, 144)
        assert 0 <= float(view_3HW.min()) < float(view_3HW.max()) <= 1
    dim = 0.01 * (1 + torch.rand(3, 40, 40, generator=_rng()))
    grey = scenes.exposed(dim).mean(0).log().mean().exp()
    assert float(grey) == pytest.approx(0.18, rel=1e-4)
    assert torch.allclose(scenes.exposed(dim), scenes.exposed(100 * dim))
    lamp = torch.cat([dim, torch.full((3, 1, 40), 1e4)], 1)
    assert float(scenes.exposed(lamp).max()) == 1.0


def test_a_scene_has_one_number_in_every_split_and_fold() -> None:
    """Pitfall: numbers that begin anew in each split make one cluster of two scenes."""
    number_by_name: dict[str, int] = {}
    for fold in range(FOLDS):
        for split in ("train", "val", "test"):
            for scene in load_scenes(split, Source(fold=fold)):
                assert number_by_name.setdefault(scene.name, scene.number) == scene.number
    assert len(set(number_by_name.values())) == len(number_by_name) == 20


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"task.fold must be 0 to 2; got 3"):
        XTrans(fold=3)


def test_what_is_judged_never_changes_whatever_the_rng_and_the_trial() -> None:
    """Pitfall: validation crops, flips and noise that are drawn anew."""
    first = next(XTrans().batches("val", CHEAP, 24, _rng(1)))
    again = next(XTrans(gain_spread=0.5, stops=1.0, read_noise=0.1).batches("val", CHEAP, 24, _rng(2)))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert torch.equal(first.mosaic_B1SS, cfa.mosaic(first.target_B3SS))


def test_tiles_do_not_overlap_where_they_are_judged() -> None:
    places = data._places("test", Source())
    assert len(places) >= FULL.examples("test")
    for index, place in enumerate(places):
        for other in places[:index]:
            apart = abs(place.top - other.top) >= 48 or abs(place.left - other.left) >= 48
            assert apart or place.scene != other.scene or place.view != other.view


def test_tiles_are_of_the_scenes_in_turn() -> None:
    """So that a mean over the first tiles is one over scenes, whatever each of them holds."""
    tiles = next(XTrans().batches("val", replace(CHEAP, val=24), 24, _rng()))
    assert tiles.scene_B.unique(return_counts=True)[1].tolist() == [6, 6, 6, 6]


def test_more_tiles_than_the_photographs_hold_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the test split holds \d+ tiles of 48 pixels .* 1000 were asked for"):
        next(XTrans().batches("test", replace(TINY, test=1000), 8, _rng()))


# -- networks --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("arch", "parameters"), [("plain", 10_355), ("packed3", 70_155)])
def test_parameters_are_counted_as_they_are_written_down(arch: str, parameters: int) -> None:
    """7 x 16 x 9 + 16 + 4 (16 x 16 x 9 + 16) + 51; 63 x 48 x 9 + 48 + 2 (48 x 48 x 9 + 48) + 48 x 27 + 27."""
    assert sum(p.numel() for p in Demosaicer(arch).parameters()) == parameters


@pytest.mark.parametrize("base", ["none", "nc", "nc_diff", "markesteijn", "markesteijn3"])
@pytest.mark.parametrize("arch", ["plain", "packed3", "unet"])
def test_samples_come_back_and_four_times_the_light_gives_four_times_the_picture(arch: str, base: str) -> None:
    model = _wild(Demosaicer(arch, 8, 5, base=base))
    batch = _seen(_light(50, 53, 2), RAW)
    made = model(*model_inputs(batch))
    assert made.shape == batch.target_B3SS.shape
    assert torch.equal(made[batch.cfa_B3SS > 0.5], batch.target_B3SS[batch.cfa_B3SS > 0.5])
    assert torch.equal(model(4 * batch.mosaic_B1SS, batch.cfa_B3SS, batch.gain_B3), 4 * made)


def test_a_sensor_with_other_gains_makes_the_same_picture_where_they_are_recorded() -> None:
    """Pitfall: without the white balance a network makes a 6 x 6 grid on light of another one. Where it is not told,
    the picture differs."""
    rgb = _light(50, 53, 2)
    told, untold = (_wild(Demosaicer(width=8, balance=balance)) for balance in (True, False))
    pictures = {}
    for gain in (RAW, BALANCED):
        batch = _seen(rgb, gain)
        pictures[gain] = [model(*model_inputs(batch)) / batch.gain_B3[..., None, None] for model in (told, untold)]
    assert torch.allclose(pictures[RAW][0], pictures[BALANCED][0], rtol=1e-4, atol=1e-4)
    assert (pictures[RAW][1] - pictures[BALANCED][1]).abs().max() > 0.1


def test_a_network_from_before_the_white_balance_was_an_input_is_refused() -> None:
    weights = {name.replace("residual", "correction"): weight for name, weight in Demosaicer().state_dict().items()}
    with pytest.raises(ValueError, match="trained before the white balance became one of its inputs"):
        Demosaicer().load_state_dict(weights)


def test_gains_of_a_wrong_shape_are_refused() -> None:
    """A unit of light in their place would be taken for them."""
    batch = _seen(_light())
    with pytest.raises(ValueError, match=r"three gains a picture, \[B, 3\]; got \(1, 1, 1, 1\)"):
        Demosaicer()(batch.mosaic_B1SS, batch.cfa_B3SS, torch.ones(1, 1, 1, 1))


@pytest.mark.parametrize("arch", ["plain", "packed3", "unet"])
def test_a_picture_does_not_depend_on_its_batch_and_no_layer_keeps_statistics(arch: str) -> None:
    """Pitfall: batch normalisation with batches of two."""
    model = _wild(Demosaicer(arch, 8, 5)).train()
    batch = _seen(_light(count=3))
    alone = model(batch.mosaic_B1SS[:1], batch.cfa_B3SS[:1], batch.gain_B3[:1])
    assert torch.allclose(model(*model_inputs(batch))[:1], alone, atol=1e-5)
    assert not any(isinstance(layer, nn.modules.batchnorm._NormBase) for layer in model.modules())


def test_before_training_the_network_is_its_interpolation() -> None:
    batch = _seen(_light())
    for base in ("nc", "nc_diff", "markesteijn"):
        assert torch.equal(Demosaicer(base=base)(*model_inputs(batch)), _plain(batch, base))


def test_interpolation_of_flat_colour_is_exact() -> None:
    """Closed form: a mean of equal samples. At the border too, for nothing beyond it counts."""
    flat = torch.tensor([0.2, 0.7, 0.4]).view(1, 3, 1, 1).expand(1, 3, 30, 33)
    for base in ("nc", "nc_diff"):
        assert torch.allclose(interpolate(cfa.mosaic(flat), cfa.masks(30, 33)[None], base), flat, atol=1e-5)


@pytest.mark.parametrize("arch", ["plain", "packed3"])
def test_the_correction_comes_alive_within_fifty_steps(arch: str) -> None:
    """Pitfall: a residual that dies scores exactly its interpolation and looks like a result."""
    task = XTrans(arch=arch)
    model = _trained_a_little(task, 50)
    batch = task._crops(4, 48, _rng(1))
    correction = model(*model_inputs(batch)) - task.model()(*model_inputs(batch))  # untrained, it is its base
    missing = batch.cfa_B3SS < 0.5
    assert float((correction[missing].abs() > 1e-4).float().mean()) > 0.5


@pytest.mark.parametrize("stage", ["preflight", "promotion"])
def test_a_score_that_never_changes_is_a_no_go_at_both_stages(stage: Literal["preflight", "promotion"]) -> None:
    """Pitfall: a check that reads the history of one stage alone disappears silently at the other."""

    def statuses(values: list[float]) -> list[str]:
        history = tuple(epoch(number, scores={"psnr_lin": value}) for number, value in enumerate(values))
        results = checks(Evidence(stage, history=history), "")
        return [check.status for check in results if check.name == "the score changes during training"]

    assert statuses([28.77] * 6) == ["no-go"]
    assert statuses([28.77, 29.5, 30.1, 30.2]) == ["go"]
    assert statuses([28.77] * 3) == []  # too few epochs to tell


def test_both_stages_get_every_check_that_their_evidence_allows() -> None:
    """Real epochs of the engine, and real scores of the task; the baselines have the scores of the network itself."""
    task = XTrans()
    recipe = Recipe(lr=4e-3, batch_size=4)
    run = [progress.record for progress in fit(task, recipe, replace(SMOKE, train=4), seed=0, device="cpu")]
    scores = run[-1].scores
    plain = {"normalised convolution": scores, "markesteijn 3": scores}
    early = {
        "light above white is kept",
        "the output is proportional to the light",
        "the score changes during training",
    }
    late = {
        "clearly beats interpolation",
        "the grid measurement is reliable",
        "no 6 x 6 grid",
        "beats every classical method in psnr_lin",
        "beats every classical method in psnr_srgb",
    }
    preflight = checks(Evidence("preflight", scores=scores, history=tuple(run)), "")
    promotion = checks(Evidence("promotion", scores=scores, history=tuple(run), baselines=plain), "")
    assert {check.name for check in preflight} == early
    assert {check.name for check in promotion} == early | late


# -- the best linear filter ------------------------------------------------------------------------------------------
def test_a_filter_that_learns_from_an_interpolation_at_its_own_phase_becomes_it() -> None:
    """Pitfall: a teacher at the same phase is a ceiling. Normalised convolution is linear with 7 x 7 taps, so the best
    linear filter for its output is itself, to 0.01 dB against the truth."""
    crops = [_smooth(_light(60, 60), seed) for seed in range(6)]
    pairs = [(cfa.mosaic(rgb)[0], interpolate(cfa.mosaic(rgb), cfa.masks(60, 60)[None], "nc")[0]) for rgb in crops]
    learned = lmmse.apply_filter(cfa.mosaic(crops[0]), lmmse.fit_to_pairs(pairs, ridge=1e-9))
    taught = pairs[0][1]
    inside = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    decibels = [_psnr(rgb[inside], crops[0][inside]) for rgb in (learned, taught[None])]
    assert decibels[0] == pytest.approx(decibels[1], abs=0.01)


def test_the_linear_filter_keeps_flat_colour_and_beats_interpolation_on_what_it_has_not_seen() -> None:
    kernel = baseline.linear_filter(Source())
    grey = torch.full((1, 3, 30, 30), 0.3)
    assert torch.allclose(lmmse.apply_filter(cfa.mosaic(grey), kernel), grey, atol=1e-4)
    batch = next(XTrans().batches("val", CHEAP, 24, _rng()))
    linear, plain = (
        loss.tile_scores(rgb, batch)["psnr_lin"].mean()
        for rgb in (lmmse.apply_filter(batch.mosaic_B1SS, kernel), _plain(batch))
    )
    assert linear > plain + 1


# -- the loss --------------------------------------------------------------------------------------------------------
def test_gradient_and_chroma_terms_see_what_they_are_named_after() -> None:
    """Closed forms: a ramp of slope 0.1 has gradient 0.1; grey detail has no chroma; flat colour no fine chroma."""
    ramp = 0.1 * torch.arange(20.0).expand(1, 3, 20, 20)
    slopes = loss.gradients(ramp)
    assert torch.allclose(slopes[:, 0], torch.tensor(0.1), atol=1e-6)
    assert torch.allclose(slopes[:, 1], torch.tensor(0.0), atol=1e-6)
    grey = torch.rand(1, 1, 20, 20).expand(1, 3, 20, 20)
    assert float(loss.high_chroma(grey).abs().max()) < 2e-3  # the weights of BT.601 sum to 0 within 0.001
    flat = torch.tensor([0.9, 0.1, 0.2]).view(1, 3, 1, 1).expand(1, 3, 20, 20)
    assert float(loss.high_chroma(flat).abs().max()) < 1e-6
    assert float(loss.high_chroma(_light()).abs().mean()) > 0.05


def test_the_loss_is_not_blind_above_white_and_not_to_the_border() -> None:
    target = torch.full((1, 3, 48, 48), 3.0)
    wrong = target.clone()
    wrong[..., 20:30, 20:30] = 2.0
    for space in loss.SPACES:
        assert float(loss.terms(wrong, target, loss.Weights(space=space))["l1"]) > 0.01
    border = target.clone()
    border[..., : loss.CUT, :] = 0.0
    assert float(loss.terms(border, target, loss.Weights())["l1"]) == 0.0


# -- scores ----------------------------------------------------------------------------------------------------------
def _judged(made: Tensor, batch: Batch) -> dict[str, float]:
    return _scores(lambda given: made if given is batch else given.target_B3SS, batch, probes=False)


def _scores(method: Demosaic, batch: Batch, *, probes: bool) -> dict[str, float]:
    return loss.summary(loss.method_columns(method, batch, probes=probes))


def test_psnr_is_the_mean_of_the_tiles_decibels_and_never_that_of_a_pooled_error() -> None:
    """Closed form: errors of 0.1 and 0.01 are 20 and 40 dB, 30 on average; pooled they would be 23."""
    batch = _seen(torch.full((2, 3, TILE, TILE), 0.5))
    made = batch.target_B3SS + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    assert _judged(made, batch)["psnr_lin"] == pytest.approx(30.0, abs=1e-3)


def test_the_seen_score_divides_the_sensors_gains_out_before_it_encodes() -> None:
    """Judge: scikit-image's PSNR on balanced light encoded here."""
    rgb = 0.1 + 0.8 * _light(TILE, TILE)
    batch = _seen(rgb, RAW)
    noise = 0.05 * torch.randn(rgb.shape, generator=_rng(3))
    scores = _judged(batch.target_B3SS + noise * torch.tensor(RAW).view(3, 1, 1), batch)
    shown, wanted = (srgb_from_linear(loss.inner(x, BORDER).clamp(0, 1)).numpy() for x in (rgb + noise, rgb))
    assert scores["psnr_srgb"] == pytest.approx(peak_signal_noise_ratio(wanted, shown, data_range=1.0), abs=1e-3)


def test_an_error_above_white_counts_in_the_linear_score() -> None:
    """Closed form: 2 instead of 3 is an error of 1, 0 dB; clipped first it would be none."""
    batch = _seen(torch.full((1, 3, TILE, TILE), 3.0))
    scores = _judged(torch.full_like(batch.target_B3SS, 2.0), batch)
    assert scores["psnr_lin"] == pytest.approx(0.0, abs=1e-4)
    assert scores["psnr_srgb"] == pytest.approx(100.0)


def test_similarity_is_that_of_values_up_to_one_and_not_up_to_what_a_tile_holds() -> None:
    """Judge: torchmetrics with data_range 1, on a dark tile."""
    rgb = 0.01 * _light(TILE, TILE)
    batch = _seen(rgb)
    made = (rgb + 0.002 * torch.randn(rgb.shape, generator=_rng(1))).clamp(min=0)
    shown, wanted = (srgb_from_linear(loss.inner(x, BORDER)) for x in (made, rgb))
    expected = structural_similarity_index_measure(
        torch.nn.functional.pad(shown, (5,) * 4, mode="reflect"),
        torch.nn.functional.pad(wanted, (5,) * 4, mode="reflect"),
        data_range=1.0,
    )
    assert _judged(made, batch)["ssim_srgb"] == pytest.approx(float(expected), abs=0.02)


def test_the_border_of_a_tile_is_not_judged() -> None:
    batch = _seen(_light(TILE, TILE, 2))
    spoiled = batch.target_B3SS.clone()
    spoiled[..., :BORDER, :] = 9.0
    spoiled[..., -BORDER:] = -9.0
    assert _judged(spoiled, batch) == _judged(batch.target_B3SS.clone(), batch)


@pytest.mark.parametrize(("amplitude", "low", "high"), [(0.0, -2.0, 2.0), (2e-3, 4.0, 7.0), (2e-2, 20.0, 40.0)])
def test_a_planted_grid_stands_out_of_the_spectrum_and_only_in_its_even_bins(
    amplitude: float, low: float, high: float
) -> None:
    """Planted: errors that are locked to the colour of each pixel, in noise of 0.005."""
    noise = 5e-3 * torch.randn(16, 3, 48, 48, generator=_rng())
    grid = amplitude * (cfa.masks(48, 48) - cfa.masks(48, 48).mean((1, 2), keepdim=True))
    even, odd = spectrum.grid_db(spectrum.power(noise + grid).sum(0))
    assert low <= even <= high
    assert abs(odd) < 1.5


def test_a_raw_mosaic_taken_for_a_picture_has_a_grid_far_above_any_gate() -> None:
    batch = next(XTrans().batches("val", CHEAP, 24, _rng()))
    made = _scores(lambda given: given.mosaic_B1SS.expand_as(given.target_B3SS), batch, probes=False)
    clean = _scores(lambda given: _plain(given), batch, probes=False)
    assert made["grid_even_db"] > 15
    assert abs(clean["grid_even_db"]) < 2
    assert made["grid_fold"] > 10 * clean["grid_fold"]


def test_fold_is_the_errors_mean_at_each_place_of_the_tile() -> None:
    tile = torch.randn(3, 6, 6, generator=_rng())
    assert torch.allclose(spectrum.fold(tile.repeat(1, 8, 8)[None])[0].float(), tile, atol=1e-6)


def test_a_network_is_judged_through_the_other_sensor_too() -> None:
    """Pitfall: a white balance that it has not met puts a 6 x 6 grid into a network's pictures, and in-domain scores
    do not show it. Planted: a method that is right for one sensor and has a grid through the other. The camera records
    the first one's gains."""
    batch = next(XTrans().batches("val", replace(CHEAP, val=8), 8, _rng()))

    def demosaic(given: Batch) -> Tensor:
        assert torch.equal(given.gain_B3, batch.gain_B3)
        foreign = not torch.equal(given.target_B3SS, batch.target_B3SS)
        noise = 1e-3 * torch.randn(given.target_B3SS.shape, generator=_rng())
        return given.target_B3SS + noise + (0.02 * given.cfa_B3SS if foreign else 0)

    columns = loss.method_columns(lambda given: given.target_B3SS, batch, probes=True)
    assert float(columns["offdomain_psnr_srgb"].min()) > 90
    with_grid = loss._other_sensor_columns(batch, demosaic)
    without = {"power": loss.error_power(demosaic(batch), batch)}
    assert spectrum.grid_db(with_grid["offdomain_power"].sum(0))[0] > 10
    assert spectrum.grid_db(without["power"].sum(0))[0] < 3


def test_a_method_that_clips_loses_its_headroom_and_one_that_does_not_keeps_it() -> None:
    batch = next(XTrans().batches("val", CHEAP, 24, _rng()))
    kept = _scores(lambda given: _plain(given), batch, probes=True)
    clipped = _scores(lambda given: _plain(given).clamp(max=1), batch, probes=True)
    assert 0.95 <= kept["hdr_headroom"] <= 1.03
    assert kept["scale_error"] < 1e-6
    assert clipped["hdr_headroom"] < 0.9
    assert clipped["hdr_lost"] > 0.5
    verdicts = {c.name: c.status for c in checks(Evidence("preflight", scores=clipped), "")}
    assert verdicts["light above white is kept"] == "no-go"


def test_sharpness_is_one_for_the_truth_and_less_where_it_was_blurred() -> None:
    batch = _seen(_light(TILE, TILE, 2))
    blurred = torch.nn.functional.avg_pool2d(batch.target_B3SS, 3, stride=1, padding=1)
    assert _judged(batch.target_B3SS.clone(), batch)["sharpness_ratio"] == pytest.approx(1.0)
    assert _judged(blurred, batch)["sharpness_ratio"] < 0.5


# -- patterns --------------------------------------------------------------------------------------------------------
def test_thirteen_kinds_of_pattern_are_light_and_the_same_at_every_call() -> None:
    assert len(torture.KINDS) == 13
    patterns = [torture.pattern(number, 48) for number in range(26)]
    for number, rgb in enumerate(patterns):
        assert rgb.shape == (3, 48, 48)
        assert 0 <= float(rgb.min()) <= float(rgb.max()) <= 1
        assert float(rgb.var()) > 1e-4, number
        assert torch.equal(rgb, torture.pattern(number, 48))
    assert len({rgb.numpy().tobytes() for rgb in patterns}) == 26


def test_patterns_that_judge_are_never_trained_on() -> None:
    assert torture.EACH * len(torture.KINDS) < torture.TRAIN_FROM


def test_each_tile_carries_a_pattern_in_turn_through_its_own_sensor() -> None:
    """Planted: one tile has a sensor of its own."""
    batch = next(XTrans().batches("test", replace(CHEAP, test=28), 28, _rng()))
    assert batch.pattern_B.tolist() == [*range(26), 0, 1]
    batch = batch._replace(gain_B3=batch.gain_B3.clone())  # the tiles are shared
    batch.gain_B3[1] = torch.tensor([0.3, 1.0, 0.9])
    carried = loss.carried_patterns(batch)
    assert torch.equal(carried.target_B3SS[1], torture.pattern(1, TILE) * batch.gain_B3[1].view(3, 1, 1))
    assert torch.equal(carried.target_B3SS[27], torture.pattern(1, TILE) * batch.gain_B3[27].view(3, 1, 1))
    assert torch.equal(loss.all_patterns(batch).target_B3SS[:1], carried.target_B3SS[:1])


def test_tiles_and_crops_know_their_scene() -> None:
    """Planted: three scenes of one colour each; a crop of one has its number. A tile is a window of a view of its
    own."""
    colours = [torch.full((3, 80, 80), 0.2 * (number + 1)) for number in range(3)]
    planted = [Scene(str(number), number, (rgb, rgb), None, 1.0) for number, rgb in enumerate(colours)]
    crops = data.random_crops(planted, 12, 24, _rng(), gain=BALANCED, augment=Augment())
    numbers = (crops.target_B3SS[:, 1, 0, 0] / 0.2).round().long() - 1
    assert torch.equal(crops.scene_B, numbers)
    assert set(crops.scene_B.tolist()) == {0, 1, 2}
    tiles = next(XTrans().batches("val", CHEAP, 24, _rng()))
    for tile, number in zip(tiles.target_B3SS, tiles.scene_B.tolist(), strict=True):
        views = next(scene.views_3HW for scene in load_scenes("val", Source()) if scene.number == number)
        assert any(_holds(view * torch.tensor(RAW).view(3, 1, 1), tile) for view in views)


def _holds(whole: Tensor, tile: Tensor) -> bool:
    places = (whole[0] == tile[0, 0, 0]).nonzero().tolist()
    return any(torch.equal(whole[:, top : top + TILE, left : left + TILE], tile) for top, left in places)


def test_as_many_crops_are_patterns_as_the_task_says_and_none_has_a_scene() -> None:
    """Each with its own probability: 400 draws of 0.25 lie within 0.06 of it."""
    batch = XTrans(patterns=0.25)._crops(400, 24, _rng())
    assert float((batch.scene_B == -1).float().mean()) == pytest.approx(0.25, abs=0.06)
    assert (XTrans(patterns=0.0)._crops(50, 24, _rng()).scene_B >= 0).all()


def test_spread_gains_change_the_light_and_not_what_the_camera_records() -> None:
    """Closed form: exp(U(-0.5, 0.5)) on each channel, and the recorded gain of the sensor."""
    rgb = torch.full((500, 3, 24, 24), 0.5)
    batch = data.simulate_sensor(rgb, torch.tensor(RAW).expand(500, 3), _rng(), Augment(gain=0.5))
    assert torch.equal(batch.gain_B3, torch.tensor(RAW).expand(500, 3))
    spread = (batch.target_B3SS[..., 0, 0] / (0.5 * torch.tensor(RAW))).log()
    assert float(spread.abs().max()) == pytest.approx(0.5, abs=0.01)
    assert float(spread.std()) == pytest.approx(1 / math.sqrt(12), rel=0.05)


# -- the task --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("arch", "resnet", "one of plain, packed3, unet"),
        ("base", "dht", "one of none, nc, nc_diff, markesteijn, markesteijn3"),
        ("patterns", 1.5, "a share, in"),
        ("width", 0, "at least 1"),
        ("stops", -1.0, "at least 0"),
        ("gain", (1.0, 0.0, 1.0), "three numbers above 0"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_name(field: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"task.{field} must be {message}"):
        XTrans(**{field: value})


def test_a_size_below_what_the_loss_needs_is_refused() -> None:
    with pytest.raises(ValueError, match="size must be at least 24"):
        next(XTrans().batches("train", replace(TINY, size=12), 4, _rng()))


def test_four_crops_are_learned_far_beyond_their_interpolation() -> None:
    """The proof that preflight asks for, shortened: 100 steps gain 2 dB and more; untrained it is 0."""
    task = XTrans(base="nc", patterns=0.0, gain_spread=0.0)
    batch = task._crops(4, 48, _rng())
    untrained, trained = task.model(), _trained_a_little(task, 100)
    with torch.no_grad():
        leads = [loss.tile_scores(model(*model_inputs(batch)), batch)["lead_db"] for model in (untrained, trained)]
    assert float(leads[0].abs().max()) < 1e-3
    assert float(leads[1].mean()) > 2


def test_a_method_that_learned_other_targets_has_no_lead() -> None:
    """Pitfall: of shuffled targets plain interpolation is so bad that learning them by heart looks like a lead."""
    batch = XTrans(patterns=0.0, gain_spread=0.0)._crops(4, 48, _rng())
    shuffled = batch._replace(target_B3SS=batch.target_B3SS.roll(1, 0))
    assert float(loss.tile_scores(_plain(batch), batch)["lead_db"].abs().max()) < 1e-3
    halfway = (_plain(batch) + shuffled.target_B3SS) / 2
    assert float(loss.tile_scores(halfway, shuffled)["lead_db"].mean()) < 0


def test_missing_demosaicers_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline.raf, "installed", lambda: False)
    monkeypatch.setattr(baseline.gharbi, "installed", lambda: False)
    names = set(XTrans().methods())
    assert names == {
        "normalised convolution",
        "colour differences",
        "best linear filter 7x7",
        "markesteijn 1, ours",
        "markesteijn 3, ours",
    }
    results = {check.name: check for check in XTrans().checks(Evidence("preflight"))}
    assert results["all comparison methods are installed"].status == "caution"
    assert "hpo[raw]" in results["all comparison methods are installed"].seen


def test_smoke_is_the_cheapest_tier_and_has_a_block_for_the_grid() -> None:
    scores = evaluate(XTrans(), XTrans().model(), XTrans().batches("val", SMOKE, 4, generator("x")))
    assert {"psnr_lin", "grid_even_db", "torture_psnr", "offdomain_grid_db", "hdr_headroom"} <= set(scores)
    assert all(math.isfinite(value) for value in scores.values())


def _wild(model: nn.Module) -> nn.Module:
    """Every layer of a size that matters, the last one too."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=_rng()))
    return model


def _smooth(rgb: Tensor, seed: int) -> Tensor:
    noise = torch.rand(rgb.shape, generator=_rng(seed))
    return torch.nn.functional.avg_pool2d(noise, 5, stride=1, padding=2, count_include_pad=False)


def _psnr(made: Tensor, target: Tensor) -> float:
    return float(-10 * torch.log10(((made - target) ** 2).mean()))
