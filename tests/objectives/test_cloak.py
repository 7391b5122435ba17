"""The bounded change, its loss and scores, and how photographs, critics and splits fit together.

Expected values come from closed forms, from torch's own arithmetic, and from planted inputs; each test says which. Many
are named after a fault that programs of this kind have had. The critics are smaller than the shipped ones.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hpo import Epoch, Evidence, Fidelity, Moment, Recipe, fit, generator
from hpo.engine.evaluation import evaluate
from objectives.cloak import CHEAP, FULL, FULL_GPU, SMOKE, Cloaking, data, encoders, handling, loss, scores, tier
from objectives.cloak.data import Batch
from objectives.cloak.model import (
    RAW_LIMIT,
    Cloak,
    Cloaked,
    apply_change,
    centre_zone,
    folded_share,
    texture_mask,
    upsample,
)
from objectives.cloak.site import Site
from objectives.common import perceptual
from objectives.common.colour import as_float, round8
from tests.epochs import epoch
from tests.objectives.baselines import baseline_scores

TINY = tier(size=48, val=2, steps=6, epochs=2)
TINYFACE = {"critic": "tinyface", "judge": "tinyface-wide"}
TASK = Cloaking(size=48, val_photos=2, handled=False, warp_limit=0.03, colour=1.0, **TINYFACE)
RECIPE = Recipe(lr=1.0, batch_size=2, weight_decay=0.0, warmup=0.0, final_lr=1.0, clip=1e9)
START = Moment(0, 1, 0, 1)


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


def _batch(task: Cloaking = TASK, fidelity: Fidelity = TINY) -> Batch:
    return next(task.batches("val", fidelity, 64, generator("any")))


def _model(task: Cloaking = TASK, seed: int = 0) -> Cloak:
    torch.manual_seed(seed)
    return task.model()


def _fill(model: Cloak, noise: float, grid: float) -> Cloak:
    with torch.no_grad():
        for kind, value in ((model.noise, noise), (model.grid, grid)):
            for parameter in kind:
                parameter.fill_(value)
    return model


def _gradients(task: Cloaking, model: Cloak, batch: Batch) -> Tensor:
    sum(task.loss(model, batch, START).values()).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


# -- bounds that let a gradient live -------------------------------------------------------------------------------
def _pulled_back(change, raw: Tensor, project) -> float:
    """Where the mean change ends that starts at its bound and is pulled to -0.03 for 80 steps of Adam."""
    raw = raw.clone().requires_grad_()
    optimizer = torch.optim.Adam([raw], lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        (change(raw) + 0.03).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            project(raw)
    return float(change(raw).detach().mean())


def test_a_clamped_change_stops_learning_at_its_bound_and_a_tanh_goes_on() -> None:
    """Planted: a change at its upper bound, and a target on the other side. The clamp's gradient is exactly 0."""
    start = torch.full((3, 8, 8), RAW_LIMIT)
    by_tanh = _pulled_back(lambda raw: 0.05 * torch.tanh(raw), start, lambda raw: raw.clamp_(-RAW_LIMIT, RAW_LIMIT))
    by_clamp = _pulled_back(lambda raw: raw.clamp(-0.05, 0.05), torch.full((3, 8, 8), 0.051), lambda raw: None)
    assert by_clamp == pytest.approx(0.05)
    assert by_tanh < -0.02


def test_the_model_itself_comes_back_from_its_bound() -> None:
    """Planted: every raw parameter at its limit; the change and the warp are pulled to the other side."""
    model = _fill(Cloak(1, 16, warp_limit=0.03), RAW_LIMIT, RAW_LIMIT)
    photo, number = torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, dtype=torch.int64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        made = model(photo, number)
        ((made.change_B3QQ + 0.03).square().mean() + (made.flow_B2QQ + 0.02).square().mean()).backward()
        optimizer.step()
        model.project()
    made = model(photo, number)
    assert made.change_B3QQ[..., 4:-4, 4:-4].mean() < -0.02
    assert made.flow_B2QQ[..., 4:-4, 4:-4].mean() < -0.01


def test_tanh_dies_too_far_out_and_the_limit_stays_where_it_lives() -> None:
    """Judge: torch's own tanh. Its slope rounds to 0 in float32 near 9; at the limit it is 1 - tanh(3)^2 = 0.00987."""
    far = torch.tensor([9.1, RAW_LIMIT], requires_grad=True)
    torch.tanh(far).sum().backward()
    assert far.grad[0] == 0
    assert far.grad[1] == pytest.approx(1 - math.tanh(3) ** 2, rel=1e-4)
    model = _fill(Cloak(1, 16), 20.0, -20.0)
    model.project()
    assert max(p.abs().max().item() for p in model.parameters()) == RAW_LIMIT


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_neither_changes_the_picture_nor_kills_the_slope(dtype: torch.dtype) -> None:
    """tanh(3) is 0.9951; bfloat16 would call it 0.9961, and its slope at 3.5 is 0."""
    model = _fill(Cloak(1, 16), RAW_LIMIT, RAW_LIMIT)
    photo, number = torch.rand(1, 3, 16, 16), torch.zeros(1, dtype=torch.int64)
    plain = model(photo, number)
    with torch.autocast("cpu", dtype=dtype):
        made = model(photo, number)
    assert made.image_B3SS.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(made, plain, strict=True))
    made.change_B3QQ.sum().backward()
    assert model.noise[0].grad[:, 4:-4, 4:-4].min() > 4e-4  # 0.05 (1 - tanh(3)^2) = 4.9e-4, where the window is 1


def test_no_change_is_a_stationary_point_so_the_start_is_random() -> None:
    """The dissimilarity of a vector from itself is at its minimum: its gradient vanishes."""
    lone = replace(TASK, visible_weight=0.0, rough_weight=0.0, vertical_weight=0.0)
    at_zero = _gradients(lone, _fill(_model(lone), 0.0, 0.0), _batch()).norm()
    at_start = _gradients(lone, _model(lone), _batch()).norm()
    assert at_zero < 1e-4 * at_start
    assert all(parameter.abs().min() > 0 for parameter in _model().parameters())


@pytest.mark.parametrize("form", [{}, {"textured": True}, {"centred": True, "anchoring": 0.3}])
def test_noise_and_warp_stay_within_their_bounds_whatever_the_parameters(form: dict) -> None:
    """Closed form: tanh is below 1, masks are at most 1, and bilinear interpolation makes no new extremes."""
    torch.manual_seed(0)
    model = Cloak(2, 48, grid=7, **form)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(30 * torch.randn_like(parameter))
    made = model(torch.rand(2, 3, 48, 48), torch.arange(2))
    assert made.change_B3QQ.abs().max() <= 0.05 + 1e-8
    assert made.flow_B2QQ.abs().max() <= 0.015 + 1e-8
    assert made.image_B3SS.min() >= 0
    assert made.image_B3SS.max() <= 1


@pytest.mark.parametrize(("colour", "apart"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_the_channels_of_the_noise_part_by_a_share(colour: float, apart: float) -> None:
    """Planted: red at its upper bound, blue at its lower one; their distance is that share of the whole one."""
    model = _fill(Cloak(1, 16, colour=colour), 0.0, 0.0)
    with torch.no_grad():
        model.noise[0][0], model.noise[0][2] = RAW_LIMIT, -RAW_LIMIT
    change = model(torch.full((1, 3, 16, 16), 0.5), torch.zeros(1, dtype=torch.int64)).change_B3QQ[0, :, 8, 8]
    assert (change[0] - change[2]).item() == pytest.approx(apart * 0.1 * math.tanh(3), abs=1e-6)
    assert change.mean().item() == pytest.approx(0, abs=1e-6)


def test_bicubic_stretching_would_leave_the_bound() -> None:
    """Judge: torch's bicubic interpolation of a grid of +-0.03, which this is why we do not use."""
    signs = 0.03 * torch.rand(1, 2, 12, 12, generator=generator("signs")).sub(0.5).sign()
    assert upsample(signs, (96, 96)).abs().max() <= 0.03
    assert F.interpolate(signs, (96, 96), mode="bicubic", align_corners=False).abs().max() > 0.04


@pytest.mark.parametrize("shape", [(33, 33), (48, 31)])
def test_nothing_added_and_nothing_moved_gives_the_photograph_back(shape: tuple[int, int]) -> None:
    """Closed form. Corners aligned in one place and not in another would be off by 0.7 on 33 pixels."""
    photo = torch.rand(1, 3, *shape, generator=generator("photo"))
    nothing = torch.zeros(1, 3, *shape)
    assert torch.allclose(apply_change(photo, nothing, nothing[:, :2]), photo, atol=1e-5)
    identity = F.affine_grid(torch.eye(2, 3)[None], [1, 3, *shape], align_corners=True)
    mixed = F.grid_sample(photo, identity, padding_mode="border", align_corners=False)
    assert (mixed - photo).abs().max() > 0.3


def test_a_warp_of_003_is_one_and_a_half_percent_of_the_side() -> None:
    """Closed form: coordinates run over 2, so 0.03 of 200 pixels is 3 pixels, on a ramp of 1 level a pixel."""
    ramp = (torch.arange(200) / 200).expand(1, 3, 200, 200)
    flow = torch.zeros(1, 2, 200, 200)
    flow[:, 0] = 0.03
    moved = apply_change(ramp, torch.zeros_like(ramp), flow)
    assert ((moved - ramp)[..., :190] * 200).mean() == pytest.approx(3, abs=1e-3)
    made = Cloaked(moved, torch.zeros_like(ramp), flow)
    of_change = scores.change_scores(made, 0.05, torch.zeros(1))
    assert of_change["warp_max_px"].item() == pytest.approx(3)
    assert of_change["warp_max"].item() == pytest.approx(0.03)


def test_a_change_made_small_keeps_its_bounds_on_a_large_photograph() -> None:
    """Closed form: a grey photograph with nothing moved differs from itself by the stretched change."""
    photo = torch.full((1, 3, 130, 75), 0.5)
    change = 0.05 * torch.rand(1, 3, 16, 16, generator=generator("c")).sub(0.5).sign()
    large = apply_change(photo, change, torch.zeros(1, 2, 16, 16))
    assert large.shape == photo.shape
    assert (large - photo).abs().max() <= 0.05 + 1e-6


def test_the_clamp_at_black_and_white_lets_gradients_through() -> None:
    """Planted: a white photograph, which only darker noise can change. Through a plain clamp nothing could learn."""
    change = torch.full((1, 3, 8, 8), 0.04, requires_grad=True)
    image = apply_change(torch.ones(1, 3, 8, 8), change, torch.zeros(1, 2, 8, 8))
    assert image.max() == 1
    image.sum().backward()
    assert change.grad.abs().min() > 0.5


def test_a_warp_that_turns_pixels_over_is_counted() -> None:
    """Closed form: u = -2x has determinant -1 everywhere; u = 0 and a gentle u = -x/2 fold nothing."""
    x = (torch.arange(16) + 0.5) / 8 - 1
    flow = torch.zeros(3, 2, 16, 16)
    flow[0, 0], flow[1, 0] = -2 * x, -0.5 * x
    assert folded_share(flow).tolist() == [1.0, 0.0, 0.0]


def test_masks_only_ever_lessen_a_change() -> None:
    """Closed forms: no texture is 0.1 everywhere, the steepest edge 1; the bell is largest in the middle."""
    edge = torch.zeros(1, 3, 16, 16)
    edge[..., 8:] = 1
    assert texture_mask(edge).min() == pytest.approx(0.1)
    assert texture_mask(edge).max() == 1
    assert texture_mask(torch.full((1, 3, 16, 16), 0.3)).unique().tolist() == pytest.approx([0.1])
    wide, narrow = centre_zone(96, 0.0), centre_zone(96, 1.0)
    assert wide.max() <= 1
    assert wide[48, 48] > 0.99
    at = 0.3 * 96  # from the middle, along a row: exp(-1), and exp(-3) when anchored fully
    assert wide[47, 47 + round(at)] == pytest.approx(math.exp(-1), rel=0.05)
    assert narrow[47, 47 + round(at)] == pytest.approx(math.exp(-3), rel=0.1)


# -- the loss ------------------------------------------------------------------------------------------------------
WEIGHTS = loss.Weights(
    identity=5, visible=40, rough=0.02, vertical=0.5, reach=3, visible_goal=0.05, noise_limit=0.05, warp_limit=0.03
)


def _still(count: int = 2) -> Cloaked:
    return Cloaked(torch.zeros(count, 3, 8, 8), torch.zeros(count, 3, 8, 8), torch.zeros(count, 2, 8, 8))


def test_a_photograph_far_enough_from_itself_is_left_alone() -> None:
    """Closed form: relu has no slope below 0; above it the slope is the weight, shared by the critics."""
    separation = torch.tensor([[3.1, 2.5], [3.5, 3.2]], requires_grad=True)  # a row for each critic
    terms = loss.terms(_still(), separation, torch.zeros(2), WEIGHTS)
    terms["identity"].backward()
    assert separation.grad.tolist() == [[0, -2.5], [0, 0]]
    assert terms["identity"].item() == pytest.approx(5 * 0.5 / 2)


def test_a_visible_change_below_the_limit_costs_nothing() -> None:
    """Closed form, as above."""
    seen = torch.tensor([0.049, 0.07], requires_grad=True)
    terms = loss.terms(_still(), torch.full((1, 2), 9.0), seen, WEIGHTS)
    terms["visible"].backward()
    assert seen.grad.tolist() == [0, 40]
    assert terms["visible"].item() == pytest.approx(40 * 0.02)


def test_roughness_and_vertical_warps_are_measured_in_units_of_their_bounds() -> None:
    """Closed forms: stripes of +-0.05 have a variation of 0.1 across; a downward warp at its bound is 1."""
    made = _still(1)
    made.change_B3QQ[..., 0::2], made.change_B3QQ[..., 1::2] = 0.05, -0.05
    made.flow_B2QQ[:, 1] = -0.03
    terms = loss.terms(made, torch.zeros(1, 1), torch.zeros(1), WEIGHTS)
    assert terms["rough"].item() == pytest.approx(0.02 * 0.1 / 0.05)
    assert terms["vertical"].item() == pytest.approx(0.5)
    made.flow_B2QQ[:] = 0
    made.flow_B2QQ[:, 0] = 0.03  # across is free
    assert loss.terms(made, torch.zeros(1, 1), torch.zeros(1), WEIGHTS)["vertical"].item() == 0


def test_terms_are_sums_so_that_photographs_side_by_side_do_not_share_a_step() -> None:
    """Closed form: two equal photographs cost twice as much as one."""
    one = loss.terms(_still(1), torch.tensor([[0.8]]), torch.tensor([0.1]), WEIGHTS)
    two = loss.terms(_still(2), torch.tensor([[0.8] * 2]), torch.tensor([0.1] * 2), WEIGHTS)
    assert all(two[name].item() == pytest.approx(2 * one[name].item()) for name in one)


def test_the_gradient_of_one_photograph_does_not_know_its_neighbour() -> None:
    batch, model = _batch(), _model()
    together = _gradients(TASK, model, batch)
    own = model.noise[0].grad.clone()
    model.zero_grad()
    alone = Batch(*(field[:1] for field in batch))
    sum(TASK.loss(model, alone, START).values()).backward()
    assert torch.isfinite(together).all()
    assert torch.allclose(model.noise[0].grad, own, atol=1e-6, rtol=1e-3)
    assert model.noise[1].grad is None  # so Adam leaves it and its moments alone


def test_protected_alone_or_side_by_side_it_comes_out_the_same() -> None:
    """Three steps each. Adam amplifies the last bits of a gradient, so the pictures agree to 2e-3."""
    made = []
    for size in (1, 2):
        fidelity = tier(size=48, val=2, steps=3, epochs=1, batch=size)
        last = list(fit(TASK, replace(RECIPE, batch_size=size), fidelity, seed=3, device="cpu"))[-1]
        with torch.no_grad():
            made.append(last.model(_batch().photo_B3SS, _batch().number_B).image_B3SS)
    assert (made[0] - made[1]).abs().max() < 2e-3


def test_nothing_is_clipped_over_all_photographs() -> None:
    """One gradient norm over all photographs would make each one's step depend on the others."""
    from studies.cloak import study

    assert study.recipe.clip >= 1e6
    assert study.recipe.weight_decay == 0


# -- scores --------------------------------------------------------------------------------------------------------
def test_an_unchanged_photograph_is_wholly_exposed() -> None:
    """Closed form: separation 0 from itself, no visible change."""
    scored = baseline_scores(TASK, TINY, [_batch()])["identity"]
    assert scored["separation_critic"] == pytest.approx(0, abs=1e-5)
    assert scored["separation"] == pytest.approx(0, abs=1e-5)
    assert scored["exposure"] == pytest.approx(1 - scored["separation_jpeg"])
    assert scored["unmatched"] == scored["unmatched_unseen"] == scored["visible_pged"] == 0
    assert scored["ssim"] == pytest.approx(1)


def test_a_negative_is_not_matched_but_seen() -> None:
    """Planted: what was light is dark, so the standardised pictures are opposites. The change is far beyond the limit,
    which the goal charges tenfold."""
    scored = TASK.image_scores(1 - _batch().photo_B3SS, _batch())
    assert scored["unmatched"].tolist() == [1, 1]
    assert scored["unmatched_unseen"].tolist() == [0, 0]
    assert scored["critic_in_limit"].tolist() == [1, 1]
    expected = torch.relu(1 - scored["separation_jpeg"]) + 10 * (scored["visible_pged"] - TASK.visible_limit)
    assert torch.allclose(scored["exposure"], expected)


def test_separation_is_dissimilarity_over_that_at_the_threshold() -> None:
    """Closed form, from cosines that torch takes, and the measured threshold."""
    encoder, threshold = encoders.critic("tinyface"), encoders.calibration("tinyface").match_threshold
    a, b = (encoder.embed(photo, torch.zeros(2, 5, 2)) for photo in (_batch().photo_B3SS, 1 - _batch().photo_B3SS))
    expected = (1 - F.cosine_similarity(a, b)) / (1 - threshold)
    assert torch.allclose(encoders.separation(encoder, a, b), expected, atol=1e-5)


def test_a_site_matches_the_original_and_the_persons_others_and_nobody_elses() -> None:
    """Planted vectors on a circle: 0 is changed to 170 degrees; its person also has one at 100, another at 165."""
    angles = torch.deg2rad(torch.tensor([0.0, 100.0, 165.0]))
    vectors = torch.stack([angles.cos(), angles.sin()], 1)
    others = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    changed = torch.deg2rad(torch.tensor([170.0]))
    vector = torch.stack([changed.cos(), changed.sin()], 1)
    judge = encoders.critic("tinyface")
    separation = Site(vectors, others).nearest(judge, vector, torch.tensor([0]))
    assert separation.item() == pytest.approx((1 - math.cos(math.radians(70))) / encoders.match_limit("tinyface"))


def test_uniform_noise_of_005_is_what_pged_is_measured_in() -> None:
    """By definition, with the very noise that the unit is taken from."""
    reference = _batch().reference_B3SS
    unit = loss.unit_distance("pged", reference)
    rng = torch.Generator().manual_seed(0)
    noisy = (reference + 0.05 * (2 * torch.rand(reference.shape[1:], generator=rng) - 1)).clamp(0, 1)
    assert loss.visible_change("pged", noisy, reference, unit).tolist() == pytest.approx([0.05] * 2)


def test_scores_are_of_the_picture_that_a_file_would_hold() -> None:
    """Judge: rounding to n/255 beforehand changes nothing; truncating would darken by half a level."""
    batch = _batch()
    image = (batch.photo_B3SS + 0.01).clamp(0, 1)
    plain, rounded = (TASK.image_scores(x, batch) for x in (image, round8(image)))
    assert all(torch.equal(plain[name], rounded[name]) for name in plain)


def test_blur_half_size_and_jpeg_do_what_they_say() -> None:
    """Closed forms: a constant stays itself; a Gaussian of 2 pixels spreads a point so far; JPEG of a smooth ramp is
    near it, and nearer at a higher quality."""
    flat = torch.full((1, 3, 16, 16), 0.25)
    assert torch.allclose(handling.gaussian_blur(flat, 2.0), flat)
    assert torch.allclose(handling.resized_and_back(flat, 0.5), flat)
    lone = torch.zeros(1, 3, 41, 41)
    lone[..., 20, 20] = 1
    spread, at = handling.gaussian_blur(lone, 2.0)[0, 0], torch.arange(41) - 20.0
    assert spread.sum() == pytest.approx(1)
    assert (spread.sum(0) * at.square()).sum() == pytest.approx(4, rel=0.03)  # the variance, cut off at 3 sigma
    ramp = (torch.arange(32) / 31).expand(1, 3, 32, 32)
    coarse, fine = ((handling.as_jpeg(ramp, quality) - ramp).abs().mean() for quality in (20, 95))
    assert 0 < fine < coarse < 0.03


def test_the_worst_photograph_shows_in_the_scores_named_so() -> None:
    columns = {"visible_max": torch.tensor([0.1, 0.3]), "ssim": torch.tensor([0.1, 0.3])}
    assert TASK.metrics(columns) == pytest.approx({"visible_max": 0.3, "ssim": 0.2})


def test_a_missing_perceptual_backend_is_an_error_and_never_replaced(monkeypatch) -> None:
    monkeypatch.setattr(perceptual, "STLPIPS", replace(perceptual.STLPIPS, package="no_such_package"))
    perceptual._stlpips_model.cache_clear()
    with pytest.raises(ValueError, match="stlpips-pytorch"):
        replace(TASK, perceptual="stlpips").loss(_model(), _batch(), START)
    perceptual._stlpips_model.cache_clear()
    assert "visible_pged" in TASK.image_scores(_batch().photo_B3SS, _batch())


# -- a run ---------------------------------------------------------------------------------------------------------
def test_a_few_steps_lower_the_match_within_the_bounds() -> None:
    fidelity = tier(size=48, val=2, steps=10, epochs=2)
    task = replace(TASK, visible_weight=0.0, noise_lr=0.3)
    last = list(fit(task, RECIPE, fidelity, seed=1, device="cpu"))[-1]
    assert last.scores["separation_critic"] > 0.2
    assert last.scores["separation"] > 0.03
    assert last.scores["change_max"] <= 0.05
    assert last.scores["warp_max"] <= 0.03
    assert last.scores["raw_max"] <= RAW_LIMIT
    assert last.scores["folded"] == 0


def test_the_same_seed_gives_the_same_photographs_bit_for_bit_and_another_others() -> None:
    def run(seed: int) -> Tensor:
        model = list(fit(TASK, RECIPE, TINY, seed=seed, device="cpu"))[-1].model
        with torch.no_grad():
            return model(_batch().photo_B3SS, _batch().number_B).image_B3SS

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_what_is_kept_is_what_scored_best_and_not_the_step_after_it() -> None:
    """Planted: a rate so high that a later epoch is worse. The kept weights score what was reported."""
    task, fidelity = replace(TASK, noise_lr=0.5, visible_weight=2.0), tier(size=48, val=2, steps=24, epochs=8)
    last = list(fit(task, RECIPE, fidelity, seed=1, device="cpu"))[-1]
    model = task.model()
    model.load_state_dict(last.best_weights)
    assert evaluate(task, model, [_batch()])["exposure"] == pytest.approx(last.best, abs=1e-6)
    assert last.best < last.value


def test_critics_learn_nothing_while_they_criticise() -> None:
    list(fit(TASK, RECIPE, TINY, seed=1, device="cpu"))
    assert encoders.critic("tinyface").untouched()
    assert encoders.critic("tinyface-wide").untouched()
    spoiled = encoders.Critic("x", torch.nn.Flatten(), encoders.whole_photograph(4))
    spoiled.encoder.weight = torch.nn.Parameter(torch.ones(1))
    assert not spoiled.untouched()


@pytest.mark.parametrize("seed", range(6))
def test_gradients_of_a_handled_photograph_are_finite_and_the_size_is_kept(seed: int) -> None:
    """Resized, JPEG or noisy. The JPEG's own gradient would be 0 almost everywhere; here it is that of the identity.
    Resizing keeps the sum of gradients."""
    image = torch.rand(1, 3, 48, 48, requires_grad=True)
    torch.manual_seed(seed)
    handled = handling.handled(image)
    handled.sum().backward()
    assert handled.shape == image.shape
    assert not torch.equal(handled, image)
    assert torch.isfinite(image.grad).all()
    assert image.grad.mean() == pytest.approx(1, abs=0.01)


# -- photographs, critics and splits -------------------------------------------------------------------------------
def _configured(fidelity: Fidelity) -> Cloaking:
    return replace(
        Cloaking(),
        **{name.removeprefix("task."): value for name, value in fidelity.fixed.items() if name.startswith("task.")},
    )


def test_a_sweep_holds_no_photograph_that_the_verdict_is_given_on() -> None:
    cheap, full = (_configured(tier_) for tier_ in (CHEAP, FULL))
    tested = set(full.photographs("test", FULL.examples("test")).origins)
    assert not tested & set(cheap.held().origins)
    assert tested <= set(full.held().origins)
    served = [row for batch in cheap.batches("train", CHEAP, 8, generator("a")) for row in batch.number_B.tolist()]
    assert sorted(set(served)) == list(range(8))


def test_no_critic_has_learned_a_face_that_is_protected() -> None:
    protected = {*data.FACES["val"], *data.FACES["test"]}
    assert not protected & set(data.CRITICS_LEARN_FROM)
    assert not set(data.FACES["val"]) & set(data.FACES["test"])


def test_splits_share_no_photograph_with_its_critic_and_preflight_would_see_a_judge_that_was_attacked() -> None:
    def shared(task: Cloaking) -> set[str]:
        origins = [task.origins(split, FULL) for split in ("train", "val", "test")]
        return (origins[0] & origins[1]) | (origins[0] & origins[2]) | (origins[1] & origins[2])

    honest = replace(_configured(FULL), **TINYFACE)
    assert not shared(honest)
    assert shared(replace(honest, judge="tinyface"))


@pytest.mark.parametrize("fidelity", [SMOKE, CHEAP, FULL])
def test_an_epoch_gives_every_photograph_as_many_steps_and_none_twice_in_a_batch(fidelity: Fidelity) -> None:
    task, size = _configured(fidelity), fidelity.fixed["recipe.batch_size"]
    batches = [b.number_B.tolist() for b in task.batches("train", fidelity, size, generator("epoch"))]
    assert len(batches) == math.ceil(fidelity.train / size)
    assert all(len(set(batch)) == len(batch) for batch in batches)
    counts = torch.bincount(torch.tensor([number for batch in batches for number in batch]))
    assert counts.min() == counts.max()


def test_val_and_test_find_their_own_parameters() -> None:
    task = _configured(SMOKE)
    held = task.held()
    for split in ("val", "test"):
        for batch in task.batches(split, SMOKE, 1, generator("any")):
            assert torch.equal(batch.photo_B3SS, as_float(held.rgb_N3SS[batch.number_B]))


def test_a_photograph_that_is_not_held_is_refused() -> None:
    batch = next(TASK.batches("test", TINY, 2, generator("any")))
    with pytest.raises(ValueError, match="photograph 3 has no parameters: this model holds 2"):
        _model()(batch.photo_B3SS, batch.number_B)


def test_a_fidelity_that_was_not_made_by_tier_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tier\(\)"):
        next(TASK.batches("train", Fidelity(size=96, train=8, val=8, epochs=1), 8, generator("any")))
    with pytest.raises(ValueError, match="multiple of epochs"):
        tier(size=48, val=2, steps=10, epochs=4)


def test_the_overfit_check_gets_its_photographs() -> None:
    """Its fidelity names no number of validation examples."""
    fidelity = Fidelity(size=48, train=2, epochs=1)
    batches = list(TASK.batches("train", fidelity, 2, generator("overfit")))
    assert [len(batch.number_B) for batch in batches] == [2]


def test_tiers_pin_what_the_model_needs_to_know() -> None:
    for fidelity in (SMOKE, CHEAP, FULL, FULL_GPU):
        task = _configured(fidelity)
        assert task.size == fidelity.size
        assert task.val_photos == fidelity.val
        assert fidelity.train % (task.val_photos + task.test_photos) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_limit": 0.0}, "task.noise_limit must be above 0"),
        ({"reach": 0.0}, "task.reach must be above 0"),
        ({"judge": "tinyface"}, "task.judge must be a face matcher where the critic is one"),
        ({"judge": "dlib+sface"}, "task.judge must be a single encoder"),
        ({"critic": "dlib+dlib"}, "an encoder is named twice in 'dlib.dlib'"),
        ({"size": 100}, "task.size must be a multiple of 6 for face matchers"),
        ({"grid": 1}, "task.grid must be at least 2"),
        ({"perceptual": "l1"}, "task.perceptual must be one of pged, stlp"),
        ({"critic": "facenet"}, "a critic must be dlib, sface, tinyface, tinyface-wide or siglip:DIR"),
        ({"judge": "siglip:"}, "a critic must be"),
        ({"visible_weight": -1.0}, "task.visible_weight must be at least 0"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cloaking(**change)


# -- checks and baselines ------------------------------------------------------------------------------------------
def _status(task: Cloaking, evidence: Evidence) -> dict[str, str]:
    return {check.name: check.status for check in task.checks(evidence)}


def test_baselines_keep_the_bounds_and_hide_nobody() -> None:
    """Spec of a method that knows no encoder: the photographs still match."""
    baselines = baseline_scores(TASK, TINY, [_batch()])
    kinds = ("noise, as visible", "blur, as visible", "JPEG, as visible", "warp, as visible")
    assert set(baselines) > {"identity", "uniform noise", "random warp", "JPEG 10", "blur of 2 pixels", *kinds}
    assert all(scored["unmatched"] == 0 for scored in baselines.values())
    for name in kinds:
        assert baselines[name]["visible_pged"] <= TASK.visible_limit + 0.001
    for name in ("noise, as visible", "warp, as visible"):
        assert baselines[name]["visible_pged"] == pytest.approx(TASK.visible_limit, abs=0.003)
    photo = _batch().photo_B3SS[0]
    for name in ("uniform noise", "smooth sign noise"):
        assert (TASK.methods()[name](photo) - photo).abs().max() <= 0.05 + 1e-6


def test_checks_tell_a_broken_bound_a_loud_change_and_a_judge_that_was_attacked() -> None:
    good = {
        "change_max": 0.05,
        "warp_max": 0.03,
        "raw_max": 3.0,
        "folded": 0.0,
        "visible_pged": 0.02,
        "visible_max": 0.025,
        "exposure": 0.5,
    }
    baselines = {"identity": {"separation": 0.0, "exposure": 1.0}}
    history = (epoch(0, scores={"separation_critic": 0.1}), epoch(1, scores={"separation_critic": 0.6}))
    sound = _status(TASK, Evidence("promotion", good, history, baselines))
    assert [name for name, status in sound.items() if status != "go" and "recognises" not in name] == []
    bad = {
        "change_max": 0.051,
        "warp_max": 0.031,
        "raw_max": 3.1,
        "folded": 0.01,
        "visible_pged": 0.03,
        "visible_max": 0.05,
        "exposure": 1.1,
    }
    broken = _status(replace(TASK, judge="tinyface"), Evidence("promotion", bad, history[::-1], baselines))
    assert {name for name, status in broken.items() if status == "no-go"} >= {
        *(f"{name} is within its limit" for name in bad if name != "exposure"),
        "critic and judge are different encoders",
        "the separation from the original grows",
        "beats every change that uses no encoder",
    }


@pytest.mark.parametrize("stage", ["preflight", "promotion"])
def test_a_separation_that_does_not_grow_is_a_no_go_at_both_stages(stage: Literal["preflight", "promotion"]) -> None:
    def status(history: tuple[Epoch, ...]) -> str:
        return _status(TASK, Evidence(stage, history=history))["the separation from the original grows"]

    history = (epoch(0, scores={"separation_critic": 0.1}), epoch(1, scores={"separation_critic": 0.6}))
    assert status(history) == "go"
    assert status(history[::-1]) == "no-go"


def test_a_start_without_slope_is_found_before_any_money_is_spent() -> None:
    assert _status(TASK, Evidence("preflight"))["gradients at the first step"] == "go"
    assert (
        _status(replace(TASK, identity_weight=0.0, rough_weight=0.0, vertical_weight=0.0), Evidence("preflight"))[
            "gradients at the first step"
        ]
        == "no-go"
    )


def test_pictures_show_before_after_and_what_was_changed() -> None:
    task = replace(_configured(SMOKE), **TINYFACE)
    rows = list(task.pictures(task.model().eval(), list(task.batches("test", SMOKE, 1, generator("any")))))
    assert list(rows[0].panels) == ["original", "changed", "change x 4", "warp x 2", "noise, as visible"]
    assert {panel.shape for panel in rows[0].panels.values()} == {(192, 192, 3)}
    assert '"type":"scatter"' in rows[-1].figure_json
