"""The low-light network, its losses over the stages, and its scores.

Expected values come from closed forms, from the published weights of the stages, and from planted inputs; each test
says which. Many are named after a fault that programs of this kind have had.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
import torch
from PIL import Image
from torch import nn

from hpo import REFERENCE, Evidence, Fidelity, Held, Moment, Recipe, fit, generator
from hpo.engine.evaluation import evaluate
from objectives.common.colour import linear_from_srgb, luma
from objectives.common.files import read_image
from objectives.lowlight import CHEAP, FULL, FULL_GPU, SMOKE, LowLight, apply, baseline, loss, tiles
from objectives.lowlight.data import Batch
from objectives.lowlight.loss import health
from objectives.lowlight.model import REACH, CurveBlendNet, Enhanced, apply_curve, strengthen
from tests.epochs import epoch
from tests.objectives.baselines import baseline_scores
from tests.objectives.exported import exported
from tests.toy import Toy

TINY = Fidelity(size=32, train=8, val=4, epochs=6)
RECIPE = Recipe(lr=3e-3, batch_size=4, weight_decay=1e-2, clip=0.5)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HPO_CACHE", str(tmp_path_factory.getbasetemp() / "hpo-cache"))


def _pictures(count: int = 2, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def _at(epoch: int, epochs: int, batches: int = 4, step: int = 0) -> Moment:
    return Moment(epoch, epochs, epoch * batches + step, epochs * batches)


def _perturbed(model: CurveBlendNet) -> CurveBlendNet:
    """The network with every parameter off its special starting value."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.project(0.15)
    return model


# -- the network ---------------------------------------------------------------------------------------------------
def test_the_default_network_has_186244_parameters() -> None:
    """Closed form: the sum over its layers, at 16 channels, 16 restoring channels and 8 iterations."""
    convolution = lambda a, b: 9 * a * b + b  # noqa: E731
    curve = convolution(4, 16) + 2 * convolution(16, 16) + convolution(16, 24) + (10 * 32 + 32) + (32 * 3 + 3)
    attention = 2 * 64 + 64 * 192 + (64 * 64 + 64)
    restore = (
        convolution(28, 32)
        + convolution(32, 64)
        + convolution(64, 64)
        + attention
        + convolution(64, 128)
        + convolution(64, 32)
        + convolution(32, 12)
    )
    mask = convolution(7, 16) + convolution(16, 1)
    colour = (9 + 3) + (9 + 3 + 1 + 3)
    assert curve + restore + mask + colour == 186_244
    assert sum(p.numel() for p in CurveBlendNet().parameters()) == 186_244


@pytest.mark.parametrize("shape", [(32, 32), (33, 46), (40, 35)])
def test_the_parts_have_the_pictures_size_whatever_it_is(shape: tuple[int, int]) -> None:
    model = _perturbed(CurveBlendNet(8, 8, 4)).eval()
    out = model(torch.rand(2, 3, *shape))
    assert out.enhanced_B3HW.shape == out.curve_B3HW.shape == out.restored_B3HW.shape == (2, 3, *shape)
    assert out.mask_B1HW.shape == (2, 1, *shape)
    assert out.alpha_BAHW.shape == (2, 12, *shape)
    assert 0 <= out.enhanced_B3HW.min().item() <= out.enhanced_B3HW.max().item() <= 1


def test_the_curve_sees_four_channels_and_bends_three() -> None:
    model = CurveBlendNet()
    assert model.curve.local[0].in_channels == 4
    assert model(_pictures()).curve_B3HW.shape[1] == 3


def test_the_curve_stays_in_range_without_a_clamp_and_keeps_the_order_of_values() -> None:
    """Closed form: for a in [-1, 1], x + a x (1 - x) maps [0, 1] onto itself and rises, as its slope is
    1 + a (1 - 2x) >= 0. One alpha a column, x rising down the rows."""
    alpha = (2 * torch.rand(1, 24, 1, 500, generator=torch.Generator().manual_seed(0)) - 1).expand(1, 24, 200, 500)
    x = torch.linspace(0, 1, 200).view(1, 1, 200, 1).expand(1, 3, 200, 500)
    y = apply_curve(x, alpha)
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1
    assert bool((y.diff(dim=2) >= -1e-6).all())


def test_training_and_use_give_the_same_picture_without_dither() -> None:
    """The mask is squared once in both; a network that squares it twice in one of them differs."""
    model = _perturbed(CurveBlendNet(8, 8, 4))
    x = _pictures()
    assert torch.equal(model.train()(x).enhanced_B3HW, model.eval()(x).enhanced_B3HW)


def test_the_blend_squares_the_mask_once() -> None:
    """Closed form: colour heads at their identity, and a picture colourful enough to be left alone."""
    model = CurveBlendNet(8, 8, 4).eval()
    nn.init.normal_(model.restore.leave[2].weight, std=0.05)
    out = model(_pictures())
    share = out.mask_B1HW**2
    blended = (share * out.curve_B3HW + (1 - share) * out.restored_B3HW).clamp(1e-6, 1)
    assert torch.allclose(out.enhanced_B3HW, blended, atol=1e-6)


def test_dither_acts_in_training_only() -> None:
    model = _perturbed(CurveBlendNet(8, 8, 4, dither=0.03))
    x = _pictures()
    assert not torch.equal(model.train()(x).mask_B1HW, model.eval()(x).mask_B1HW)


def test_a_pictures_output_does_not_depend_on_its_batch_mates() -> None:
    model = _perturbed(CurveBlendNet(8, 8, 4)).eval()
    greyish, vivid = 0.3 + 0.02 * _pictures(1), _pictures(1, seed=1)
    together = model(torch.cat([greyish, vivid])).enhanced_B3HW
    alone = torch.cat([model(greyish).enhanced_B3HW, model(vivid).enhanced_B3HW])
    assert float((together - alone).detach().abs().max()) <= 1e-6


def _with_chroma(chroma: float) -> torch.Tensor:
    grey = torch.full((1, 3, 8, 8), 0.5)
    grey[:, 0] += chroma / 2
    grey[:, 2] -= chroma / 2
    return grey


def test_the_colour_boost_fades_out_at_its_threshold_and_has_a_gradient_below() -> None:
    """Closed form: at mean chroma s the boost is 2 (0.15 - s) / 0.15, at most 1: 2/3 at 0.10, 0 at 0.15, 1 at 0."""
    for chroma, boost in ((0.10, 2 / 3), (0.15, 0.0), (0.20, 0.0), (0.05, 1.0)):
        given = _with_chroma(chroma)
        ratio = float((strengthen(given) - luma(given))[0, 0, 0, 0] / (given - luma(given))[0, 0, 0, 0])
        assert ratio == pytest.approx(1 + boost, rel=1e-4)
    chroma = torch.tensor(0.10, requires_grad=True)
    made = strengthen(0.5 + chroma * torch.tensor([0.5, 0.0, -0.5]).view(1, 3, 1, 1).expand(1, 3, 8, 8))
    (made[0, 0, 0, 0] - made[0, 2, 0, 0]).backward()
    assert chroma.grad.item() == pytest.approx(3 - 4 * 0.10 / 0.15, rel=1e-3)  # of s (1 + 2 (0.15 - s) / 0.15)


def test_projection_leaves_the_identity_alone_and_pulls_back_what_is_off() -> None:
    """A flat clamp to [0.98, 1.02] would put 0.98 off the diagonal."""
    model = CurveBlendNet()
    model.project(0.15)
    for head in (model.colour, model.fine):
        assert torch.equal(head.matrix, torch.eye(3))
    with torch.no_grad():
        for parameter in (*model.colour.parameters(), *model.fine.parameters()):
            parameter.add_(5.0)
    model.project(0.15)
    assert torch.allclose(model.colour.matrix, torch.eye(3) + 0.15)
    assert torch.allclose(model.colour.offset, torch.full((3,), 0.02))
    assert torch.allclose(model.fine.matrix, torch.eye(3) + 0.02)
    assert torch.allclose(model.fine.offset, torch.full((3,), 0.01))
    assert model.fine.vibrance.item() == pytest.approx(1.05)
    assert torch.allclose(model.fine.gamma, torch.full((3,), 1.05))


def test_vibrance_starts_at_1_and_so_is_not_moved_by_its_own_clamp() -> None:
    model = CurveBlendNet()
    before = [p.clone() for p in model.parameters()]
    model.project(0.15)
    assert all(map(torch.equal, before, model.parameters()))


# -- the stages ----------------------------------------------------------------------------------------------------
def test_a_ramp_at_its_first_epoch_leaves_reconstruction_and_ssim_alone() -> None:
    """Published weights of stage 2: 1.35 and 0.45 from its first epoch on; edge, exposure and colour rise from 0."""
    weights = loss.stage2_weights(loss.STAGES[1], epoch=0, warm=20)
    assert (weights["reconstruction"], weights["ssim"], weights["mask_mean"]) == (1.35, 0.45, 0.03)
    assert all(weights[name] == 0 for name in loss.RAMPED)
    assert loss.stage2_weights(loss.STAGES[1], epoch=20, warm=20) == loss.STAGES[1]


def test_the_weights_of_a_long_run_are_the_published_ones_once_a_stage_has_settled() -> None:
    task = LowLight(ramp_share=0.18)
    assert task.edges(200) == (50, 160)
    assert task.weights(49, 200) == loss.STAGES[0]
    assert task.weights(50 + 20, 200) == pytest.approx(loss.STAGES[1])
    assert task.weights(160 + 5, 200) == pytest.approx(loss.STAGES[2])
    assert task.weights(50 + 14, 200) != pytest.approx(loss.stage2_weights(loss.STAGES[1], 14, 20))
    assert task.weights(50 + 15, 200) == pytest.approx(loss.stage2_weights(loss.STAGES[1], 15, 20))


def test_even_a_stage_of_one_epoch_has_a_say() -> None:
    assert LowLight().weights(5, 6)["perceptual"] > 0


def test_multipliers_reach_their_terms_and_no_others() -> None:
    plain, changed = LowLight().weights(8, 10), LowLight(ssim_factor=2.0, color_factor=0.5).weights(8, 10)
    ratios = {name: changed[name] / plain[name] for name in plain if plain[name]}
    assert ratios["ssim"] == pytest.approx(2.0)
    assert ratios["color_consistency"] == ratios["color_diversity"] == pytest.approx(0.5)
    assert {ratios[name] for name in ("reconstruction", "edge", "exposure", "mask_mean")} == {1.0}


@pytest.mark.parametrize("batches", [1, 830])
def test_the_mask_goes_on_at_exactly_2e_5_however_many_batches_an_epoch_has(batches: int) -> None:
    """A rate that is cut by 0.1 at each batch, as one program did, is 1e-4 * 0.1^830 = 0.0 after an epoch of 830."""
    task = LowLight()

    def seen(*epochs: int) -> set:
        return {task.rates(_at(epoch, 20, batches, step))["mask"] for epoch in epochs for step in range(batches)}

    assert seen(0, 4) == {1.0}
    assert seen(5, 6, 7) == {0.0}
    assert seen(*range(8, 20)) == {Held(2e-5)}


def test_830_batches_of_an_epoch_are_in_one_stage_with_one_set_of_weights() -> None:
    """Weights and rates are functions of the epoch: nothing is switched, so nothing can be switched twice."""
    task = LowLight()
    moments = [_at(2, 10, 830, step) for step in range(830)]
    assert len({tuple(task.weights(at.epoch, at.epochs).items()) for at in moments}) == 1
    assert len({str(task.rates(at)) for at in moments}) == 1


def test_a_resting_mask_is_bit_identical_after_an_epoch_with_weight_decay() -> None:
    task = LowLight(width=8, restore_width=8, iterations=4, mask_frozen=0.34)
    start = task.edges(6)[0]
    masks = [
        {name: parameter.detach().clone() for name, parameter in progress.model.mask.named_parameters()}
        for progress in fit(task, RECIPE, TINY, seed=0, device="cpu")
    ]
    same = [all(torch.equal(before[name], after[name]) for name in before) for before, after in pairwise(masks)]
    assert start == 2
    assert same == [False, True, True, False, False]  # epochs 2 and 3 rest; 4 and 5 go on, held


def test_the_mask_learns_at_its_own_rate_outside_the_cosine() -> None:
    task = LowLight(width=8, restore_width=8, iterations=4)
    rates = [progress.lr for progress in fit(task, RECIPE, TINY, seed=0, device="cpu")]
    assert rates[-1]["mask"] == rates[-2]["mask"] == 2e-5
    assert rates[-1]["rest"] < 0.2 * RECIPE.lr
    assert rates[0]["curve"] == pytest.approx(2 * rates[0]["rest"])


def test_every_parameter_is_in_exactly_one_group() -> None:
    model = CurveBlendNet()
    groups = LowLight().groups(model)
    assert sorted(map(id, model.parameters())) == sorted(id(p) for members in groups.values() for p in members)
    assert {id(p) for p in groups["mask"]} == {id(p) for p in model.mask.parameters()}
    assert {id(p) for p in groups["curve"]} == {id(p) for p in model.curve.parameters()}


# -- the terms -----------------------------------------------------------------------------------------------------
def test_diversity_has_a_gradient_for_a_picture_that_is_nearly_grey() -> None:
    """Of an exactly grey picture it is 0, by symmetry; the fault is one that stays 0 beside it."""
    grey = _pictures(1)[:, :1].expand(1, 3, 32, 32)
    nearly = (grey + 1e-3 * torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))).clamp(0.1, 0.9)
    nearly.requires_grad_()
    loss.color_diversity(nearly).backward()
    assert float(nearly.grad.abs().sum()) > 0.1


def test_hue_has_its_closed_form_and_a_finite_gradient_for_grey() -> None:
    """Red against blue: their directions away from grey, (2,-1,-1) and (-1,-1,2), have cosine -1/2."""
    red, blue = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    red[:, 0], blue[:, 2] = 1, 1
    assert loss.hue(red, blue).item() == pytest.approx(1.5, rel=1e-4)
    assert loss.hue(red, 0.5 * red).item() == pytest.approx(0.0, abs=1e-4)
    grey = torch.full((1, 3, 4, 4), 0.5, requires_grad=True)
    loss.hue(grey, red).backward()
    assert bool(torch.isfinite(grey.grad).all())


def test_exposure_is_the_difference_of_local_brightness() -> None:
    """Closed form: two flat pictures 0.2 apart."""
    e, t = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), 0.3)
    assert loss.exposure(e, t).item() == pytest.approx(0.2, rel=1e-5)


def test_saturation_that_is_missing_costs_and_what_is_too_much_does_not() -> None:
    pale, vivid = _with_chroma(0.1), _with_chroma(0.4)
    share = lambda e, t: (loss.color_consistency(e, t) - 0.5 * loss.hue(e, t)).item()  # noqa: E731
    chromaticity = nn.functional.mse_loss(
        pale / (pale.sum(1, keepdim=True) + 0.01), vivid / (vivid.sum(1, keepdim=True) + 0.01)
    ).item()
    assert share(vivid, pale) == pytest.approx(chromaticity, rel=1e-4)
    assert share(pale, vivid) > chromaticity + 0.1


def test_a_loss_a_hundred_times_as_large_still_has_a_gradient() -> None:
    """A total that is clamped to [0, 3] has none above its bound."""
    task = LowLight()
    big = {name: 100 * weight for name, weight in task.weights(9, 10).items()}
    e = _pictures(seed=1).requires_grad_()
    total = sum(loss.terms(e, _pictures(), torch.full((2, 1, 32, 32), 0.7), big, "pged").values())
    total.backward()
    assert total.item() > 10
    assert float(e.grad.abs().sum()) > 1


@pytest.mark.parametrize("epoch", [0, 5, 9])
def test_every_term_is_named_finite_and_reaches_the_network(epoch: int) -> None:
    task = LowLight(width=8, restore_width=8, iterations=4)
    torch.manual_seed(0)
    model = task.model()
    batch = next(task.batches("train", TINY, 4, generator("x")))
    terms = task.loss(model, batch, _at(epoch, 10))
    assert tuple(terms) == loss.TERMS
    assert all(term.dim() == 0 and math.isfinite(term.item()) for term in terms.values())
    sum(terms.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_mixed_precision_changes_the_loss_by_little() -> None:
    task = LowLight(width=8, restore_width=8, iterations=4)
    model = _perturbed(task.model())
    batch = next(task.batches("train", TINY, 4, generator("x")))
    exact = sum(task.loss(model, batch, _at(9, 10)).values()).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = sum(task.loss(model, batch, _at(9, 10)).values()).item()
    assert mixed == pytest.approx(exact, rel=0.02)


# -- the scores ----------------------------------------------------------------------------------------------------
class _Given(nn.Module):
    """A network that gives back what it was made with, or its input."""

    def __init__(self, picture: torch.Tensor | None = None) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))
        self.picture = picture

    def forward(self, low_B3HW: torch.Tensor) -> Enhanced:
        made = low_B3HW if self.picture is None else self.picture
        return Enhanced(made, made[:, :1], made, made, made.repeat(1, 8, 1, 1))


def _reached(target: torch.Tensor) -> Batch:
    """Examples whose dark picture is the target already."""
    return Batch(target, target, torch.zeros(len(target), dtype=torch.int64))


def test_the_goal_is_its_published_formula() -> None:
    """Closed form: the target off by 0.1 everywhere has 20 dB; score = 0.7 psnr + 6 ssim, saturation being ample."""
    target = (51 + (_pictures(3) * 100).round()) / 255
    made = target + 26 / 255
    scores = evaluate(LowLight(), _Given(made), [_reached(target)])
    psnr = -20 * math.log10(26 / 255)
    assert scores["psnr_db"] == pytest.approx(psnr, abs=1e-3)
    assert scores["score"] == pytest.approx(0.7 * psnr + 6 * scores["ssim"], abs=1e-4)


def test_a_grey_picture_is_fined_by_what_it_lacks_of_saturation() -> None:
    grey = _pictures(1)[:, :1].expand(1, 3, 32, 32)
    scores = evaluate(LowLight(), _Given(grey), [_reached(grey)])
    assert scores["score"] == pytest.approx(0.7 * scores["psnr_db"] + 6 * scores["ssim"] - 0.10, abs=1e-4)


def test_scores_are_of_pictures_rounded_to_8_bit() -> None:
    """Planted: a picture 0.4 of a level off its target is, as a file, equal to it."""
    target = (_pictures(1) * 255).round().clamp(1, 254) / 255
    scores = evaluate(LowLight(), _Given(target + 0.4 / 255), [_reached(target)])
    assert scores["psnr_db"] == pytest.approx(100.0)


def test_scaling_to_the_targets_mean_forgives_exposure() -> None:
    target = 0.2 + 0.5 * _pictures(2)
    scores = evaluate(LowLight(), _Given(0.5 * target), [_reached(target)])
    assert scores["psnr_gtmean_db"] > scores["psnr_db"] + 20


def test_a_picture_that_is_not_finite_is_skipped_and_counted_and_never_scores_0() -> None:
    target = _pictures(4)
    broken = target.clone()
    broken[1, 0, 3, 3] = math.nan
    scores = evaluate(LowLight(), _Given(broken), [_reached(target)])
    assert scores["skipped"] == 0.25
    assert math.isfinite(scores["score"])
    whole = evaluate(LowLight(), _Given(broken[[0, 2, 3]]), [_reached(target[[0, 2, 3]])])
    assert scores["score"] == pytest.approx(whole["score"])
    nothing = evaluate(LowLight(), _Given(torch.full_like(target, math.nan)), [_reached(target)])
    assert math.isnan(nothing["score"])
    assert nothing["skipped"] == 1.0


def test_the_goal_of_a_set_is_the_mean_over_its_pictures_however_they_are_batched() -> None:
    task, model = LowLight(width=8, restore_width=8, iterations=4), _perturbed(CurveBlendNet(8, 8, 4))
    together = evaluate(task, model, list(task.batches("val", TINY, 4, generator("x"))))
    separate = [evaluate(task, model, [batch])["score"] for batch in task.batches("val", TINY, 1, generator("x"))]
    assert together["score"] == pytest.approx(sum(separate) / len(separate), abs=1e-4)


def test_ms_ssim_is_reported_from_161_pixels_on() -> None:
    for size, reported in ((160, False), (161, True)):
        target = _pictures(1, size)
        assert ("ms_ssim" in evaluate(LowLight(), _Given(target), [_reached(target)])) is reported


# -- rivals, pictures, checks --------------------------------------------------------------------------------------
def test_the_exposure_baselines_hit_what_they_aim_at() -> None:
    """Closed form: the mean that the method was told to reach."""
    x = 0.05 + 0.1 * _pictures(1)[0]
    assert float(baseline.gamma_to_mean(x, 0.4).mean()) == pytest.approx(0.4, abs=1e-3)
    assert float(luma(linear_from_srgb(baseline.gain_to_light(x, 0.1))).mean()) == pytest.approx(0.1, rel=1e-3)


def test_every_baseline_has_the_networks_scores_and_the_oracle_is_named_a_reference() -> None:
    task = LowLight()
    scored = baseline_scores(task, TINY, task.batches("val", TINY, 4, generator("x")))
    model_scores = evaluate(task, task.model(), task.batches("val", TINY, 4, generator("x")))
    assert set(scored["identity"]) == set(model_scores) - set(health(task.model()(_pictures())))
    assert len(scored) == 9
    references = [name for name in scored if name.endswith(REFERENCE)]
    assert references == ["oracle exposure (reference)"]
    rivals = max(scored[name]["psnr_db"] for name in scored if name not in references)
    assert scored[references[0]]["psnr_db"] > rivals > scored["identity"]["psnr_db"]


def test_pictures_show_input_rival_network_and_target() -> None:
    task = LowLight()
    shown = list(task.pictures(task.model().eval(), list(task.batches("val", TINY, 4, generator("x")))))
    assert len(shown) == 4
    for picture in shown:
        assert len(picture.panels) == 4
        assert all(panel.shape == (32, 32, 3) and panel.dtype.name == "uint8" for panel in picture.panels.values())


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("output_std", 0.01, "no-go"),
        ("output_std", 0.2, "go"),
        ("alpha", 0.97, "no-go"),
        ("mask", 0.99, "no-go"),
        ("saturation", 0.03, "no-go"),
        ("skipped", 0.1, "no-go"),
        ("skipped", 0.0, "go"),
    ],
)
def test_a_collapsed_network_is_a_no_go(name: str, value: float, status: str) -> None:
    checks = LowLight().checks(Evidence("preflight", scores={name: value}))
    assert [(check.name, check.status) for check in checks] == [(f"health: {name}", status)]


@pytest.mark.parametrize("stage", ["preflight", "promotion"])
def test_the_signs_of_health_are_checked_at_both_stages(stage: Literal["preflight", "promotion"]) -> None:
    scores = {"output_std": 0.2, "alpha": 0.3, "mask": 0.7, "saturation": 0.4, "skipped": 0.0, "psnr_db": 18.0}
    checks = LowLight().checks(Evidence(stage, scores=scores, history=(epoch(scores=scores),)))
    names = {"health: output_std", "health: alpha", "health: mask", "health: saturation", "health: skipped"}
    assert {(check.name, check.status) for check in checks} == {(name, "go") for name in names}


def test_promotion_needs_the_network_ahead_of_every_rival_but_not_of_a_reference() -> None:
    ours = {"score": 18.0, "psnr_db": 19.0, "ssim": 0.7}
    rivals = {
        "gamma": {"score": 16.0, "psnr_db": 19.5, "ssim": 0.5},
        "oracle (reference)": {"score": 30.0, "psnr_db": 30.0, "ssim": 0.9},
    }
    checks = LowLight().checks(Evidence("promotion", scores=ours, baselines=rivals))
    assert [check.status for check in checks] == ["go", "no-go", "go"]
    assert "above 19.500 (gamma)" in checks[1].allowed


# -- the task ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stage1": 0.7, "stage3": 0.4}, "stage1, stage3"),
        ({"mask_lr": 0.0}, "mask_lr must be above 0"),
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"perceptual": "lpips"}, "one of pged, stlpips"),
    ],
)
def test_a_setting_outside_its_range_is_refused_by_name(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LowLight(**fields)


def test_a_run_repeats_bit_for_bit() -> None:
    task = LowLight(width=8, restore_width=8, iterations=4, dither=0.03)
    runs = [[p.loss for p in fit(task, RECIPE, TINY, seed=3, device="cpu")] for _ in range(2)]
    assert runs[0] == runs[1]


def test_tiers_cost_more_from_one_to_the_next() -> None:
    for cheaper, dearer in ((SMOKE, CHEAP), (CHEAP, FULL), (FULL, FULL_GPU)):
        assert all(getattr(cheaper, key) <= getattr(dearer, key) for key in ("size", "train", "val", "epochs"))


# -- a user's own photographs ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [(200, 173), (128, 64), (37, 300)])
@pytest.mark.parametrize("attention", [True, False])
def test_tiles_give_what_one_pass_gives(monkeypatch, size: tuple[int, int], attention: bool) -> None:
    monkeypatch.setattr(tiles, "TILE", 64)
    monkeypatch.setattr(tiles, "ROWS", 24)
    network = _perturbed(CurveBlendNet(8, 8, attention=attention)).eval()
    low_3HW = 0.3 * torch.rand(3, *size, generator=generator("photograph"))
    with torch.no_grad():
        whole_3HW = network(low_3HW[None]).enhanced_B3HW[0]
    tiled_3HW = tiles.brighten(network, low_3HW)
    assert tiled_3HW.shape == low_3HW.shape
    assert (tiled_3HW / 255 - whole_3HW).abs().max() <= 0.5 / 255 + 1e-5


def test_nothing_beyond_the_reach_changes_a_pixel() -> None:
    """So REACH is enough for the margin of tiles; and it is not much more than enough."""
    network = _perturbed(CurveBlendNet(8, 8)).eval()
    x = torch.rand(1, 3, 160, 160, generator=generator("x"))
    changed = x.clone()
    changed[..., :64] = 0.5  # at the border of a window, which is the worst place for the pixels to its right
    snr, statistics_B10 = torch.rand(1, 1, 160, 160, generator=generator("snr")), torch.zeros(1, 10)
    with torch.no_grad():
        before, after = (network.blend(picture, snr, statistics_B10).enhanced_B3HW for picture in (x, changed))
    differs_W = (before != after).any(1).any(1)[0]
    assert not differs_W[64 + REACH :].any()
    assert differs_W[64 + REACH // 2 :].any()


def test_own_photographs_are_brightened_whole_and_the_same_command_keeps_them(tmp_path: Path, capsys) -> None:
    """Each file is what the exported network makes of it: to the half level that an 8-bit file can be off."""
    dark, out, task = tmp_path / "dark", tmp_path / "out", LowLight(width=8, restore_width=8)
    (dark / "trip").mkdir(parents=True)
    pixels_HW3 = (_pictures(1, 37)[0].permute(1, 2, 0) * 60).byte().numpy()
    Image.fromarray(pixels_HW3).save(dark / "trip" / "night.webp", lossless=True)
    network = _perturbed(task.model()).eval()
    main = partial(apply.main, [str(exported(tmp_path / "winner", task, network)), str(dark), str(out)])
    assert main() == 0
    shown = capsys.readouterr()
    assert shown.out == f"{out / 'trip' / 'night.png'}\n"
    assert shown.err == "1 made\n"
    with torch.no_grad():
        made = network(torch.from_numpy(pixels_HW3).permute(2, 0, 1)[None] / 255).enhanced_B3HW[0]
    assert (read_image(out / "trip" / "night.png") - made).abs().max() <= 0.5 / 255 + 1e-5
    written = (out / "trip" / "night.png").stat()
    assert main() == 0
    assert "1 kept from an earlier run" in capsys.readouterr().err
    assert (out / "trip" / "night.png").stat() == written


def test_every_file_that_cannot_be_brightened_is_named_and_the_others_are_written(tmp_path: Path, capsys) -> None:
    dark, out, winner = tmp_path / "dark", tmp_path / "out", exported(tmp_path / "winner", LowLight(width=8))
    dark.mkdir()
    for name in ("night.png", "night.jpg"):
        Image.new("RGB", (40, 40)).save(dark / name)
    (dark / "broken.jpg").write_bytes(b"not a picture")
    (dark / "cut.png").write_bytes((dark / "night.png").read_bytes()[:60])
    (dark / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert apply.main([str(winner), str(dark), str(out)]) == 1
    shown = capsys.readouterr()
    assert shown.out.split() == [str(out / "night.jpg.png"), str(out / "night.png.png")]
    for line in ("broken.jpg: cannot read", "cut.png: cannot read", "HEIC is not read", "2 made, 2 failed, 1 skipped"):
        assert line in shown.err


def test_a_wrong_winner_and_files_of_others_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    dark, out, winner = tmp_path / "dark", tmp_path / "out", exported(tmp_path / "winner", LowLight(width=8))
    dark.mkdir()
    Image.new("RGB", (40, 40)).save(dark / "night.png")
    with pytest.raises(SystemExit, match="holds a Toy; an exported LowLight is needed"):
        apply.main([str(exported(tmp_path / "other", Toy())), str(dark), str(out)])
    with pytest.raises(SystemExit, match=r"there is no card\.json in it"):
        apply.main([str(tmp_path), str(dark), str(out)])
    assert not out.exists()
    out.mkdir()
    (out / "night.png").write_bytes(b"mine")
    with pytest.raises(SystemExit, match=r"night\.png is there already"):
        apply.main([str(winner), str(dark), str(out)])
    assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]
