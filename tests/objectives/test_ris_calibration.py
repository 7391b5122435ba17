"""The gains of the elements from training scenes, and that network and classical methods know the same ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hpo import Fidelity, Recipe, Tuned, fit, generator
from objectives.ris import RIS, SMOKE
from objectives.ris.baseline import UNCALIBRATED, competitors, solvers
from objectives.ris.calibration import calibrated, element_gains
from objectives.ris.data import generate
from objectives.ris.metrics import judge
from objectives.ris.physics_checks import check_countable
from objectives.ris.pursuit import FALSE_ALARM, evidence, pursue, pursued, significant, with_count
from objectives.ris.sensing import gains, sensing

CPU = torch.device("cpu")
FIELDS = {name.removeprefix("task."): value for name, value in SMOKE.fixed.items()}
TINY = Fidelity(size=6, train=96, val=16, epochs=1)


def _task(**changes: object) -> RIS:
    return RIS(**{**FIELDS, **changes})


def _difference(found_N: Tensor, true_N: Tensor) -> float:
    """Root mean square of the relative errors, without the common factor, which no scene shows."""
    factor = (found_N.conj() @ true_N) / found_N.norm() ** 2
    return float(((factor * found_N - true_N).abs() / true_N.abs()).square().mean().sqrt())


@pytest.mark.parametrize("codes", [9, 3], ids=["more measurements than elements", "fewer"])
def test_planted_gains_are_found(codes: int) -> None:
    """Planted: the deployment's own errors, 0.5 rad and 1 dB, at 20 dB. Taking all gains as 1 is off by half."""
    task = _task(sigma_psi=0.5, sigma_gain_db=1.0, codes=codes)
    batch = generate(task.scenario, 200, generator("test", "calibration"), snr_db=20.0, count=1)
    found_N = element_gains(
        batch.z.to(torch.complex128), batch.q[:, 0].double(), sensing(task.surface, CPU, torch.float64)
    )
    true_N = gains(task.surface, 0.5, 1.0)
    assert _difference(torch.ones_like(true_N), true_N) > 0.4
    assert _difference(found_N, true_N) < 0.02


def test_the_error_falls_with_the_root_of_the_number_of_scenes() -> None:
    """Closed form: sixteen times the scenes give a quarter of the error."""
    task = _task()
    batch = generate(task.scenario, 800, generator("test", "calibration"), snr_db=0.0, count=1)
    z, q, sense = batch.z.to(torch.complex128), batch.q[:, 0].double(), sensing(task.surface, CPU, torch.float64)
    true_N = gains(task.surface, task.sigma_psi, task.sigma_gain_db)
    few = np.mean([_difference(element_gains(z[rows], q[rows], sense), true_N) for rows in torch.arange(800).split(50)])
    assert _difference(element_gains(z, q, sense), true_N) == pytest.approx(few / 4, rel=0.3)


def test_without_a_scene_all_gains_are_one() -> None:
    sense = sensing(_task().surface, CPU, torch.float64)
    none = torch.zeros(0, 36, 8, dtype=torch.complex128)
    assert torch.allclose(element_gains(none, torch.zeros(0, 3, dtype=torch.float64), sense), torch.ones(36).cdouble())


def test_the_calibration_follows_from_the_training_scenes_of_the_fidelity() -> None:
    task = _task()
    assert task.from_data(TINY).element_gains == calibrated(task.scenario, 96)
    assert task.from_data(replace(TINY, train=64)).element_gains == calibrated(task.scenario, 64)
    assert task.from_data(replace(TINY, val=8)) == task.from_data(TINY)
    assert replace(task, calibrate=False).from_data(TINY).element_gains == ()
    assert task.from_data(TINY).scenario == task.scenario  # nature has gains of its own


def test_network_and_methods_assume_the_same_gains() -> None:
    """Planted: with the true gains and one source at 30 dB, R_true of the labels is the samples' covariance, and the
    error of every method is smaller than without them."""
    task = _task(sigma_psi=0.5)
    true = tuple(torch.view_as_real(gains(task.surface, 0.5, task.sigma_gain_db)).flatten().tolist())
    knowing = replace(task, element_gains=true)
    batch = generate(task.scenario, 32, generator("test", "assumed"), snr_db=30.0, count=1)
    with torch.no_grad():
        score = knowing.score(knowing.model().eval(), batch)
        assert float(score["nmse_samp"].max()) < 1e-2
        assert float(task.score(task.model().eval(), batch)["nmse_samp"].min()) > 0.05
    methods = competitors(knowing.method)
    for name in ("greedy ML", "MUSIC + ML, AIC"):
        known, nominal = (judge(methods[each](batch), batch, task.view) for each in (name, f"{name}{UNCALIBRATED}"))
        assert float(known.ospa_m.mean()) < 0.2 * float(nominal.ospa_m.mean()), name
        alone = judge(solvers(task.method)[name](batch), batch, task.view)
        assert torch.equal(nominal.ospa_m, alone.ospa_m), name


def test_methods_with_settings_are_tuned_with_and_without_the_calibration() -> None:
    baselines = _task().from_data(TINY).baselines(TINY)
    tuned = {name: method.defaults for name, method in baselines.items() if isinstance(method, Tuned)}
    assert tuned["greedy ML"] == tuned["greedy ML, uncalibrated"] == {"false_alarm": 0.01, "steps": 2}
    assert tuned["MVDR, AIC"] == {"loading": 1.0}
    batch = next(iter(_task().batches("val", TINY, 16, torch.Generator())))
    strict = baselines["greedy ML"].with_settings({"false_alarm": 1e-4})(batch)["claimed"]
    assert int(strict.sum()) <= int(baselines["greedy ML"](batch)["claimed"].sum())


def test_the_explanation_by_more_sources_leaves_less_over() -> None:
    """Planted: two sources at 20 dB; the second step explains most of what the first leaves."""
    task = _task(sigma_psi=0.0, sigma_gain_db=0.0, p_coh=0.0)
    batch = generate(task.scenario, 32, generator("test", "pursuit"), snr_db=20.0, count=2)
    first, second = pursue(batch.z, task.method, 2)
    assert (second.misfit < first.misfit).all()
    assert float((second.misfit / first.misfit).median()) < 0.2
    assert with_count((first, second), torch.tensor([1, 2] * 16)).mask.sum(1).tolist() == [1, 2] * 16


def test_the_peaks_of_the_pursuit_count_where_the_network_is_not_sure() -> None:
    """Planted: a network that finds every number equally likely counts as the significance of the peaks does; one that
    is sure is not overruled where the peaks say little, and positions are those of the pursuit."""
    task = _task(positions="pursuit", evidence=1.0)
    batch = generate(task.scenario, 64, generator("test", "evidence"))
    model = task.model().eval()
    with torch.no_grad():
        sight = task.pipeline.sight(model, batch.z)
        flat = sight._replace(cells=sight.cells._replace(count_logits=torch.zeros(64, 2)))
        steps = pursued(batch.z, task.method, 2)
        by_peaks = significant(steps, 36, 8, 0.1 * FALSE_ALARM)
        assert torch.equal(task.pipeline.count(flat, batch.z), by_peaks)
        sure = flat._replace(cells=flat.cells._replace(count_logits=torch.tensor([[0.0, 50.0]]).expand(64, 2)))
        assert (task.pipeline.count(sure, batch.z) == 2).all()
        estimates = task.pipeline.infer(flat, batch.z)
    assert torch.equal(estimates.q, with_count(steps, by_peaks).q)
    odds_BK = evidence(steps, 36, 8)
    assert (odds_BK[:, 0] == 0).all()
    assert odds_BK.abs().max() <= 10


def test_what_was_pursued_is_known_by_its_content() -> None:
    task = _task()
    batch = generate(task.scenario, 4, generator("test", "known"))
    first = pursued(batch.z, task.method, 2)
    assert pursued(batch.z.clone(), replace(task.method, range_grid=7, nf_mle_iters=0), 2) is first
    other = pursued(batch.z * 1.5, task.method, 2)
    assert other is not first
    assert all(torch.allclose(one.q, two.q) for one, two in zip(first, other, strict=True))  # no scale matters


# -- few snapshots, few measurements -----------------------------------------------------------------------------------
@pytest.mark.parametrize("snapshots", [1, 2, 3])
def test_few_snapshots_are_trained_and_judged_and_what_cannot_be_counted_is_said(snapshots: int) -> None:
    """A single eigenvalue shows one source, whatever the rule."""
    task = _task(snapshots=snapshots, k_conf_thresh=1.0).from_data(TINY)  # so the rule counts in every scene
    progress = next(fit(task, Recipe(batch_size=32), TINY, seed=0))
    assert 0 <= progress.value <= 1
    batch = next(iter(task.batches("val", TINY, 16, torch.Generator())))
    count = task.pipeline.order(batch.z, "mdl")
    assert int(count.max()) <= max(1, snapshots - 1)
    check = check_countable(task.pipeline, task.scenario)
    assert check.status == ("go" if snapshots == 3 else "caution")
    assert f"at most {max(1, snapshots - 1)} of 2 sources" in check.seen


def test_no_more_measurements_than_sources_are_refused() -> None:
    with pytest.raises(ValueError, match=r"k_max must be below N' = .* = 2: K sources explain any K measurements"):
        _task(antennas=2, codes=1)
