"""HDR: the residual's bounds, the network, loss, scores, fills, parallax, and the task's promises.

Expected values come from closed forms and planted truths; each test says which where it is not plain.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio

from hpo import REFERENCE, Epoch, Evidence, Fidelity, fit, generator, load_winner, put
from hpo.checking.overfit_checks import Bands
from hpo.engine.evaluation import evaluate
from hpo.trial.record import Outcome, read_outcome, write_outcome
from objectives.hdr import CHEAP, FULL, FULL_GPU, HDR, SMOKE, baseline, fill, loss, parallax, pictures
from objectives.hdr.data import EPS, Batch, log_light, mirrored, without_layers
from objectives.hdr.loss import score_references
from objectives.hdr.model import HARD_CLAMP, Filled, LogResidualUNet, contrast, normalised, predict
from studies.hdr import study
from tests.epochs import epoch
from tests.objectives.baselines import baseline_scores
from tests.objectives.exported import exported

TINY = Fidelity(size=32, train=8, val=4, epochs=1)
COMPOSED = HDR(scenes="composed", flip=False, layers_absent=0.0)  # its examples are made in milliseconds, and fixed


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(count: int = 4, split: str = "train") -> Batch:
    return next(COMPOSED.batches(split, replace(TINY, train=count, val=count), count, _rng()))


def _random_inputs(scale: float = 1.0, size: int = 32) -> tuple[Tensor, ...]:
    warped = scale * torch.rand(2, 3, size, size, generator=_rng())
    hole = (torch.rand(2, 1, size, size, generator=_rng(1)) < 0.2).float()
    base = fill.harmonic(log_light(warped), hole < 0.5)
    plain = base + 0.1 * hole * torch.randn(2, 3, size, size, generator=_rng(2))
    return warped * (1 - hole), hole, torch.zeros_like(hole), torch.zeros(2, 2, size, size), base, plain


def _wild(model: LogResidualUNet, factor: float) -> LogResidualUNet:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
    return model


# -- the residual's bounds -------------------------------------------------------------------------------------------
def test_the_old_cap_overflows_where_the_new_one_and_the_clamp_do_not() -> None:
    """Closed form: exp(19.2) = 2.2e8 against the largest half float, 65504; an EXR of halves would hold infinity."""
    half = torch.tensor([1.2 * 16, HDR().cap, HARD_CLAMP], dtype=torch.float64).exp().to(torch.float16)
    assert torch.isinf(half[0])
    assert torch.isfinite(half[1:]).all()
    assert math.isclose(math.exp(1.2 * 16), 2.18e8, rel_tol=1e-2)
    assert HDR().cap == 6.0


def test_before_training_the_old_cap_overflows_far_more_holes() -> None:
    batch = _batch(8)
    old, new = (pictures.overflow_share(batch, cap, 0.3) for cap in (pictures.OLD_CAP, HDR().cap))
    assert old > 0.05
    assert new < old / 5


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("bound", ["tanh", "softsign", "clamp"])
def test_delta_never_exceeds_the_clamp_whatever_the_light_and_the_weights(scale: float, bound: str) -> None:
    model = _wild(LogResidualUNet(8, bound=bound, cap=8.0, learn_scale=True), 1e3)
    with torch.no_grad():
        model.scale.fill_(100.0)  # as if nobody projected it
    out = model(*_random_inputs(scale))
    assert torch.isfinite(out.raw_B3HW).all()
    assert out.delta_B3HW.abs().max() <= HARD_CLAMP
    assert out.raw_B3HW.abs().max() > HARD_CLAMP  # or nothing has been tested


def test_the_residual_is_bounded_once_so_it_saturates_at_the_scale_exactly() -> None:
    """A second tanh would stop it at 6 tanh(1) = 4.57."""
    model = LogResidualUNet(8, cap=6.0)
    with torch.no_grad():
        model.leave.bias.fill_(50.0)
    assert float(model(*_random_inputs()).raw_B3HW.detach().max()) == 6.0


@pytest.mark.parametrize("scale", [6.0, 7.9])
def test_a_learnable_scale_has_a_gradient_at_its_start_and_just_below_the_clamp(scale: float) -> None:
    model = LogResidualUNet(8, cap=scale, learn_scale=True)
    with torch.no_grad():
        model.leave.bias.fill_(3.0 if scale > 6 else 0.0)
    model(*_random_inputs()).delta_B3HW.square().sum().backward()
    assert model.scale.grad is not None
    assert model.scale.grad.abs() > 1e-6


@pytest.mark.parametrize(("drifted", "expected"), [(-3.0, 0.5), (11.0, 8.0), (5.9, 5.9)])
def test_a_scale_that_has_drifted_is_put_back_where_it_has_a_gradient(drifted: float, expected: float) -> None:
    model = LogResidualUNet(8, learn_scale=True)
    with torch.no_grad():
        model.scale.fill_(drifted)
    HDR(learn_scale=True).project(model)
    assert float(model.scale.detach()) == pytest.approx(expected)


def test_a_cap_beyond_the_clamp_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha x task.abs_max must be 0.5 to 8.*got 19.2"):
        HDR(alpha=1.2, abs_max=16.0)


def test_a_kl_between_residuals_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"log_loss must be one of huber, l1, charbonnier .*KL.*got 'kl'"):
        HDR(log_loss="kl")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown hyperparameter 'task\.kl_weight'"):
        put({"task.kl_weight": 0.1}, {"task": HDR()})


# -- the network -----------------------------------------------------------------------------------------------------
def test_an_export_of_another_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    model = HDR(width=8).model()
    model.leave = torch.nn.Conv2d(8, 3, 1)  # as it was before the network chose between two fills
    with pytest.raises(ValueError, match="the weights are of another network than HDR makes now: train and export it"):
        load_winner(exported(tmp_path / "winner", HDR(width=8), model), HDR)


@pytest.mark.parametrize(("width", "parameters"), [(8, 40_148), (12, 80_188)])
def test_parameters_are_counted_as_they_are_written_down(width: int, parameters: int) -> None:
    counted = sum(p.numel() for p in LogResidualUNet(width).parameters())
    assert counted == parameters
    assert sum(p.numel() for p in LogResidualUNet(width, learn_scale=True).parameters()) == parameters + 1


@pytest.mark.parametrize("shape", [(16, 16), (17, 33), (50, 23)])
@pytest.mark.parametrize("gate", ["full", "single"])
def test_any_frame_of_16_pixels_or_more_is_filled_at_its_own_size(shape: tuple[int, int], gate: str) -> None:
    inputs = [torch.rand(1, channels, *shape) for channels in (3, 1, 1, 2, 3, 3)]
    inputs[1] = (inputs[1] < 0.2).float()
    assert LogResidualUNet(8, gate=gate)(*inputs).light_B3HW.shape == (1, 3, *shape)


def test_outside_holes_and_their_ring_the_light_is_the_input_bit_for_bit() -> None:
    for kernel in (3, 5):
        model = _wild(LogResidualUNet(8, ring_kernel=kernel), 10)
        inputs = _random_inputs()
        out = model(*inputs)
        outside = ~fill.dilated(inputs[1] > 0.5, kernel).expand_as(inputs[0])
        assert torch.equal(out.light_B3HW[outside], inputs[0][outside])
        assert (out.delta_B3HW[outside] == 0).all()
        assert (out.light_B3HW != inputs[0]).any()


def test_the_network_is_never_shown_the_target() -> None:
    """The boundary of a hole comes from the input alone: a changed target changes no prediction."""
    assert not any("target" in name for name in inspect.signature(LogResidualUNet.forward).parameters)
    batch, model = _batch(), HDR().model()
    before = predict(model, batch).light_B3HW
    after = predict(model, batch._replace(target_B3SS=7 * batch.target_B3SS + 1)).light_B3HW
    assert torch.equal(before, after)


def test_a_patch_does_not_depend_on_its_batch() -> None:
    """No cap from the range of a batch, and no statistic over it: alone, in company, and beside a very bright one."""
    batch, model = _batch(), _wild(HDR().model(), 3)
    alone = predict(model, Batch(*(field[:1] for field in batch))).delta_B3HW
    brighter = torch.tensor([0.0, 5.0, 5.0, 5.0]).view(4, 1, 1, 1)
    bright = batch._replace(
        base_log_B3SS=batch.base_log_B3SS + brighter, plain_log_B3SS=batch.plain_log_B3SS + brighter
    )
    for company in (batch, bright):
        assert torch.allclose(predict(model, company).delta_B3HW[:1], alone, atol=1e-5)


@pytest.mark.parametrize("how", ["standard", "minmax"])
def test_a_patch_looks_the_same_to_the_network_at_every_exposure(how: str) -> None:
    log_B3HW = torch.randn(2, 3, 16, 16, generator=_rng())
    assert torch.allclose(normalised(log_B3HW + 3.0, how), normalised(log_B3HW, how), atol=1e-5)


def test_a_patch_of_half_the_contrast_gets_half_the_residual() -> None:
    """Else a network that has learned on harsh light overcorrects soft light; the bound is the same for both."""
    warped, hole, occluder, motion, base, plain = _random_inputs()
    for units, factor in (("local", 0.5), ("patch", 0.5), ("log", 1.0)):
        model = _wild(LogResidualUNet(8, bound="clamp", units=units), 3)
        whole, half = (
            model(warped, hole, occluder, motion, share * base, share * plain).raw_B3HW for share in (1.0, 0.5)
        )
        assert torch.allclose(half, factor * whole, rtol=1e-2, atol=1e-4)
        assert whole.abs().max() > 1e-2
        with torch.no_grad():
            model.leave.bias.fill_(1e3)
        assert float(model(warped, hole, occluder, motion, 0.5 * base, 0.5 * plain).raw_B3HW.detach().max()) == 6.0


def test_local_contrast_is_the_standard_deviation_around_a_pixel() -> None:
    """Planted: flat on the left, a checkerboard of +-1 on the right; nothing is exactly 0."""
    board = (torch.arange(40)[:, None] + torch.arange(40)) % 2 * 2.0 - 1
    image = torch.where(torch.arange(40) < 20, 0.0, board).expand(1, 3, 40, 40)
    local = contrast(image, "local")
    assert torch.allclose(local[..., :15], torch.tensor(0.01), atol=1e-3)
    assert torch.allclose(local[..., 26:], torch.tensor(1.0), atol=2e-2)
    assert torch.equal(contrast(image, "log"), torch.ones(1, 1, 1, 1))


def test_gated_layers_do_not_starve_the_output_before_training() -> None:
    """A gate halves the signal at each layer unless it is normalised afterwards: 13 layers would leave 1e-4 of it."""
    model, batch = HDR().model(), _batch()
    with torch.no_grad():
        spread = float(model.leave(model._trunk(torch.randn(4, 8, 32, 32, generator=_rng()))).std())
    assert spread > 1e-3
    assert 1e-4 < float(predict(model, batch).raw_B3HW.detach().std()) < 1.0


def test_the_network_starts_halfway_between_the_two_fills_and_can_choose_either() -> None:
    """Closed form: the start is base + sigmoid(trust) x (plain - base), and trust is 0 before training."""
    model, inputs = LogResidualUNet(8), _random_inputs()
    base, plain = inputs[-2:]
    assert torch.allclose(model(*inputs).start_B3HW, (base + plain) / 2, atol=0.02)
    for trust, start in ((50.0, plain), (-50.0, base)):
        with torch.no_grad():
            model.leave.bias[3] = trust
        assert torch.allclose(model(*inputs).start_B3HW, start, atol=1e-5)


# -- loss ------------------------------------------------------------------------------------------------------------
def _out(delta: Tensor, weight: Tensor, light: Tensor) -> Filled:
    return Filled(light, torch.zeros_like(light), delta, delta, weight)


@pytest.mark.parametrize("log_loss", loss.LOG_LOSSES)
@pytest.mark.parametrize("residual", [0.7, -0.7])
def test_log_supervision_looks_at_the_sign(log_loss: str, residual: float) -> None:
    """For light that is e^0.7 brighter, or darker, than its base the same residual is right, and the opposite one wrong
    by 1.4."""
    ones, zeros = torch.ones(1, 1, 4, 4), torch.zeros(1, 3, 4, 4)
    target = torch.full((1, 3, 4, 4), math.exp(residual) - EPS)
    right, wrong = (
        float(
            loss.log_supervision(_out(sign * residual + zeros, ones, target), target, loss.Weights(log_loss=log_loss))
        )
        for sign in (1, -1)
    )
    assert right == pytest.approx(1e-3 if log_loss == "charbonnier" else 0.0, abs=1e-5)
    assert wrong == pytest.approx({"huber": 1.4 - 0.1, "l1": 1.4, "charbonnier": 1.4}[log_loss], abs=1e-3)


def test_log_supervision_counts_holes_and_their_ring_and_nothing_else() -> None:
    weight = torch.zeros(1, 1, 4, 4)
    weight[..., 0, 0], weight[..., 0, 1] = 1.0, 0.5
    delta = torch.zeros(1, 3, 4, 4)
    target = torch.ones(1, 3, 4, 4) - EPS  # right where the residual is 0
    delta[..., 0, 0], delta[..., 3, 3] = 1.0, 99.0
    supervision = loss.log_supervision(_out(delta, weight, target), target, loss.Weights(log_loss="l1"))
    assert float(supervision) == pytest.approx(1.0 / 1.5, rel=1e-5)


def test_terms_are_scaled_by_their_weights_and_never_clamped() -> None:
    batch, model = _batch(), HDR().model()
    out = predict(model, batch)
    of = (out, batch.hole_B1SS, batch.target_B3SS)
    once = loss.terms(*of, loss.Weights(perceptual=0.1), "pged")
    loud = loss.terms(*of, loss.Weights(log=200.0, tone=100.0, edge=50.0, perceptual=10.0), "pged")
    for name in ("log", "tone", "edge", "perceptual"):
        assert float(loud[name].detach()) == pytest.approx(100 * float(once[name].detach()), rel=1e-5)
    sum(loud.values()).backward()
    assert model.leave.weight.grad.abs().max() > 0


def test_the_wide_term_sees_only_residuals_beyond_six() -> None:
    batch = _batch(1)
    raw = torch.zeros(1, 3, 32, 32)
    raw[..., 0, 0] = 7.5
    out = predict(HDR().model(), batch)._replace(raw_B3HW=raw)
    terms = loss.terms(out, batch.hole_B1SS, batch.target_B3SS, loss.Weights(), "pged")
    assert float(terms["wide"]) == pytest.approx(1.5 / 1024, rel=1e-5)


# -- scores ----------------------------------------------------------------------------------------------------------
def test_tone_is_the_mu_law() -> None:
    """Kalantari & Ramamoorthi 2017, eq. 5, at its ends and in the middle; light above white is white."""
    peak = torch.full((1, 1, 1, 1), 2.0)
    light = torch.tensor([0.0, 1.0, 2.0, 9.0, -1.0]).view(1, 1, 1, 5)
    expected = [0.0, math.log(2501) / math.log(5001), 1.0, 1.0, 0.0]
    assert torch.allclose(loss.tone(light, peak).flatten(), torch.tensor(expected), atol=1e-6)


def test_psnr_of_a_region_is_torchmetrics_psnr_of_its_pixels() -> None:
    a, b = (torch.rand(2, 3, 16, 16, generator=_rng(seed)) for seed in (0, 1))
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., 3:9, 2:13] = 1
    psnr_db = loss.psnr_db((a - b) ** 2, mask)
    for row in range(2):
        theirs = peak_signal_noise_ratio(a[row, :, 3:9, 2:13], b[row, :, 3:9, 2:13], data_range=1.0)
        assert float(psnr_db[row]) == pytest.approx(float(theirs), abs=1e-4)


def test_scores_of_planted_light() -> None:
    """The base itself gains nothing; the target itself is perfect; a crack and a square are told apart."""
    batch = _batch(2)
    hole = torch.zeros_like(batch.hole_B1SS)
    hole[..., 5, :] = 1  # one pixel wide
    hole[..., 12:18, 12:18] = 1
    base = batch.base_log_B3SS + hole
    of = (hole, base, batch.target_B3SS)
    as_filled = loss.light_scores(torch.exp(base) - EPS, *of)
    assert torch.allclose(as_filled["gain_db"], torch.zeros(2), atol=1e-5)
    perfect = loss.light_scores(batch.target_B3SS, *of)
    assert (perfect["psnr_mu_hole"] == 100).all()
    assert torch.allclose(perfect["ssim_mu"], torch.ones(2), atol=1e-5)
    assert (perfect["log_error"] == 0).all()
    wrong = batch.target_B3SS.clone()
    wrong[..., 12:18, 12:18] *= 3
    scores = loss.light_scores(wrong, *of)
    assert (scores["psnr_mu_crack"] == 100).all()
    assert (scores["psnr_mu_disocc"] < 40).all()


def test_overflow_is_counted_and_costs_ten_db_at_one_percent() -> None:
    batch = _batch(1)
    light = batch.target_B3SS.clone()
    total = light[0].numel()
    count = round(0.01 * total)
    flat = light.view(-1)
    flat[:count] = 5 * batch.target_B3SS.max()  # brighter than white: what is seen may not even change
    scores = loss.light_scores(light, *score_references(batch))
    assert float(scores["overflow_rate"]) == pytest.approx(count / total)
    assert float(scores["psnr_mu_hole"] - scores["score"]) == pytest.approx(10 * min(1, 100 * count / total), abs=1e-4)
    flat[0], flat[1] = torch.inf, torch.nan
    assert float(loss.light_scores(light, *score_references(batch))["overflow_rate"]) == pytest.approx(count / total)


def test_light_that_is_no_number_makes_the_score_no_number() -> None:
    """It is never replaced by a finite value, so a run that has broken down cannot look well."""
    task = HDR()
    model = task.model()
    with torch.no_grad():
        model.leave.bias.fill_(math.nan)
    assert math.isnan(evaluate(task, model, [_batch()])["score"])


def test_a_picture_without_a_hole_is_judged_as_a_whole() -> None:
    batch = _batch(2)
    scores = loss.light_scores(batch.target_B3SS * 1.1, torch.zeros_like(batch.hole_B1SS), *score_references(batch)[1:])
    assert torch.equal(scores["psnr_mu_hole"], scores["psnr_mu"])
    assert scores["psnr_mu_crack"].isnan().all()


# -- fills -----------------------------------------------------------------------------------------------------------
def _ramp(size: int = 24) -> Tensor:
    line = torch.arange(size, dtype=torch.float32)
    return torch.stack([line.expand(size, size), line[:, None].expand(size, size), torch.ones(size, size)])[None]


def _scattered_holes(size: int = 24) -> Tensor:
    valid = torch.rand(1, 1, size, size, generator=_rng()) > 0.2
    valid[..., [0, -1], :] = True
    valid[..., :, [0, -1]] = True
    return valid


def test_a_harmonic_fill_continues_a_ramp() -> None:
    """A linear function is harmonic: its Laplacian is 0."""
    filled = fill.harmonic(torch.where(_scattered_holes(), _ramp(), math.nan), _scattered_holes(), sweeps=400)
    assert torch.allclose(filled, _ramp(), atol=1e-3)


def test_a_biharmonic_fill_continues_a_parabola_and_a_harmonic_one_does_not() -> None:
    """The Laplacian of a quadratic is constant, so its biharmonic is 0."""
    valid = torch.ones(1, 1, 24, 24, dtype=torch.bool)
    valid[..., 8:14, 9:15] = False
    parabola = (_ramp() - 11) ** 2 / 20
    filled = baseline.biharmonic(torch.where(valid, parabola, 0.0), valid)
    assert torch.allclose(filled, parabola, atol=1e-3)
    assert not torch.allclose(fill.harmonic(parabola, valid, sweeps=400), parabola, atol=1e-1)


@pytest.mark.parametrize("kind", fill.FILLS)
def test_fills_keep_what_is_valid_and_never_look_into_holes(kind: str) -> None:
    log_B3HW, valid = torch.randn(1, 3, 21, 30, generator=_rng()), torch.rand(1, 1, 21, 30, generator=_rng(1)) > 0.4
    front = torch.zeros_like(valid)
    front[..., 4:15, 6:20] = True
    clean, dirty = (fill.filled(kind, torch.where(valid, log_B3HW, dirt), valid, front) for dirt in (0.0, math.nan))
    assert torch.equal(clean, dirty)
    assert torch.equal(clean[valid.expand_as(clean)], log_B3HW[valid.expand_as(clean)])
    assert torch.isfinite(clean).all()
    shown = log_B3HW[valid.expand_as(log_B3HW)]
    assert clean.min() >= shown.min()
    assert clean.max() <= shown.max()


def test_a_layered_fill_does_not_bleed_from_one_layer_into_the_other() -> None:
    """Planted: a foreground square of 5 on a background of 1, with a crack in it and a gap beside it."""
    front = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
    front[..., 4:12, 4:12] = True
    truth = torch.where(front, 5.0, 1.0).expand(1, 3, 20, 20)
    valid = torch.ones_like(front)
    valid[..., 4:12, 7] = False  # inside
    valid[..., 4:12, 12:15] = False  # beside
    assert torch.equal(fill.layered(truth * valid, valid, front & valid), truth)
    assert not torch.equal(fill.harmonic(truth * valid, valid), truth)


def test_unknown_fills_are_refused() -> None:
    with pytest.raises(ValueError, match=r"task.base must be one of layered, harmonic, pushpull; got 'telea'"):
        HDR(base="telea")  # type: ignore[arg-type]


# -- real parallax ---------------------------------------------------------------------------------------------------
def test_what_a_nearer_thing_hides_from_the_other_camera_is_not_visible() -> None:
    """Planted: background at disparity 0, a post of 6 columns at disparity 4: 4 columns left of it are hidden."""
    disparity = torch.zeros(5, 30)
    disparity[:, 12:18] = 4.0
    seen = parallax.visible(disparity, torch.ones(5, 30, dtype=torch.bool))
    hidden = [column for column in range(30) if not seen[:, column].all()]
    assert hidden == [8, 9, 10, 11]
    unknown = torch.ones(5, 30, dtype=torch.bool)
    unknown[2, 3] = False
    assert not parallax.visible(disparity, unknown)[2, 3]


def test_gathering_by_a_constant_disparity_shifts_the_view() -> None:
    right = torch.rand(3, 6, 20, generator=_rng())
    assert torch.allclose(
        parallax.warped_by_disparity(right, torch.full((6, 20), 3.0))[..., 3:], right[..., :-3], atol=1e-5
    )


def test_the_stereo_photograph_gives_frames_as_the_network_takes_them() -> None:
    batch = parallax.examples(64, "harmonic")
    assert 40 <= len(batch.hole_B1SS) <= 70
    assert 0.1 < float((~parallax.stereo_frame().seen_HW).float().mean()) < 0.2
    assert (batch.warped_B3SS[(batch.hole_B1SS > 0.5).expand(-1, 3, -1, -1)] == 0).all()
    seen = batch.hole_B1SS < 0.5
    error = (log_light(batch.warped_B3SS) - log_light(batch.target_B3SS)).abs()[seen.expand(-1, 3, -1, -1)]
    assert float(error.median()) < 0.1  # the two cameras agree where both see


# -- the task --------------------------------------------------------------------------------------------------------
def test_zeros_in_holes_trip_the_check_that_the_residual_can_reach_the_target() -> None:
    """With 0 where holes are, log(0 + 1e-3) = -6.9 is further from bright light than any bounded residual can go."""
    task = COMPOSED
    assert task.unreachable() < 0.01
    examples = task._examples("train", 64, 32)
    zeros = examples._replace(base_log=torch.where(examples.hole, math.log(EPS), examples.base_log))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HDR, "_examples", lambda *_: zeros)
        assert task.unreachable() > 0.1
        assert _status(task, Evidence("preflight"), "residual can reach the target") == "no-go"
    assert _status(task, Evidence("preflight"), "residual can reach the target") == "go"


def _status(task: HDR, evidence: Evidence, name: str) -> str:
    return next(check.status for check in task.checks(evidence) if check.name == name)


HEALTHY = {
    "overflow_rate": 0.0,
    "clamp_rate": 0.0,
    "saturated": 0.01,
    "largest_delta": 3.0,
    "scale": 6.0,
    "gain_db": 1.0,
    "psnr_mu_hole": 25.0,
}
HISTORY_CHECKS = {
    "no overflow once settled",
    "hard clamp idle once settled",
    "never worse than its base",
    "loss falls",
}


def _history(last: Mapping[str, float]) -> tuple[Epoch, ...]:
    """Four epochs of a healthy run whose loss falls; the last one has these scores."""
    scores = (HEALTHY, HEALTHY, HEALTHY, last)
    return tuple(epoch(number, loss=0.5 - 0.05 * number, scores=scores[number]) for number in range(4))


@pytest.mark.parametrize("stage", ["preflight", "promotion"])
def test_the_course_of_a_run_is_checked_at_both_stages(
    tmp_path: Path, stage: Literal["preflight", "promotion"]
) -> None:
    """Preflight has the epochs of the run itself, promotion those that a trial's folder holds: the same checks run."""
    history = _history(HEALTHY)
    if stage == "promotion":
        write_outcome(tmp_path, Outcome("complete", value=1.0, epochs=len(history), history=history), "inputs")
        outcome = read_outcome(tmp_path)
        assert outcome is not None
        history = outcome.history
    checks = {check.name: check for check in COMPOSED.checks(Evidence(stage, scores=HEALTHY, history=history))}
    health = {f"health: {name}" for name in ("clamp_rate", "saturated", "largest_delta", "scale", "overflow_rate")}
    assert set(checks) == {"residual can reach the target", "scale as expected", *health, *HISTORY_CHECKS}
    assert {check.status for check in checks.values()} == {"go"}
    assert checks["loss falls"].seen == "0.5 -> 0.4"


def test_a_run_that_is_too_short_has_no_course_to_check() -> None:
    names = {
        check.name for check in COMPOSED.checks(Evidence("promotion", scores=HEALTHY, history=_history(HEALTHY)[:2]))
    }
    assert not names & HISTORY_CHECKS


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"overflow_rate": 2e-4}, "health: overflow_rate"),
        ({"clamp_rate": 0.01}, "health: clamp_rate"),
        ({"saturated": 0.2}, "health: saturated"),
        ({"largest_delta": 8.1}, "health: largest_delta"),
        ({"scale": 0.4}, "health: scale"),
        ({"overflow_rate": 2e-3}, "no overflow once settled"),
        ({"clamp_rate": 0.01}, "hard clamp idle once settled"),
        ({"gain_db": -0.2}, "never worse than its base"),
    ],
)
def test_every_sign_of_ill_health_is_a_no_go(change: dict[str, float], check: str) -> None:
    healthy = Evidence("preflight", scores=HEALTHY, history=_history(HEALTHY))
    unhealthy = Evidence("preflight", scores=HEALTHY | change, history=_history(HEALTHY | change))
    assert _status(COMPOSED, healthy, check) == "go"
    assert _status(COMPOSED, unhealthy, check) == "no-go"


def test_a_loss_that_does_not_fall_is_a_caution() -> None:
    flat = tuple(epoch(number, loss=0.5, scores=HEALTHY) for number in range(4))
    assert _status(COMPOSED, Evidence("promotion", scores=HEALTHY, history=flat), "loss falls") == "caution"


def test_one_highlight_that_is_guessed_too_bright_is_a_caution_and_an_almost_perfect_run_may_waver() -> None:
    bright = Evidence("preflight", scores=HEALTHY | {"overflow_rate": 5e-5}, history=_history(HEALTHY))
    assert _status(COMPOSED, bright, "health: overflow_rate") == "caution"
    scores = HEALTHY | {"psnr_mu_hole": 48.0, "gain_db": -2.8}  # its base, a smooth ramp, was filled at 50.8 dB
    near_perfect = Evidence("preflight", scores=scores, history=(epoch(scores=scores),) * 4)
    assert _status(COMPOSED, near_perfect, "never worse than its base") == "go"


def test_the_winner_must_beat_every_classical_method_but_not_the_reference() -> None:
    ours = {"score": 25.0, "psnr_mu": 33.0, "ssim_mu": 0.97}
    rivals = {
        "harmonic": {"score": 24.0, "psnr_mu": 32.0, "ssim_mu": 0.96},
        "knows the answer" + REFERENCE: {"score": 28.0, "psnr_mu": 36.0, "ssim_mu": 0.98},
    }
    ahead = Evidence("promotion", scores=ours, baselines=rivals)
    assert _status(COMPOSED, ahead, "beats every classical method in score") == "go"
    behind = replace(ahead, scores=ours | {"score": 23.9})
    assert _status(COMPOSED, behind, "beats every classical method in score") == "no-go"


def test_hidden_layers_leave_what_a_frame_without_them_has() -> None:
    """Without a mask of the foreground and without motion, the layered fill is the harmonic one."""
    batch = _batch(6)
    chosen = torch.tensor([True, False, True, False, False, True])
    hidden = without_layers(batch, chosen)
    assert not hidden.occluder_B1SS[chosen].any()
    assert not hidden.motion_B2SS[chosen].any()
    assert batch.occluder_B1SS[chosen].any()
    harmonic = fill.harmonic(log_light(batch.warped_B3SS), batch.hole_B1SS < 0.5)
    assert torch.allclose(hidden.base_log_B3SS[chosen], harmonic[chosen], atol=1e-6)
    assert not torch.allclose(batch.base_log_B3SS[chosen], harmonic[chosen], atol=1e-2)
    for ours, theirs in zip(hidden, batch, strict=True):
        assert torch.equal(ours[~chosen], theirs[~chosen])


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 8)])
def test_layers_are_hidden_from_the_share_that_is_asked_for_and_in_training_alone(share: float, expected: int) -> None:
    task = replace(COMPOSED, layers_absent=share)
    train, val = (next(task.batches(split, replace(TINY, val=8), 8, _rng())) for split in ("train", "val"))
    assert int((train.motion_B2SS == 0).all(3).all(2).all(1).sum()) == expected
    assert val.motion_B2SS.flatten(1).any(1).all()


@torch.no_grad()
def test_scores_tell_composed_from_rendered_frames_and_what_hidden_layers_cost() -> None:
    batch = _batch(4, "val")
    batch = batch._replace(rendered_B=torch.tensor([0, 1, 0, 1]))
    model = _wild(HDR(width=8).model(), 2)
    scores = loss.measured_means(loss.model_scores(model, batch))
    singles = [loss.model_scores(model, Batch(*(f[row : row + 1] for f in batch)))["score"].item() for row in range(4)]
    assert scores["score_composed"] == pytest.approx((singles[0] + singles[2]) / 2, abs=1e-4)
    assert scores["score_rendered"] == pytest.approx((singles[1] + singles[3]) / 2, abs=1e-4)
    hidden = loss.model_scores(model, without_layers(batch, torch.ones(4, dtype=torch.bool)))
    assert scores["score_without_layers"] == pytest.approx(float(hidden["score"].mean()), abs=1e-4)
    assert scores["score_without_layers"] != scores["score"]


def test_mirroring_turns_the_motion_with_the_picture() -> None:
    batch = _batch(8)
    for axis in (0, 1):
        turned = mirrored(batch, axis, _rng())
        mirror = batch.target_B3SS.flip(-1 - axis)
        flipped = [row for row in range(8) if torch.equal(turned.target_B3SS[row], mirror[row])]
        assert 0 < len(flipped) < 8
        for row in range(8):
            sign = torch.ones(2, 1, 1)
            sign[axis] = -1 if row in flipped else 1
            expected = batch.motion_B2SS[row].flip(-1 - axis) * sign if row in flipped else batch.motion_B2SS[row]
            assert torch.equal(turned.motion_B2SS[row], expected)
        assert torch.equal(turned.source_B, batch.source_B)


def test_scores_are_means_over_examples() -> None:
    """The goal of all at once is the mean of one by one."""
    task, batch = HDR(), _batch(4, "val")
    model = task.model()
    singles = [Batch(*(field[row : row + 1] for field in batch)) for row in range(4)]
    whole = evaluate(task, model, [batch])["score"]
    assert whole == pytest.approx(np.mean([evaluate(task, model, [single])["score"] for single in singles]), rel=1e-5)


def test_every_method_is_a_rival_because_none_reads_more_than_the_network() -> None:
    baselines = baseline_scores(COMPOSED, TINY, [_batch(2, "val")])
    assert not [name for name in baselines if name.endswith(REFERENCE)]
    assert baselines["plain copy"]["score"] < baselines["push-pull"]["score"]
    assert baselines["layered"]["gain_db"] == pytest.approx(0, abs=1e-4)
    assert all(math.isfinite(score) for scores in baselines.values() for score in scores.values())


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "learn_scale": True,
            "gate": "single",
            "bound": "softsign",
            "depth": 2,
            "base": "pushpull",
            "input_norm": "minmax",
            "log_loss": "charbonnier",
            "ring_kernel": 5,
            "perceptual_weight": 0.2,
        },
    ],
)
def test_a_short_run_learns_and_repeats_bit_for_bit(changes: dict) -> None:
    task = HDR(width=8, scenes="composed", **changes)
    recipe = replace(study.recipe, batch_size=4)
    fidelity = Fidelity(size=32, train=8, val=4, epochs=4)
    runs = [[progress.loss for progress in fit(task, recipe, fidelity, seed=3, device="cpu")] for _ in range(2)]
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0]


def test_the_overfit_check_asks_for_eight_db_more_than_the_fill() -> None:
    """Whatever the data: a fixed number would be out of reach on dark frames, and nothing on easy ones."""
    task = COMPOSED
    overfit = task.overfit
    first = next(task.batches("train", Fidelity(size=64, train=4, val=4, epochs=1), 4, _rng()))
    base_db = float(
        loss.light_scores(torch.exp(first.base_log_B3SS) - EPS, *score_references(first))["psnr_mu_hole"].mean()
    )
    assert overfit.go == pytest.approx(base_db + 8, abs=1e-4)
    bands = Bands(overfit.measure, overfit.go, overfit.caution, overfit.direction)
    assert bands.verdict(base_db + 8.1) == "go"
    assert bands.verdict(base_db + 4) == "no-go"


def test_on_easy_frames_the_overfit_check_asks_for_no_more_than_40_db(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ramp is filled at 50 dB: nobody learns to be 8 dB better than that in 120 steps."""
    smooth = COMPOSED._examples("train", 64, 4)
    easy = smooth._replace(base_log=log_light(smooth.target) + 1e-3)
    monkeypatch.setattr(HDR, "_examples", lambda *_: easy)
    assert (HDR().overfit.go, HDR().overfit.caution) == (40.0, 37.0)


def test_tiers_grow_and_the_largest_is_a_network_of_five_levels() -> None:
    assert SMOKE.size <= CHEAP.size <= FULL.size < FULL_GPU.size == 256
    owners = put(FULL_GPU.fixed, study.owners)
    parameters = sum(p.numel() for p in owners["task"].model().parameters())
    assert 1.4e6 < parameters < 1.9e6  # 1.65 million are reported for the original


def test_pictures_show_brackets_of_exposures_of_both_kinds_of_parallax() -> None:
    task, batch = HDR(width=8, scenes="composed"), _batch(4, "val")
    shown = list(task.pictures(task.model(), [Batch(*(field[row : row + 1] for field in batch)) for row in range(4)]))
    titles = [picture.title for picture in shown]
    assert titles[:3] == ["Every method, composed", "Every method, real parallax", "Overflow by cap"]
    brackets = [picture for picture in shown if picture.title.startswith("Exposures, composed")]
    assert len(brackets) == 3
    assert list(brackets[0].panels)[0::2] == ["input", "network"]
    for panel in brackets[0].panels.values():
        assert panel.shape == (3 * 32 + 2 * 2, 32, 3)
        assert panel.dtype == np.uint8


def test_batches_on_the_device_of_the_harness_have_the_examples_first() -> None:
    batches = list(HDR().batches("val", TINY, 3, generator("any")))
    assert [len(batch.hole_B1SS) for batch in batches] == [3, 1]
    assert all(len(field) == len(batch[0]) for batch in batches for field in batch)
    dtypes = {tuple(field.dtype for field in batch) for batch in batches}
    assert dtypes == {(torch.float32,) * 7 + (torch.int64,) * 2}
