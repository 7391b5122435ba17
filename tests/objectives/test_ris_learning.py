"""Covariances, losses, network, metrics and the task's own contract.

Expected values come from numpy, scipy, torch's own functions, closed forms or hand-made scenes; each test says which.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from hpo import REFERENCE, Check, Evidence, Fidelity, Moment, SweptTrial, evaluate, generator
from objectives.ris import CHEAP, CHEAP_GPU, FULL, FULL_CPU_LONG, FULL_GPU, RIS, SMOKE, checks
from objectives.ris import loss as losses
from objectives.ris.comparison import bin_edges, compare, markdown, not_won
from objectives.ris.covariance import blend, contract, effective, predicted, sample, tracenorm, truth
from objectives.ris.data import Batch, generate
from objectives.ris.estimator import Estimates
from objectives.ris.features import points
from objectives.ris.geometry import from_polar, to_metres
from objectives.ris.metrics import assign, by_snr, interval, judge, ospa, summary
from objectives.ris.pictures import charts
from objectives.ris.sensing import sensing
from tests.epochs import epoch

CPU = torch.device("cpu")
FIELDS = {name.removeprefix("task."): value for name, value in SMOKE.fixed.items()}


def _small(**changes) -> RIS:
    return RIS(**{**FIELDS, **changes})


def _scenes(task: RIS, n: int = 16, **given) -> Batch:
    return generate(task.scenario, n, generator("test", "ris learning"), **given)


def _model(task: RIS) -> torch.nn.Module:
    torch.manual_seed(0)
    return task.model().eval()


def _placed(*places: tuple[float, float, float]) -> Tensor:
    """(phi deg, theta deg, r m) -> q."""
    polar = torch.tensor(places, dtype=torch.float64)
    return from_polar(torch.cat((polar[:, :2] * math.pi / 180, polar[:, 2:]), -1))


def _hermitian(*shape: int) -> Tensor:
    a = torch.randn(*shape, shape[-1], dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    return tracenorm(a @ a.mH)


# -- covariances -----------------------------------------------------------------------------------------------------
def test_the_networks_covariance_is_the_sum_that_it_says() -> None:
    """Judge: numpy, N' sum_f w_f b_f b_f^H + (1 - sum w) I."""
    rng = np.random.default_rng(0)
    weight = np.array([0.5, 0.2, 0.1])
    unit = rng.normal(size=(3, 6)) + 1j * rng.normal(size=(3, 6))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    expected = 6 * sum(w * np.outer(b, b.conj()) for w, b in zip(weight, unit, strict=True)) + 0.2 * np.eye(6)
    made = predicted(torch.from_numpy(weight)[None], torch.from_numpy(unit)[None])
    assert np.allclose(made[0], expected)
    assert contract(made.to(torch.complex64)).holds


def test_the_contract_tells_good_from_bad() -> None:
    """Planted faults: each breaks the contract."""
    good = _hermitian(4, 8)
    assert contract(good).holds
    assert not contract(2 * good).holds
    assert not contract(good + 0.1j * torch.ones(8, 8)).holds
    assert not contract(good - 3 * torch.eye(8)).holds
    assert not contract(good * math.nan).holds


def test_blending_is_convex_and_beta_weighs_the_samples() -> None:
    """Closed form: beta = 0 is R_pred, beta = 1 is R_samp, and no gradient reaches R_samp."""
    pred, samp = _hermitian(2, 8), tracenorm(torch.eye(8, dtype=torch.complex64).expand(2, 8, 8).clone())
    assert torch.allclose(blend(pred, samp, 0.0), pred, atol=1e-6)
    assert torch.allclose(blend(pred, samp, 1.0), samp, atol=1e-6)
    pred.requires_grad_()
    samp.requires_grad_()
    blend(pred, samp, 0.3).abs().sum().backward()
    assert pred.grad is not None
    assert samp.grad is None


@pytest.mark.parametrize("wrong", ["shape", "square", "real", "beta", "batch"])
def test_the_assertions_at_the_blend_are_permanent(wrong: str) -> None:
    """Planted faults: each stops the run."""
    pred, samp, beta = _hermitian(2, 8), _hermitian(2, 8), 0.3
    if wrong == "shape":
        samp = samp[:, :7, :7]
    elif wrong == "square":
        pred = pred[:, :, :7]
    elif wrong == "real":
        pred, samp = pred.real, samp.real
    elif wrong == "batch":
        samp = samp[:1]
    else:
        beta = 1.01
    with pytest.raises(AssertionError):
        blend(pred, samp, beta)


def test_a_covariance_that_is_not_finite_is_refused() -> None:
    with pytest.raises(FloatingPointError, match="finite"):
        blend(_hermitian(1, 8) * math.nan, _hermitian(1, 8), 0.3)


def test_loading_leaves_eigenvectors_and_trace() -> None:
    """Closed form: (1 - a) R + (a + e) I over 1 + e has R's eigenvectors and trace."""
    cov = _hermitian(1, 8)
    loaded = effective(cov, 0.2, 1e-3)
    value, vector = torch.linalg.eigh(cov)
    expected = ((0.8 * value + 0.201) / 1.001).to(torch.complex64)
    assert torch.allclose(loaded @ vector, vector * expected[:, None], atol=1e-4)
    assert torch.allclose(loaded.diagonal(dim1=-2, dim2=-1).real.sum(-1), torch.tensor([8.0]), atol=1e-4)


def test_an_empty_snapshot_stays_empty() -> None:
    """Closed form: the input that preflight zeroes has the zero covariance, and everything after it is finite."""
    task = _small()
    batch = _scenes(task, 4)._replace(z=torch.zeros(4, 36, 8, dtype=torch.complex64))
    assert torch.equal(sample(batch.z), torch.zeros(4, 36, 36, dtype=torch.complex64))
    with torch.no_grad():
        terms = task.loss(_model(task), batch, Moment(1, 3, 5, 15))
        assert all(torch.isfinite(term) for term in terms.values())
        assert math.isfinite(evaluate(task, _model(task), [batch])["ospa"])


# -- losses ----------------------------------------------------------------------------------------------------------
def test_the_target_map_is_the_mixture_of_its_sources() -> None:
    """Closed form: sums to 1, and each source's share lies around it."""
    task = _small()
    batch = _scenes(task, 8, count=2)
    target = losses.heat_target(batch, task.grid, points(task.grid, CPU, torch.float32))
    assert torch.allclose(target.sum(-1), torch.ones(8), atol=1e-5)
    loudest = losses.nearest(task.grid, batch.q).gather(1, batch.power.argmax(1)[:, None])[:, 0]
    assert torch.equal(target.argmax(-1), loudest)


def test_heat_is_torchs_own_divergence() -> None:
    """Judge: torch.nn.functional.kl_div."""
    task = _small()
    batch = _scenes(task, 8)
    target = losses.heat_target(batch, task.grid, points(task.grid, CPU, torch.float32))
    logits = torch.randn(8, task.grid.cells, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.kl_div(logits.log_softmax(-1), target, reduction="batchmean")
    assert torch.allclose(losses.heat(logits, target), expected, atol=1e-5)


def test_what_lies_outside_the_subspace_is_measured() -> None:
    """Closed form: the identity has (N' - K) of its N' dimensions outside K sources."""
    task = _small()
    batch = _scenes(task, 4, count=2)
    eye = torch.eye(36, dtype=torch.complex64).expand(4, -1, -1)
    sense = sensing(task.surface, CPU, torch.float32)
    assert math.isclose(float(losses.outside(eye, batch, sense)), 34 / 36, rel_tol=1e-4)


def test_contrast_is_the_spectrum_over_the_stencil() -> None:
    """Judge: numpy, -log softmax of the MVDR spectrum at the source against eight neighbours 1.2/n away; 2 log 9 for
    no source at all, since the logarithm is taken of a flat spectrum."""
    task = _small()
    batch = _scenes(task, 1, count=1)
    sense, cov = sensing(task.surface, CPU, torch.float64), sample(batch.z.to(torch.complex128))
    b = [
        sense.unit(losses.in_front(batch.q[0, 0].double() + torch.tensor([du, dv, 0]) * 1.2 / 6)).numpy()
        for du, dv in itertools.product((0, -1, 1), repeat=2)
    ]
    inverse = np.linalg.inv(cov[0].numpy() + 0.1 * np.eye(36))
    spectrum = np.array([-np.log((x.conj() @ inverse @ x).real) / 0.5 for x in b])
    expected = -(spectrum[0] - np.log(np.exp(spectrum).sum()))
    made = losses.contrast(cov.to(torch.complex64), batch, sensing(task.surface, CPU, torch.float32), task.surface)
    assert math.isclose(float(made), expected, rel_tol=1e-3)


def test_phases_and_thirds_are_where_the_document_puts_them() -> None:
    """The published schedule: three epochs of warm-up of 30 or more, the last fifth final; thirds of a curriculum."""
    at = {epoch: Moment(epoch, 40, epoch, 40) for epoch in range(40)}
    subs = [losses.structure(moment, phased=True)["sub"] for moment in at.values()]
    assert subs == [0.02] * 3 + [0.05] * 29 + [0.07] * 8
    assert losses.structure(at[0], phased=False) == {"sub": 0.05, "peak": 0.10}
    covs = [losses.curriculum(Moment(epoch, 30, 0, 1), on=True)["cov"] for epoch in range(30)]
    assert covs == [0.5] * 10 + [1.0] * 20
    counts = [losses.curriculum(Moment(epoch, 30, 0, 1), on=True)["count"] for epoch in range(30)]
    assert counts == [0.3] * 10 + [0.6] * 10 + [1.0] * 10
    assert losses.curriculum(at[0], on=False) == losses.CURRICULUM[-1]


def test_weights_are_products_of_the_fields_and_the_moment() -> None:
    """Closed form, and nothing is multiplied twice: asking again gives the same."""
    task = _small(curriculum=True, lam_cov=2.0, lam_ang=0.4)
    first, last = Moment(0, 9, 0, 9), Moment(8, 9, 8, 9)
    assert task.weights(first) == task.weights(first)
    assert task.weights(first)["cov"] == 1.0
    assert task.weights(last)["cov"] == 2.0
    assert task.weights(last)["ang"] == 0.4
    assert set(task.weights(first)) == set(task.loss(_model(task), _scenes(task), first))


# -- metrics ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_assignment_is_the_hungarian_one(k: int) -> None:
    """Judge: scipy.optimize.linear_sum_assignment."""
    cost = torch.rand(50, k, k, generator=torch.Generator().manual_seed(k))
    row_BK = assign(cost)
    for cost_KK, rows in zip(cost, row_BK, strict=True):
        expected = linear_sum_assignment(cost_KK.numpy())
        least = cost_KK.numpy()[expected].sum()
        assert math.isclose(float(cost_KK[rows, torch.arange(k)].sum()), least, rel_tol=1e-5)


def test_ospa_of_hand_made_scenes() -> None:
    """By hand, with a cutoff of 1: one source met at 0.3 gives 0.3; with a false alarm (0.3 + 1)/2; one source missed
    gives 1; two sources, one met at 0.2 and one claimed 5 m away, give (0.2 + 1)/2."""
    gap = torch.full((4, 2, 2), 9.0)
    gap[0, 0, 0] = gap[1, 0, 0] = 0.3
    gap[2, 0, 0] = 7.0
    gap[3, 0, 1], gap[3, 1, 0] = 0.2, 5.0
    claimed = torch.tensor([[1, 0], [1, 1], [1, 0], [1, 1]]).bool()
    present = torch.tensor([[1, 0], [1, 0], [1, 0], [1, 1]]).bool()
    assert torch.allclose(ospa(gap, claimed, present, 1.0), torch.tensor([0.3, 0.65, 1.0, 0.6]))


def _claim(*places: tuple[float, float, float], of: int = 2) -> Estimates:
    q = torch.full((1, of, 3), 0.5, dtype=torch.float64)
    q[0, : len(places)] = _placed(*places)
    mask = (torch.arange(of) < len(places))[None]
    return Estimates(q, mask, torch.zeros_like(mask))


def _facts(*places: tuple[float, float, float], snr_db: float = 12.0, of: int = 2) -> Batch:
    claim = _claim(*places, of=of)
    return Batch(
        z=torch.zeros(1, 36, 8, dtype=torch.complex64),
        q=(claim.q * claim.mask[..., None]).float(),
        power=claim.mask.float() / len(places),
        mask=claim.mask.float(),
        source_count=torch.tensor([len(places)]),
        snr_db=torch.tensor([snr_db]),
        noise=torch.ones(1),
        coherent=torch.tensor([False]),
        crowded=torch.tensor([False]),
    )


def test_errors_have_their_units() -> None:
    """By hand: one degree of azimuth, half a degree of elevation, 10 cm of range."""
    judged = judge(_claim((11.0, -4.5, 2.1)), _facts((10.0, -5.0, 2.0)), _small().view)
    assert torch.allclose(judged.error[0, 0], torch.tensor([1.0, 0.5, 0.1], dtype=torch.float64), atol=1e-4)
    expected = (to_metres(_placed((11.0, -4.5, 2.1))) - to_metres(_placed((10.0, -5.0, 2.0)))).norm()
    assert math.isclose(float(judged.distance_m[0, 0]), float(expected), rel_tol=1e-4)
    assert judged.success.all()
    assert judged.error[0, 1].isnan().all()


def test_success_needs_the_count_and_every_source() -> None:
    """By hand: two degrees, two degrees, one metre, and the right number."""
    view = _small().view
    truths = _facts((10.0, 0.0, 2.0), (-20.0, 5.0, 3.0))
    assert judge(_claim((10.5, 0.0, 2.0), (-20.0, 5.0, 3.0)), truths, view).success.all()
    assert not judge(_claim((12.5, 0.0, 2.0), (-20.0, 5.0, 3.0)), truths, view).success.any()
    assert not judge(_claim((10.0, 0.0, 2.0)), truths, view).success.any()


def test_counts_recall_and_precision() -> None:
    """By hand: two sources, one found, one false alarm far away."""
    view = _small().view
    scores = summary(
        judge(_claim((10.0, 0.0, 2.0), (50.0, -20.0, 1.0)), _facts((10.0, 0.0, 2.0), (-20.0, 5.0, 3.0)), view)
    )
    assert scores["recall"] == 0.5
    assert scores["precision"] == 0.5
    assert scores["k_acc"] == 1.0
    assert scores["med_phi_deg"] < 71
    assert "ospa_noisy" not in scores  # no scene below 0 dB: the figure is left out


def test_figures_by_snr_carry_intervals_that_hold_the_mean() -> None:
    """Closed form: a mean of 0.5 with deviation 0.1 over 400 scenes has an interval of about +-0.01."""
    value = 0.5 + 0.1 * torch.randn(400, generator=torch.Generator().manual_seed(0))
    low, high = interval(value)
    assert low < float(value.mean()) < high
    assert math.isclose(high - low, 2 * 1.96 * 0.1 / 20, rel_tol=0.15)
    bins = by_snr(value, torch.tensor([-5.0] * 160 + [5.0] * 240), (-10.0, 0.0, 20.0))
    assert [snr_bin.scenes for snr_bin in bins] == [160, 240]


# -- the task --------------------------------------------------------------------------------------------------------
def test_parameter_counts_are_those_of_the_design() -> None:
    """The design's figures: about 14 thousand (16 wide, 2 blocks) and 39 thousand (24 wide, 3 blocks)."""

    def count(**fields) -> int:
        return sum(p.numel() for p in RIS(**fields).model().parameters())

    assert 13_000 < count(width=16, blocks=2) < 15_000
    assert 37_000 < count(width=24, blocks=3) < 41_000


def test_training_jitters_beta_and_scoring_does_not() -> None:
    """Planted: with a jitter of 0.3 two training losses differ, two scores do not."""
    task, batch = _small(jitter=0.3), _scenes(_small())
    model, at = _model(task), Moment(1, 3, 5, 15)
    assert task.loss(model, batch, at)["cov"] == task.loss(model, batch, at)["cov"]
    model.train()
    torch.manual_seed(0)
    drawn = [task.training_beta(model) for _ in range(200)]
    assert min(drawn) >= 0
    assert max(drawn) <= 0.6
    assert np.std(drawn) > 0.1
    assert task.loss(model, batch, at)["cov"] != task.loss(model, batch, at)["cov"]
    with torch.no_grad():
        assert evaluate(task, model.eval(), [batch]) == evaluate(task, model, [batch])


def test_blending_the_same_beta_twice_gives_the_same_covariance_everywhere() -> None:
    """The losses, MUSIC and the reported error see one covariance, bit for bit."""
    task, batch = _small(), _scenes(_small())
    model = _model(task)
    with torch.no_grad():
        sight = task.pipeline.sight(model, batch.z)
        scored = task.pipeline.blend(sight)
        assert torch.equal(scored, task.pipeline.blend(sight, task.training_beta(model)))
        true = truth(batch, sensing(task.surface, CPU, torch.float32))
        nmse = float(losses.covariance_error(scored, true).mean())
        assert math.isclose(evaluate(task, model, [batch])["nmse_blend"], nmse, rel_tol=1e-6)
        assert math.isclose(float(task.loss(model, batch, Moment(1, 3, 5, 15))["cov"]), nmse, rel_tol=1e-6)


def test_the_size_of_a_fidelity_is_the_surface() -> None:
    task = _small()
    with pytest.raises(ValueError, match="longer side and must be 6"):
        list(task.batches("val", Fidelity(size=8, train=1, val=1, epochs=1), 1, torch.Generator()))


@pytest.mark.parametrize("given", [{"beta": 1.5}, {"beta_eval": -0.1}, {"k_conf_thresh": 2}, {"factors": 9999}])
def test_fields_outside_their_meaning_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(given))):
        RIS(**given)


@pytest.mark.parametrize(
    "fidelity",
    [SMOKE, CHEAP, FULL, FULL_CPU_LONG, CHEAP_GPU, FULL_GPU],
    ids=["smoke", "cheap", "full", "cpu long", "cheap gpu", "full gpu"],
)
def test_every_tier_makes_a_task_whose_surface_has_its_size(fidelity: Fidelity) -> None:
    """What a tier pins are fields of the task, and its size is the surface's longer side."""
    fields = {name.removeprefix("task."): value for name, value in fidelity.fixed.items() if name.startswith("task.")}
    task = RIS(**fields)
    assert max(task.n_h, task.n_v) == fidelity.size
    assert task.grid.cells >= task.factors


def test_the_original_sizes_train_and_score_in_bounded_memory() -> None:
    """The GPU tier's shapes: one batch of its scenes passes through loss, gradient and score; the estimator's largest
    array stays within its budget."""
    fields = {name.removeprefix("task."): value for name, value in FULL_GPU.fixed.items() if name.startswith("task.")}
    task = RIS(**{**fields, "width": 8, "blocks": 1})
    batch = _scenes(task, 2)
    model = task.model()
    sum(task.loss(model, batch, Moment(100, 160, 1, 2)).values()).backward()
    with torch.no_grad():
        assert math.isfinite(evaluate(task, model.eval(), [batch])["ospa"])
    assert task.method.chunk(5) * 5 * max(241 * 144, task.method.grid.cells) <= 2**24


def test_scoring_anew_knows_what_only_inference_reads() -> None:
    """Every candidate gives the same network, and each name is a field; what they change is the score alone."""
    task, batch = _small(), _scenes(_small())
    at, model = Moment(1, 3, 5, 15), _model(task)
    weights, terms = model.state_dict(), task.loss(model, batch, at)
    for name, values in task.rescored().items():
        field = name.removeprefix("task.")
        assert len(values) > 1
        for value in values:
            changed = replace(task, **{field: value})
            changed.model().load_state_dict(weights)
            assert changed.loss(model, batch, at) == terms


def test_checks_name_every_condition_at_both_stages() -> None:
    """The list of conditions, G01 to G20: each is judged or skipped with a reason, at each stage."""
    task = _small()
    history = (
        epoch(0, loss=2.0, grad_norm=0.5, scores={"k_acc_clear": 0.6}),
        epoch(1, loss=0.4, grad_norm=0.4, scores={"k_acc_clear": 0.8}),
    )
    for stage in ("preflight", "promotion"):
        judged = task.checks(Evidence(stage, scores={"loss": 0.4, "ospa": 0.2}, history=history))
        assert {check.name[:3] for check in judged} == {f"G{number:02d}" for number in range(1, 21)}
        assert all(check.seen for check in judged if check.status == "skip")
    before = task.checks(Evidence("preflight", scores={"loss": 0.4}, history=history))
    assert {check.status for check in before} == {"go", "skip"}, [c for c in before if c.status == "no-go"]


def _statuses(judged: list[Check]) -> dict[str, str]:
    return {check.name[:3]: check.status for check in judged}


def test_checks_say_no_to_planted_failures() -> None:
    """Planted: an overfit that failed, a curve that jumps, a network that answers with a constant, a flat sweep."""
    bad = {
        "loss": 1.4,
        "spread_phi_deg": 0.1,
        "spread_theta_deg": 1.0,
        "spread_r_m": 1.0,
        "peg_clear": 0.3,
        "border_clear": 0.02,
        "k_acc_clear": 0.3,
        "k_chance": 1 / 3,
        "nmse_pred": 0.9,
        "nmse_eye": 0.95,
        "nmse_pred_noisy": 0.9,
        "nmse_samp_noisy": 0.7,
        "ospa": 0.5,
        "ospa_sem": 0.01,
    }
    curve = tuple(epoch(number, loss=loss) for number, loss in enumerate((2.0, 1.0, 1.5)))
    trials = tuple(SweptTrial(n, "complete", 0.4 + n / 1e4, params={}, epochs=10) for n in range(8))
    baselines = {"MUSIC, AIC": {"ospa": 0.4, "ospa_sem": 0.01}}
    before = _statuses(_small().checks(Evidence("preflight", scores=bad, history=curve)))
    after = _statuses(
        checks.promotion(Evidence("promotion", scores=bad, history=curve, trials=trials, baselines=baselines))
    )
    assert (before["G02"], before["G03"]) == ("no-go", "no-go")
    for name in ("G05", "G06", "G13", "G14", "G15", "G17", "G19"):
        assert after[name] == "no-go", name
    assert after["G07"] == "go"


def test_checks_of_history_and_trials_say_no_to_a_disturbed_run() -> None:
    """Planted: a count that is lost during the run, a skipped step, a gradient made finite, a failed trial."""
    scores = {"k_chance": 0.5, "k_acc_clear": 0.9}
    course = (epoch(0, scores={"k_acc_clear": 0.9}), epoch(1, scores={"k_acc_clear": 0.8}))
    trials = (SweptTrial(0, "complete", 0.4, params={}, epochs=10), SweptTrial(1, "failed", None, params={}, epochs=3))
    statuses = _statuses(checks.promotion(Evidence("promotion", scores=scores, history=course, trials=trials)))
    assert (statuses["G04"], statuses["G07"], statuses["G14"]) == ("go", "no-go", "no-go")
    rising = _statuses(checks.promotion(Evidence("promotion", scores=scores, history=course[::-1])))
    assert rising["G14"] == "go"
    skipped = Evidence("promotion", history=(epoch(steps_taken=0, steps_skipped=1),))
    assert _statuses(checks.promotion(skipped))["G04"] == "no-go"
    sanitised = Evidence("promotion", history=(epoch(nonfinite={"stem.weight": 2}),))
    assert _statuses(checks.promotion(sanitised))["G04"] == "caution"


def test_only_commands_import_the_task() -> None:
    """Checks, pictures and comparison take values: the task wires them, and nothing below it refers back to it."""
    folder = Path(__file__).parents[2] / "objectives" / "ris"
    importers = {path.name for path in folder.glob("*.py") if "objectives.ris.task" in path.read_text()}
    assert importers == {"__init__.py", "physics.py", "table.py"}


def test_pictures_show_every_method_and_where_it_does_not_win() -> None:
    """Every method is in the table with every bin. The learned pipeline compared with itself is a tie."""
    task = _small()
    model, batch = _model(task), _scenes(task, 40)
    with torch.no_grad():
        tables = compare(task.pipeline, model, batch)
    edges = bin_edges(task.scenario)
    rows = list(markdown(tables, edges))
    assert len(rows) == 2 + len(tables.everything)
    assert {"MVDR, AIC", "Bartlett, AIC", "MUSIC, MDL", "MUSIC, AIC", "greedy ML"} <= set(tables.classical)
    assert set(tables.classical | tables.references) == set(task.baselines(SMOKE))
    assert all(name.endswith(REFERENCE) for name in tables.references)
    same = tables._replace(classical={"itself": tables.learned["learned"]})
    assert all("ties" in words for words in not_won(same, edges)["itself"])
    drawn = list(charts(task.pipeline, task.scenario, model, [batch]))
    assert [chart.title for chart in drawn][:2] == ["OSPA of every method by SNR", "OSPA by SNR"]
    assert all("nan" not in chart.caption.lower() for chart in drawn)
