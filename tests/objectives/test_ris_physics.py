"""The surface, the scenes, the bound and the estimator.

Expected values come from Cartesian geometry, finite differences, numpy, scipy, closed forms or planted sources; each
test says which.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from hpo import REFERENCE, generator
from objectives.ris import RIS, SMOKE, physics
from objectives.ris.baseline import Classical, solvers
from objectives.ris.bound import deviations
from objectives.ris.covariance import eigenpairs, sample, truth
from objectives.ris.data import Batch, generate
from objectives.ris.estimator import estimate, locate, maximum_likelihood, newton, order, peaks, scan, signal_basis
from objectives.ris.features import Grid, dictionary, features, nearest, points
from objectives.ris.geometry import (
    WAVENUMBER,
    View,
    elements,
    from_polar,
    in_front,
    manifold,
    path,
    path_slopes,
    to_metres,
    to_polar,
)
from objectives.ris.metrics import judge, summary
from objectives.ris.sensing import Surface, channel, gains, sensing, whitened

CPU = torch.device("cpu")
SMALL = Surface(n_h=6, n_v=5, antennas=8, codes=5, deployment=1)


def _small(**changes) -> RIS:
    """The task of the smoke fidelity."""
    fields = {name.removeprefix("task."): value for name, value in SMOKE.fixed.items()}
    return RIS(**{**fields, **changes})


def _ideal(**changes) -> RIS:
    return physics.ideal(_small(**changes))


def _places(n: int, view: View | None = None, seed: int = 0) -> Tensor:
    """n points of a view, (u, v, rho) in float64."""
    view = view or View(1.0, 6.0)
    share = torch.rand(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    phi = math.radians(view.phi_max_deg) * (2 * share[:, 0] - 1)
    theta = math.radians(view.theta_max_deg) * (2 * share[:, 1] - 1)
    return from_polar(torch.stack((phi, theta, view.r_min + (view.r_max - view.r_min) * share[:, 2]), -1))


def _scenes(task: RIS, n: int = 64, **given) -> Batch:
    return generate(task.scenario, n, generator("test", "ris"), **given)


# -- geometry --------------------------------------------------------------------------------------------------------
def test_the_path_is_the_euclidean_distance_less_the_range() -> None:
    """Judge: |source - element| - |source| in Cartesian coordinates."""
    x_N, y_N = elements(7, 4)
    q = _places(50)
    source = to_metres(q)
    element = torch.stack((x_N, y_N, torch.zeros_like(x_N)), -1)
    expected = (source[:, None] - element).norm(dim=-1) - source.norm(dim=-1, keepdim=True)
    assert torch.allclose(path(q, x_N, y_N), expected, atol=1e-12)


@pytest.mark.parametrize("steering", ["exact", "fresnel"])
def test_slopes_of_the_path_are_its_central_differences(steering: str) -> None:
    """Judge: central differences."""
    x_N, y_N = elements(12, 12)
    q, step = _places(20), 1e-5
    for axis in range(3):
        away = torch.zeros(3, dtype=torch.float64)
        away[axis] = step
        numeric = (path(q + away, x_N, y_N, steering) - path(q - away, x_N, y_N, steering)) / (2 * step)
        assert torch.allclose(path_slopes(q, x_N, y_N, steering)[..., axis], numeric, rtol=1e-7, atol=1e-9)


def test_fresnel_meets_the_exact_wavefront_far_away_and_misses_it_near_by() -> None:
    """Closed form: the expansion's first neglected term falls as 1/r^2."""
    x_N, y_N = elements(12, 12)
    q = _places(40)
    worst = []
    for r in (2.0, 4.0, 8.0, 16.0):
        at = torch.cat((q[:, :2], torch.full((40, 1), 1 / r, dtype=torch.float64)), -1)
        worst.append(float((path(at, x_N, y_N) - path(at, x_N, y_N, "fresnel")).abs().max()))
    ratios = [near / far for near, far in pairwise(worst)]
    assert all(3.3 < ratio < 6 for ratio in ratios), ratios


def test_polar_and_back() -> None:
    """Closed form: the two maps undo each other, and broadside is the axis."""
    q = _places(100)
    assert torch.allclose(from_polar(to_polar(q)), q, atol=1e-12)
    ahead = to_metres(torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64))
    assert torch.allclose(ahead, torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64))


def test_a_corner_of_the_box_is_not_in_view_and_is_brought_back_into_the_disc() -> None:
    """Closed form: u = sin(phi) cos(theta) is at most sin(60) cos(30) = 0.75 at theta = 30 degrees."""
    view = View(1.0, 6.0)
    inside = torch.tensor([[0.749, 0.5, 0.5], [0.0, 0.0, 0.5]], dtype=torch.float64)
    corner = torch.tensor([[0.86, 0.5, 0.5], [0.76, 0.5, 0.5]], dtype=torch.float64)
    assert view.holds(inside).all()
    assert not view.holds(corner).any()
    back = in_front(torch.tensor([[0.95, 0.6, 0.5], [0.1, 0.2, 0.5]]))
    assert torch.allclose(back[:, :2].norm(dim=-1), torch.tensor([0.99, 0.05**0.5]))
    assert torch.isfinite(path(back.double(), *elements(12, 12))).all()


def test_a_view_without_extent_is_refused() -> None:
    with pytest.raises(ValueError, match="0 < r_min < r_max"):
        View(2.0, 2.0)


def test_cells_hold_their_own_centres_and_tile_the_view() -> None:
    """Closed form: the centre of cell g lies in cell g."""
    grid = Grid(View(0.8, 4.0), 18, 10, 3)
    at_G3 = points(grid, CPU, torch.float64)
    assert torch.equal(nearest(grid, at_G3), torch.arange(grid.cells))
    shifted = at_G3 + 0.49 * torch.tensor(grid.cell, dtype=torch.float64)
    assert torch.equal(nearest(grid, shifted), torch.arange(grid.cells))
    lines = points(Grid(View(0.8, 4.0), 41, 25, 3, edges=True), CPU, torch.float64)
    assert torch.allclose(lines[:, 0].max(), torch.tensor(math.sin(math.radians(60)), dtype=torch.float64))


# -- sensing ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("codes", [2, 5], ids=["compressed", "complete"])
def test_whitening_keeps_every_inner_product_of_the_stacked_channel(codes: int) -> None:
    """Closed form: with G = Q Rg and Q^H Q = I, (Rg a)^H (Rg b) is proportional to (G a)^H (G b) for PM >= N; and for
    PM < N as well, since then Q is square."""
    surface = replace(SMALL, codes=codes)
    mix, full = whitened(surface), channel(surface)
    a = torch.randn(30, 9, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    assert mix.shape == (surface.entries, 30)
    assert math.isclose(float(mix.abs().square().sum()), 30, rel_tol=1e-12)
    small, large = (mix @ a).mH @ (mix @ a), (full @ a).mH @ (full @ a)
    assert torch.allclose(small / small[0, 0], large / large[0, 0], atol=1e-9)


def test_the_channel_of_a_deployment_is_static_and_another_one_differs() -> None:
    """Planted: the seed names the deployment."""
    assert torch.equal(channel(SMALL), channel(SMALL))
    assert not torch.allclose(channel(SMALL), channel(replace(SMALL, deployment=2)))


def test_a_channel_that_cannot_be_inverted_is_refused() -> None:
    with pytest.raises(ValueError, match="condition number"):
        whitened(Surface(n_h=6, n_v=6, antennas=36, codes=1))


def test_the_effective_slopes_are_central_differences() -> None:
    """Judge: central differences of b(q)."""
    sense, step = sensing(SMALL, CPU, torch.float64), 1e-6
    q = _places(10)
    for axis in range(3):
        away = torch.zeros(3, dtype=torch.float64)
        away[axis] = step
        numeric = (sense.steer(q + away) - sense.steer(q - away)) / (2 * step)
        assert torch.allclose(sense.slopes(q)[..., axis], numeric, rtol=1e-6, atol=1e-6)


def test_gain_errors_have_the_stated_spread_and_none_means_one() -> None:
    """Closed form: standard deviations of phase and gain, over 10,000 elements."""
    wide = gains(Surface(100, 100, 1, 1), sigma_psi=0.35, sigma_gain_db=0.5)
    assert math.isclose(float(wide.angle().std()), 0.35, rel_tol=0.03)
    assert math.isclose(float((20 * wide.abs().log10()).std()), 0.5, rel_tol=0.03)
    assert torch.equal(gains(SMALL, 0.0, 0.0), torch.ones(30, dtype=torch.complex128))


# -- scenes ----------------------------------------------------------------------------------------------------------
def test_scenes_keep_their_rules() -> None:
    """Closed form: what the generator promises of counts, places, powers and coherence."""
    task = RIS()
    batch = _scenes(task, 512)
    assert batch.source_count.unique().tolist() == [1, 2, 3]
    assert torch.equal(batch.mask.sum(1).long(), batch.source_count)
    assert torch.allclose(batch.power.sum(1), torch.ones(512), atol=1e-6)
    shares = torch.where(batch.mask > 0, batch.power, torch.nan)
    loudest, softest = shares.nan_to_num(0).amax(1), shares.nan_to_num(9).amin(1)
    assert (loudest / softest).max() <= 10**0.6 + 1e-4  # +-3 dB each
    there = batch.q[batch.mask > 0].double()
    assert task.view.holds(there - 1e-7 * there.sign()).all()
    assert (1 / there[:, 2] >= 1 - 1e-5).all()
    assert (1 / there[:, 2] <= 6 + 1e-4).all()
    assert not batch.coherent[batch.source_count == 1].any()
    assert 0.15 < float(batch.coherent[batch.source_count > 1].double().mean()) < 0.35
    assert (batch.q[batch.mask == 0] == 0).all()
    assert not batch.crowded.any()


def test_sources_stand_a_rayleigh_cell_apart() -> None:
    """Closed form: |du| >= 2/N_H or |dv| >= 2/N_V for every pair."""
    batch = _scenes(RIS(n_h=8, n_v=6), 256, count=3)
    cell = torch.tensor([2 / 8, 2 / 6])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        gap = (batch.q[:, a, :2] - batch.q[:, b, :2]).abs()
        assert (gap >= cell - 1e-6).any(-1).all()


def test_the_energy_of_the_snapshots_is_signal_plus_noise() -> None:
    """Closed form: E||z_l||^2 = sum_k p_k ||b_k||^2 + N' sigma^2, and the SNR is per measurement of PM."""
    task = _ideal(snapshots=400)
    batch = _scenes(task, 64, snr_db=3.0)
    sense = sensing(task.surface, CPU, torch.float64)
    signal = (batch.power * sense.steer(batch.q.double()).abs().square().sum(-1)).sum(-1)
    expected = signal + task.surface.entries * batch.noise
    measured = batch.z.abs().square().sum(1).mean(-1)
    assert math.isclose(float((measured / expected).mean()), 1, rel_tol=0.02)
    assert torch.allclose(signal / (72 * batch.noise), torch.full((64,), 10**0.3).double(), rtol=1e-4)


def test_a_coherent_source_is_a_turned_copy() -> None:
    """Planted: with every pair coherent and no noise to speak of, two sources have one eigenvalue."""
    batch = _scenes(replace(_ideal(), p_coh=1.0), 32, snr_db=80.0, count=2)
    value_Bn, _ = eigenpairs(batch.z)
    assert batch.coherent.all()
    assert (value_Bn[:, 1] / value_Bn[:, 0]).max() < 1e-4


def test_pathloss_makes_far_sources_weak() -> None:
    """Closed form: power falls as 1/r^2, up to +-3 dB."""
    batch = _scenes(_small(pathloss=True), 128, count=2)
    ratio = (batch.power[:, 0] / batch.power[:, 1]) / (batch.q[:, 0, 2] / batch.q[:, 1, 2]) ** 2
    assert ratio.max() <= 10**0.6 + 1e-3
    assert ratio.min() >= 10**-0.6 - 1e-3


def test_a_mistaken_wavefront_changes_the_estimator_and_not_the_scenes() -> None:
    """Planted: `steering` is what is believed; nature stays exact."""
    exact, fresnel = _scenes(_ideal()), _scenes(_ideal(steering="fresnel"))
    assert torch.equal(exact.z, fresnel.z)
    assert torch.equal(exact.q, fresnel.q)
    sense = sensing(_ideal(steering="fresnel").surface, CPU, torch.float64)
    assert not torch.allclose(sense.steer(_places(3)), sense.nature.steer(_places(3)))


# -- spectra and estimates -------------------------------------------------------------------------------------------
def test_eigenpairs_by_the_gram_matrix_are_those_of_the_covariance() -> None:
    """Judge: numpy.linalg.eigh of R_samp."""
    batch = _scenes(_small(), 4)
    value_Bn, vector_BRn = eigenpairs(batch.z)
    for row in range(4):
        expected = np.linalg.eigh(sample(batch.z)[row].numpy())[0][::-1][:8]
        assert np.allclose(value_Bn[row], expected, atol=1e-3)
        rebuilt = (vector_BRn[row] * value_Bn[row]) @ vector_BRn[row].mH
        assert torch.allclose(rebuilt, sample(batch.z)[row], atol=1e-3)


def test_more_snapshots_than_entries_take_the_other_branch() -> None:
    """Judge: numpy.linalg.eigh again, with L > N'."""
    batch = _scenes(_small(snapshots=50), 2)
    value_Bn, vector_BRn = eigenpairs(batch.z)
    assert value_Bn.shape == (2, 36)
    assert np.allclose(value_Bn[0], np.linalg.eigh(sample(batch.z)[0].numpy())[0][::-1], atol=1e-3)
    assert torch.allclose((vector_BRn[0] * value_Bn[0]) @ vector_BRn[0].mH, sample(batch.z)[0], atol=1e-3)


def test_feature_maps_are_the_textbook_spectra() -> None:
    """Judge: numpy, b^H R b and 1 / (b^H (R + 0.5 I)^-1 b) with the whole matrix."""
    task = _small()
    batch = _scenes(task, 2)
    maps, eigenvalues = features(batch.z, task.surface, task.grid)
    b_GR = dictionary(task.surface, task.grid, CPU, torch.float64).numpy()
    for row in range(2):
        cov = sample(batch.z)[row].numpy().astype(complex)
        bartlett = np.einsum("gr,rs,gs->g", b_GR.conj(), cov, b_GR).real / 36
        mvdr = 1 / np.einsum("gr,rs,gs->g", b_GR.conj(), np.linalg.inv(cov + 0.5 * np.eye(36)), b_GR).real
        assert np.allclose(maps[row, :3].flatten().square(), bartlett, atol=1e-4)
        assert np.allclose(maps[row, 3:].flatten().exp(), mvdr, rtol=1e-3)
    assert eigenvalues.shape == (2, 8)


def test_classical_factors_have_the_textbook_spectra() -> None:
    """Judge: numpy, the ranking of b^H R b and of 1 / (b^H (R + I)^-1 b)."""
    task = _small()
    batch = _scenes(task, 1)
    classical = Classical(batch, task.method)
    b_GR = dictionary(task.surface, task.method.grid, CPU, torch.float64)
    cov, eye = sample(batch.z.to(torch.complex128))[0].numpy(), np.eye(36)
    weight = classical.value_Bn / (classical.value_Bn + 1)
    height = scan(classical.vector_BRn * weight.sqrt()[:, None], b_GR)[0].numpy()
    loaded = np.einsum("gr,rs,gs->g", b_GR.numpy().conj(), np.linalg.inv(cov + eye), b_GR.numpy()).real
    assert np.allclose(1 - height, loaded, atol=1e-6)


def test_peaks_are_local_maxima_apart_from_each_other() -> None:
    """Planted: three summits, one of them inside the box of a higher one."""
    task = _small()
    grid = task.method.grid
    image = torch.zeros(grid.planes, grid.nv, grid.nu, dtype=torch.float64)
    image[1, 12, 10], image[0, 12, 14], image[2, 5, 30] = 3.0, 2.9, 2.0  # 10 and 14: 0.17 apart, the box is 0.2
    cells, padded = peaks(image.flatten()[None], task.method, 2)
    assert cells.tolist() == [[(1 * 25 + 12) * 41 + 10, (2 * 25 + 5) * 41 + 30]]
    assert not padded.any()
    flat = torch.zeros(1, grid.cells, dtype=torch.float64)
    flat[0, 5] = 1.0
    assert len(set(peaks(flat, task.method, 3)[0][0].tolist())) == 3


@pytest.mark.parametrize("codes", [8, 2, 1], ids=["PM=128", "PM=32", "PM=16"])
def test_the_true_covariance_gives_the_exact_answer(codes: int) -> None:
    """Planted sources: MUSIC and Newton on R_true with K known, in complex128, compressed or not."""
    task = physics.ideal(RIS(codes=codes, newton_iters=6, nf_mle_iters=0))
    batch = _scenes(task, 48)
    errors = physics.medians(task, batch, task.method, true_covariance=True)
    assert errors[0] < 1e-3
    assert errors[1] < 1e-3
    assert errors[2] < 1e-3


def test_the_estimator_reaches_the_bound() -> None:
    """Judge: the Cramer-Rao bound. From 0 dB up the median error with ML is within 15 % of 0.6745 deviations."""
    task = physics.ideal(RIS(nf_mle_iters=3))
    batch = _scenes(task, 256, snr_db=5.0)
    ratio = physics.medians(task, batch, task.method) / physics.bound_medians(task, batch)
    assert (ratio > 0.8).all(), ratio
    assert (ratio < 1.15).all(), ratio


def test_newton_goes_downhill_only() -> None:
    """Closed form: the distance to the noise subspace never grows."""
    task = _small()
    batch = _scenes(task)
    basis = signal_basis(sample(batch.z.to(torch.complex128)), batch.source_count, 2)
    peak = locate(basis, batch.source_count, task.method, 2)
    sense = sensing(task.surface, CPU, torch.float64)

    def far(q: Tensor) -> Tensor:
        return 1 - (sense.unit(q).conj() @ basis).abs().square().sum(-1)

    assert (far(newton(peak.q, basis, task.method)) <= far(peak.q) + 1e-12).all()


def test_ml_puts_a_source_that_ends_at_a_limit_back() -> None:
    """Planted: samples of a source outside the view. ML would clamp it to the nearest limit; it keeps its place, and a
    source within the view is polished as before."""
    task = _ideal(range_grid=61)
    sense = sensing(task.surface, CPU, torch.float64)
    start = torch.tensor([[[0.1, 0.1, 0.4]], [[0.1, 0.1, 0.5]]], dtype=torch.float64)
    true = torch.tensor([[0.11, 0.1, 0.05], [0.11, 0.1, 0.52]], dtype=torch.float64)  # 20 m, and 1.9 m
    b = sense.steer(true)
    samp = b[:, :, None] * b[:, None].conj()
    shown = torch.ones(2, 1, dtype=torch.bool)
    q = maximum_likelihood(start, shown, samp, replace(task.method, nf_mle_iters=8))
    assert torch.equal(q[0], start[0])
    assert torch.allclose(q[1, 0], true[1], atol=1e-3)


def test_greedy_ml_counts_and_finds_planted_sources() -> None:
    """Planted sources at 20 dB, ideal: all found, within half a degree; false alarms near one in a hundred."""
    task = physics.ideal(RIS(snr_hi=20.0))
    batch = _scenes(task, 96, snr_db=20.0)
    scores = summary(judge(Classical(batch, task.method).greedy(), batch, task.view))
    assert scores["k_acc"] > 0.9
    assert scores["med_phi_deg"] < 0.1


def test_methods_that_share_work_on_a_batch_do_not_mix_batches_up() -> None:
    task = _ideal()
    first, second = (_scenes(task, 4, snr_db=snr_db) for snr_db in (0.0, 20.0))
    shared = solvers(task.method)
    for name in ("MUSIC, AIC", "MUSIC + ML, AIC", "MVDR, AIC"):
        for batch in (first, second, first):
            alone = solvers(task.method)[name](batch)
            assert all(torch.equal(*both) for both in zip(shared[name](batch), alone, strict=True))


def test_every_competitor_finds_one_loud_source() -> None:
    """Planted: one source at 30 dB, ideal scene; each method within its grid."""
    task = _ideal()
    batch = _scenes(task, 16, snr_db=30.0, count=1)
    competitors = {name: solve for name, solve in solvers(task.method).items() if not name.endswith(REFERENCE)}
    assert len(competitors) == 9
    for name, solve in competitors.items():
        error = judge(solve(batch), batch, task.view).error[:, 0]
        assert error[:, 0].median() < 1.5, name
        assert error[:, 1].median() < 1.5, name


# -- the bound -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1, 2])
def test_the_bound_is_the_inverse_of_the_gaussian_fisher_information(count: int) -> None:
    """Judge: Slepian-Bangs, L tr(R^-1 dR R^-1 dR), with the sources' covariance and the noise unknown as well,
    derivatives by autograd."""
    task = _ideal()
    batch = _scenes(task, 1, snr_db=0.0, count=count)
    batch.q[0, 1:count] = batch.q[0, 0] + torch.tensor([0.15, -0.1, 0.2])  # close, so that they see each other
    sense = sensing(task.surface, CPU, torch.float64)
    q, power = batch.q[0, :count].double(), batch.power[0, :count].double()
    unknown = count * (count - 1)  # real and imaginary parts of the sources' correlations, all of them 0
    start = torch.cat((q.flatten(), power, torch.zeros(unknown, dtype=torch.float64), batch.noise[:1].double()))

    def covariance(x: Tensor) -> Tensor:
        b = sense.steer(x[: 3 * count].unflatten(0, (count, 3))).mT
        between = torch.diag(x[3 * count : 4 * count]).to(torch.complex128)
        if count == 2:
            turn = torch.tensor([[[0, 1], [1, 0]], [[0, 1j], [-1j, 0]]], dtype=torch.complex128)
            between = between + (x[4 * count : 4 * count + 2, None, None] * turn).sum(0)
        return torch.view_as_real(b @ between @ b.mH + x[-1] * torch.eye(36, dtype=torch.complex128))

    slopes = torch.autograd.functional.jacobian(covariance, start)  # [36, 36, 2, parameters]
    slopes = torch.view_as_complex(slopes.movedim(-1, 0).contiguous())
    scaled = torch.linalg.inv(torch.view_as_complex(covariance(start))) @ slopes
    fisher = 8 * torch.einsum("irs,jsr->ij", scaled, scaled).real
    everything = torch.linalg.inv(fisher)
    for k in range(count):
        turn = torch.autograd.functional.jacobian(to_polar, q[k])
        block = everything[3 * k : 3 * k + 3, 3 * k : 3 * k + 3]
        deviation = (turn @ block @ turn.T).diagonal().sqrt() * torch.tensor([180 / math.pi, 180 / math.pi, 1])
        assert torch.allclose(deviations(batch, sense)[0, k], deviation, rtol=1e-5)
    assert deviations(batch, sense)[0, count:].isnan().all()


# -- how many ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rule", ["mdl", "aic"])
def test_the_order_of_planted_eigenvalues(rule: str) -> None:
    """Planted: k large eigenvalues above a flat floor."""
    for k in (1, 2, 3):
        value = torch.cat((torch.full((k,), 20.0), torch.ones(8 - k)))[None]
        assert order(value, 64, 8, 3, rule).item() == k


def test_the_longer_side_is_the_number_of_samples() -> None:
    """By hand, eigenvalues 30, 4, 1 x 6 with 64 entries and 8 snapshots: for k = 1 MDL is 64 * 7 * ln(1.4286 / 1.2190)
    + 7.5 ln 64 = 102, for k = 2 it is 14 ln 64 = 58. With 8 in the place of 64 it would be 24 against 29."""
    value = torch.tensor([[30.0, 4, 1, 1, 1, 1, 1, 1]])
    assert order(value, 64, 8, 3, "mdl").item() == 2
    assert order(value, 8, 8, 3, "mdl").item() == 1


def test_truth_has_the_rank_of_the_sources_and_the_right_trace() -> None:
    """Closed form: rank K, trace N', whatever the powers."""
    task = _small()
    batch = _scenes(task, 16, count=2)
    true = truth(
        batch._replace(q=batch.q.double(), power=batch.power.double()), sensing(task.surface, CPU, torch.float64)
    )
    assert (torch.linalg.matrix_rank(true, rtol=1e-9) == 2).all()
    assert torch.allclose(true.diagonal(dim1=-2, dim2=-1).real.sum(-1), torch.full((16,), 36.0, dtype=torch.float64))


def test_an_estimate_of_a_chunk_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: memory's limit changes how many scenes go together and nothing else."""
    task = _small()
    batch = _scenes(task, 10)
    samp = sample(batch.z)
    whole = estimate(samp, samp, batch.source_count, task.method, 2)
    monkeypatch.setattr("objectives.ris.estimator.MEMORY", 1)
    parts = estimate(samp, samp, batch.source_count, task.method, 2)
    assert task.method.chunk(2) == 1
    assert torch.allclose(whole.q, parts.q, atol=1e-8)


def test_a_plane_wave_is_the_limit_of_a_far_source() -> None:
    """Closed form: exp(j k (x u + y v)) at rho = 0."""
    x_N, y_N = elements(5, 3)
    q = torch.tensor([0.3, -0.2, 0.0], dtype=torch.float64)
    expected = torch.exp(1j * WAVENUMBER * (0.3 * x_N - 0.2 * y_N))
    assert torch.allclose(manifold(q, x_N, y_N), expected)
