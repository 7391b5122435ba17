"""Twenty-four faults that have occurred in searches of this kind, each with the test that detects it.

Judges: planted faults, closed forms, scipy and torch. The name of a test says what it prevents.
"""

from __future__ import annotations

import ast
import math
import re
import runpy
import shlex
import sys
from collections.abc import Iterable, Iterator
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from torch import Tensor, nn

from hpo import (
    Diverged,
    Evidence,
    Fidelity,
    Median,
    Moment,
    Recipe,
    StudySpec,
    derive,
    evaluate,
    fit,
    generator,
    log,
    put,
    uniform,
)
from hpo.schedule import warmup_cosine
from hpo.search.sweep import sweep
from hpo.storage.folder import RunFolder
from hpo.trial.data_identity import data_hash
from objectives.ris import RIS, SMOKE, probes, promotion_checks
from objectives.ris import data as scenes_module
from objectives.ris import loss as losses
from objectives.ris.covariance import blend, contract, effective, eigenpairs, predicted, sample, tracenorm, truth
from objectives.ris.data import Batch, Scenes, generate, make_shard, scenes
from objectives.ris.estimator import Estimates, estimate, locate, order
from objectives.ris.features import dictionary, points
from objectives.ris.geometry import WAVELENGTH_M, elements, manifold, to_metres
from objectives.ris.metrics import judge, summary
from objectives.ris.physics import ideal
from objectives.ris.sensing import sensing

CPU = torch.device("cpu")
FOLDER = Path(__file__).parents[2] / "objectives" / "ris"
FIELDS = {name.removeprefix("task."): value for name, value in SMOKE.fixed.items()}
TINY = Fidelity(size=6, train=80, val=24, test=24, epochs=3, fixed=dict(SMOKE.fixed))
RECIPE = Recipe(lr=1e-2, batch_size=32, warmup=0.15, clip=5.0)
AT = Moment(1, 3, 3, 9)


def _task(**changes) -> RIS:
    return RIS(**{**FIELDS, **changes})


def _scenes(task: RIS, n: int = 16, **given) -> Batch:
    return generate(task.scenario, n, generator("test", "ris regressions"), **given)


def _model(task: RIS) -> nn.Module:
    torch.manual_seed(0)
    return task.model().eval()


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Scenes are made in a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        scenes.cache_clear()
        yield
    scenes.cache_clear()


# -- 1 ---------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Watched(RIS):
    """Notes the scenes that each loss is given, and each loss."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        terms = super().loss(model, batch, at)
        NOTED.append((batch.snr_db.clone(), float(sum(terms.values()).detach())))
        return terms


NOTED: list[tuple[Tensor, float]] = []


def test_01_prevents_one_step_an_epoch_on_the_last_batch() -> None:
    """80 scenes in batches of 32 are 3 steps; together they hold every scene once, and each its own loss."""
    NOTED.clear()
    first = next(fit(Watched(**FIELDS), RECIPE, TINY, seed=0))
    assert (first.batches, first.steps_taken, first.steps_skipped) == (3, 3, 0)
    assert [len(snr) for snr, _ in NOTED] == [32, 32, 16]
    assert len(torch.cat([snr for snr, _ in NOTED]).unique()) == 80
    assert len({loss for _, loss in NOTED}) == 3


# -- 2 ---------------------------------------------------------------------------------------------------------------
def test_02_prevents_a_pruner_that_is_never_asked(tmp_path: Path) -> None:
    """Every completed trial has reported every epoch, and learning rates of a millionth are pruned."""
    study = StudySpec(
        name="ris-pruned",
        task=RIS(),
        recipe=RECIPE,
        space={"recipe.lr": log(1e-7, 1e-2)},
        smoke=TINY,
        cheap=TINY,
        full=TINY,
        trials=7,
        startup_trials=7,
        pruning=Median(warmup_epochs=1, min_trials=2, startup_trials=2),
    )
    folder = RunFolder(tmp_path / "ris-pruned")
    sweep(study, folder, {"code": "test"}, workers=1)
    [name] = optuna.get_all_study_names(folder.storage)
    trials = optuna.load_study(study_name=name, storage=folder.storage).trials
    assert all(len(t.intermediate_values) == 3 for t in trials if t.state is optuna.trial.TrialState.COMPLETE)
    pruned = [t for t in trials if t.state is optuna.trial.TrialState.PRUNED]
    assert pruned
    assert all(0 < len(t.intermediate_values) <= 3 for t in pruned)


# -- 3 ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        {"range_grid": 11},
        {"newton_iters": 0},
        {"nf_mle_iters": 0},
        {"beta": 0.8},
        {"beta_eval": 0.9},
        {"k_conf_thresh": 1.0},
    ],
    ids=str,
)
def test_03_prevents_knobs_that_cannot_reach_the_score(change: dict[str, float]) -> None:
    """With the same network, another value of the hyperparameter gives other scores."""
    task, batch = _task(), _scenes(_task(), 48)
    model = _model(task)
    with torch.no_grad():
        assert evaluate(task, model, [batch]) != evaluate(replace(task, **change), model, [batch])


def test_03_sees_a_knob_that_is_planted_to_reach_nothing() -> None:
    """Loading leaves eigenvectors as they are. With the network's own count a whole run is then the same, which the
    preflight reports as a no-go."""
    runs = [
        [(p.loss, dict(p.terms), dict(p.scores)) for p in fit(_task(**change), RECIPE, TINY, seed=0)]
        for change in ({}, {"shrink_alpha": 0.2}, {"nf_mle_iters": 0})
    ]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


# -- 4 ---------------------------------------------------------------------------------------------------------------
def test_04_prevents_an_objective_that_holds_the_weights_under_search() -> None:
    """Ten times every loss weight: ten times the loss, the same score."""
    task, batch = _task(), _scenes(_task())
    weights = [field.name for field in fields(RIS) if field.name.startswith("lam_")]
    heavy = replace(task, **{name: 10 * getattr(task, name) for name in weights})
    model = _model(task)
    with torch.no_grad():
        assert evaluate(heavy, model, [batch]) == evaluate(task, model, [batch])
        assert math.isclose(
            float(heavy.loss(model, batch, AT)["cov"]), 10 * float(task.loss(model, batch, AT)["cov"]), rel_tol=1e-5
        )


# -- 5 ---------------------------------------------------------------------------------------------------------------
def test_05_prevents_validation_scenes_inside_train() -> None:
    """No scene of one split is in another, and no two (split, shard) share a seed."""
    task = RIS()
    fidelity = Fidelity(size=8, train=1024, val=256, test=512, epochs=1)
    origins = {split: task.origins(split, fidelity) for split in ("train", "val", "test")}
    assert [len(hashes) for hashes in origins.values()] == [1024, 256, 512]
    assert len(set.union(*origins.values())) == 1792
    seeds = {derive("ris", "scenes", 2, split, shard) for split in origins for shard in range(300)}
    assert len(seeds) == 900


def test_05_prevents_overlapping_streams_in_the_source() -> None:
    """No seed is made by adding to another one."""
    for path in FOLDER.glob("*.py"):
        assert not re.search(r"seed\w*\s*\+\s*\w", path.read_text()), path


# -- 6 ---------------------------------------------------------------------------------------------------------------
def test_06_prevents_a_training_loss_that_is_not_the_validation_loss() -> None:
    """Without dropout and jitter, train and eval mode give one loss, term by term."""
    task, batch = _task(jitter=0.0, dropout=0.0), _scenes(_task())
    model = _model(task)
    evaluated = {name: float(term.detach()) for name, term in task.loss(model, batch, AT).items()}
    trained = {name: float(term.detach()) for name, term in task.loss(model.train(), batch, AT).items()}
    assert trained == evaluated


# -- 7 ---------------------------------------------------------------------------------------------------------------
def test_07_prevents_a_steering_vector_of_the_wrong_sign_unit_or_centre() -> None:
    """exp(-j 2 pi d / lambda) of the Cartesian distance in metres, referred to the exact centre of the array."""
    for n_h, n_v in ((6, 5), (5, 6)):
        x_N, y_N = elements(n_h, n_v)
        assert abs(float(x_N.sum())) < 1e-12
        assert abs(float(y_N.sum())) < 1e-12
        q = torch.tensor([0.4, -0.3, 0.7], dtype=torch.float64)
        gap = to_metres(q) - torch.stack((x_N, y_N, torch.zeros_like(x_N)), -1)
        wave = torch.exp(-2j * math.pi * (gap.norm(dim=-1) - 1 / 0.7) / WAVELENGTH_M)
        assert torch.allclose(manifold(q, x_N, y_N), wave, atol=1e-9)


def test_07_prevents_data_losses_and_estimator_of_different_manifolds() -> None:
    """Single and double precision, the loss's, the estimator's and nature's b(q) agree to 1e-5 of their norm."""
    task, batch = ideal(_task()), _scenes(ideal(_task()))
    single = sensing(task.surface, CPU, torch.float32).steer(batch.q)
    double = sensing(task.surface, CPU, torch.float64)
    assert torch.allclose(single.to(torch.complex128), double.steer(batch.q.double()), atol=1e-4)
    assert torch.equal(double.nature.steer(batch.q.double()), double.steer(batch.q.double()))
    quiet = _scenes(task, snr_db=70.0, count=1)
    b_BR = double.unit(quiet.q[:, 0].double())
    share = (b_BR.conj()[:, None] @ quiet.z.to(torch.complex128)).abs().square().sum((1, 2))
    assert torch.allclose(share / quiet.z.abs().square().sum((1, 2)), torch.ones(16, dtype=torch.float64), atol=1e-4)


def test_07_prevents_a_mirrored_estimate() -> None:
    """Mirrored sources come back mirrored, and the MVDR spectrum of R_true peaks at the source."""
    task = ideal(_task(range_grid=121))
    for u, v in ((0.4, 0.2), (-0.4, 0.2), (0.4, -0.2)):
        q = torch.tensor([[[u, v, 0.6]]], dtype=torch.float64)
        b = sensing(task.surface, CPU, torch.float64).steer(q)
        cov = tracenorm(b.mT @ b.conj())
        estimates = estimate(cov, cov, torch.tensor([1]), task.method, 1)
        assert torch.allclose(estimates.q, q, atol=1e-3)
        value, vector = torch.linalg.eigh(cov)
        height = locate(vector * (value.clamp_min(0) / (value + 1)).sqrt()[:, None], torch.tensor([1]), task.method, 1)
        assert (height.q[..., :2] - q[..., :2]).abs().max() < 0.03


# -- 8 ---------------------------------------------------------------------------------------------------------------
def test_08_prevents_an_error_that_is_a_similarity() -> None:
    """NMSE(R, R) = 0, NMSE(0, R) = 1, NMSE(2R, R) = 1; and a real matrix cannot be blended."""
    true = sample(_scenes(_task()).z)
    for scale, expected in ((1.0, 0.0), (0.0, 1.0), (2.0, 1.0)):
        assert torch.allclose(losses.covariance_error(scale * true, true), torch.full((16,), expected), atol=1e-6)
    with pytest.raises(AssertionError, match="complex"):
        blend(true.real, true.real, 0.5)


# -- 9 ---------------------------------------------------------------------------------------------------------------
def test_09_prevents_a_trace_that_is_normalised_twice_or_not_at_all() -> None:
    """Trace N' after every stage that makes a covariance."""
    task, batch = _task(), _scenes(_task())
    with torch.no_grad():
        sight = task.pipeline.sight(_model(task), batch.z)
    stages = {
        "R_samp": sight.samp,
        "R_pred": sight.pred,
        "R_true": truth(batch, sensing(task.surface, CPU, torch.float32)),
        "blend": blend(sight.pred, sight.samp, 0.3),
        "effective": effective(sight.samp, 0.2, 1e-3),
        "blended": task.pipeline.blend(sight, 0.3),
        "twice": tracenorm(tracenorm(sight.samp)),
    }
    for name, cov in stages.items():
        assert contract(cov).trace < 1e-5, name
        assert contract(cov).hermitian < 1e-5, name


# -- 10 --------------------------------------------------------------------------------------------------------------
def test_10_prevents_a_misspelt_setting_that_is_silently_the_default() -> None:
    """Frozen values; an unknown name is refused where it is given; what a tier pins is what the run has."""
    with pytest.raises(FrozenInstanceError):
        RIS().beta = 0.1  # type: ignore[misc]
    with pytest.raises(TypeError, match="hybrid_beta"):
        RIS(hybrid_beta=0.3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match=r"did you mean 'task\.lam_count'"):
        put({"task.lam_cuont": 0.1}, {"task": RIS(), "recipe": RECIPE})
    study = StudySpec(
        name="ris-10",
        task=RIS(),
        recipe=RECIPE,
        space={"task.beta": uniform(0.0, 0.8)},
        smoke=TINY,
        cheap=TINY,
        full=TINY,
        pruning=None,
    )
    effective_task = study.configure({"task.beta": 0.7}, TINY).task
    assert effective_task == replace(RIS(**FIELDS), beta=0.7).from_data(TINY)


# -- 11 --------------------------------------------------------------------------------------------------------------
def test_11_prevents_a_first_step_of_size_zero() -> None:
    """The first learning rate is above 0, and so is the change it makes."""
    assert warmup_cosine(Moment(0, 3, 0, 9), warmup=0.15) > 0
    task = RIS(**FIELDS)
    torch.manual_seed(derive(0, "model"))
    before = task.model().state_dict()
    first = next(fit(task, RECIPE, replace(TINY, epochs=1, train=32), seed=0))
    assert all(rate > 0 for rate in first.lr.values())
    moved = math.sqrt(sum(float((first.best_weights[k] - v).square().sum()) for k, v in before.items()))
    assert moved > 0


@dataclass(frozen=True)
class Broken(RIS):
    """One training loss in the first epoch is infinite."""

    def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
        terms = super().loss(model, batch, at)
        if model.training and at.step == 1 and not BROKEN:
            BROKEN.append(1)
            return terms | {"cov": terms["cov"] * math.inf}
        return terms


BROKEN: list[int] = []


def test_11_prevents_a_schedule_that_moves_without_a_step() -> None:
    """A skipped step is not counted: the rate of the next step is what the skipped one would have had."""
    BROKEN.clear()
    first = next(fit(Broken(**FIELDS), RECIPE, TINY, seed=0))
    assert (first.steps_taken, first.steps_skipped) == (2, 1)
    assert math.isclose(first.lr["all"], RECIPE.lr * warmup_cosine(Moment(0, 3, 1, 9), warmup=0.15))


# -- 12 --------------------------------------------------------------------------------------------------------------
def test_12_prevents_an_overflow_that_is_hidden() -> None:
    """An infinite loss is skipped and counted; when that does not stop, the run fails and says which term it was."""
    BROKEN.clear()
    assert next(fit(Broken(**FIELDS), RECIPE, TINY, seed=0)).steps_skipped == 1

    @dataclass(frozen=True)
    class Hopeless(RIS):
        def loss(self, model: nn.Module, batch: Batch, at: Moment) -> dict[str, Tensor]:
            return {name: term * math.inf for name, term in super().loss(model, batch, at).items() if name == "heat"}

    with pytest.raises(Diverged, match="heat"):
        next(fit(Hopeless(**FIELDS), RECIPE, TINY, seed=0))


def test_12_prevents_labels_and_losses_in_half_precision() -> None:
    """Under autocast the covariances stay complex64, every loss float32."""
    task, batch = _task(), _scenes(_task())
    with torch.autocast("cpu", torch.bfloat16):
        sight = task.pipeline.sight(_model(task), batch.z)
        terms = task.loss(_model(task), batch, AT)
    assert (sight.pred.dtype, sight.samp.dtype) == (torch.complex64, torch.complex64)
    assert {term.dtype for term in terms.values()} == {torch.float32}
    assert all(torch.isfinite(term) for term in terms.values())


# -- 13 --------------------------------------------------------------------------------------------------------------
def test_13_prevents_gradients_through_an_eigendecomposition() -> None:
    """The graph of the total loss holds no eigh and no svd."""
    task, batch = _task(), _scenes(_task())
    names, edge = set(), [sum(task.loss(_model(task).train(), batch, AT).values()).grad_fn]
    while edge:
        node = edge.pop()
        if node is not None and node not in names:
            names.add(node)
            edge += [parent for parent, _ in node.next_functions]
    words = {type(node).__name__ for node in names}
    assert not [word for word in words if re.search(r"eig|svd", word, re.IGNORECASE)]
    assert len(words) > 20


def test_13_prevents_gradients_that_are_not_finite_at_rank_one() -> None:
    """Equal eigenvalues everywhere: R_pred of one steering vector alone still has finite gradients."""
    task, batch = _task(), _scenes(_task(), 4)
    sense = sensing(task.surface, CPU, torch.float32)
    q = batch.q[:, :1].clone().requires_grad_()
    weight = torch.ones(4, 1, requires_grad=True)
    cov = effective(blend(predicted(weight, sense.unit(q)), sample(batch.z), 0.0), 0.0, 1e-3)
    total = losses.outside(cov, batch, sense) + losses.contrast(cov, batch, sense, task.surface)
    total = total + losses.covariance_error(cov, truth(batch, sense)).mean()
    total.backward()
    assert torch.isfinite(q.grad).all()
    assert torch.isfinite(weight.grad).all()


# -- 14 --------------------------------------------------------------------------------------------------------------
def test_14_prevents_terms_that_are_dead_behind_a_swallowed_exception() -> None:
    """Every term has a value and a gradient from the start, and nothing between batch and score catches anything."""
    for name, (value, slope) in probes.liveness(_task().subject(), _scenes(_task(), 32)).items():
        assert value > 0, name
        assert slope > 0, name
    for path in FOLDER.glob("*.py"):
        caught = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Try)]
        assert len(caught) == (path.name == "probes.py"), path  # it tests that the assertions of the blend refuse


def test_14_prevents_a_failing_metric_that_falls_back_to_the_loss() -> None:
    """A score that raises ends the run with the same exception."""

    @dataclass(frozen=True)
    class Unjudged(RIS):
        def score(self, model: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
            raise ArithmeticError("no metric")

    with pytest.raises(ArithmeticError, match="no metric"):
        next(fit(Unjudged(**FIELDS), RECIPE, TINY, seed=0))


# -- 15 --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "odd",
    [
        {"n_h": 7, "n_v": 4},
        {"n_h": 4, "n_v": 7, "feat_u": 11, "feat_v": 9, "feat_planes": 2},
        {"n_h": 7, "n_v": 5, "antennas": 3, "codes": 5, "snapshots": 5, "k_max": 3},
        {"n_h": 7, "n_v": 3, "snapshots": 60},
    ],
    ids=["wide", "tall", "compressed", "many snapshots"],
)
def test_15_prevents_sizes_that_are_written_into_the_code(odd: dict[str, int]) -> None:
    """Odd numbers of everything train an epoch and are scored."""
    fidelity = Fidelity(size=7, train=33, val=17, epochs=1)
    progress = next(fit(_task(**odd), replace(RECIPE, batch_size=10), fidelity, seed=0))
    assert progress.steps_taken == 4
    assert 0 <= progress.value <= 1


# -- 16 --------------------------------------------------------------------------------------------------------------
def test_16_prevents_penalties_in_medians_and_unordered_sources_compared_in_order() -> None:
    """Two hand-made scenes of two sources. The order of estimates does not matter; a missed source is counted and does
    not change the median of the matched ones."""
    task = _task()
    batch = _scenes(task, 2, count=2)
    exact = Estimates(batch.q.double(), batch.mask > 0, batch.mask < 0)
    swapped = exact._replace(q=exact.q.flip(1))
    for estimates in (exact, swapped):
        scores = summary(judge(estimates, batch, task.view))
        assert scores["ospa"] < 1e-4
        assert scores["med_phi_deg"] < 1e-3
    lost = exact._replace(mask=torch.tensor([[True, False], [True, True]]))
    scores = summary(judge(lost, batch, task.view))
    assert scores["med_phi_deg"] < 1e-3
    assert math.isclose(scores["recall"], 0.75)
    assert math.isclose(scores["ospa"], 0.25, abs_tol=1e-3)


# -- 17 --------------------------------------------------------------------------------------------------------------
def test_17_prevents_snapshots_that_repeat_themselves_or_lose_their_mean() -> None:
    """R_samp has rank L, comes to R_true plus noise as L grows, and keeps a constant signal."""
    task = ideal(_task())
    assert (torch.linalg.matrix_rank(sample(_scenes(task).z), rtol=1e-5) == 8).all()
    many = ideal(_task(snapshots=4000))
    batch = _scenes(many, 4, snr_db=0.0)
    signal = truth(batch, sensing(many.surface, CPU, torch.float32))
    size = (batch.power * sensing(many.surface, CPU, torch.float32).steer(batch.q).abs().square().sum(-1)).sum(-1)
    eye = torch.eye(36, dtype=torch.complex64)
    expected = tracenorm(signal * (size / 36)[:, None, None] + batch.noise[:, None, None] * eye)
    assert losses.covariance_error(sample(batch.z), expected).max() < 0.03
    constant = torch.ones(1, 36, 8, dtype=torch.complex64)
    assert torch.allclose(sample(constant), torch.ones(1, 36, 36, dtype=torch.complex64))


# -- 18 --------------------------------------------------------------------------------------------------------------
def test_18_prevents_an_order_that_is_always_one_with_few_snapshots() -> None:
    """N' = 64 entries, 8 snapshots, 10 dB: MDL counts more than 95 % of ideal scenes right."""
    task = ideal(RIS())
    batch = _scenes(task, 256, snr_db=10.0)
    value_Bn, _ = eigenpairs(batch.z.to(torch.complex128))
    right = order(value_Bn, 64, 8, 3, "mdl") == batch.source_count
    assert right.double().mean() > 0.95


# -- 19 --------------------------------------------------------------------------------------------------------------
def test_19_prevents_a_phase_change_that_resets_the_best_epoch() -> None:
    """Through all three thirds of a curriculum the best is the least score so far, whatever the loss does."""
    epochs = list(fit(RIS(**{**FIELDS, "curriculum": True}), RECIPE, replace(TINY, epochs=6), seed=0))
    values = [progress.value for progress in epochs]
    assert [progress.best for progress in epochs] == [min(values[: i + 1]) for i in range(6)]
    assert epochs[-1].best_epoch == int(np.argmin(values))
    assert all(progress.value == progress.scores["ospa"] for progress in epochs)


# -- 20 --------------------------------------------------------------------------------------------------------------
def test_20_prevents_saving_other_weights_than_those_that_were_scored() -> None:
    """With a running average of the weights, the best ones loaded into a fresh model score the very same."""
    task = RIS(**FIELDS)
    last = list(fit(task, replace(RECIPE, ema=0.8), TINY, seed=0))[-1]
    model = task.model().eval()
    model.load_state_dict(last.best_weights)
    with torch.no_grad():
        score = evaluate(task, model, task.batches("val", TINY, 32, generator("validation")))
    assert score["ospa"] == last.best


# -- 21 --------------------------------------------------------------------------------------------------------------
def test_21_prevents_a_network_that_answers_with_a_constant() -> None:
    """One answer for all scenes has no spread, and the check says no; no two estimates of a scene coincide."""
    task = _task()
    batch = _scenes(task, 32, count=2)
    same = Estimates(batch.q[:1].double().expand(32, -1, -1), batch.mask > 0, batch.mask < 0)
    scores = summary(judge(same, batch, task.view))
    spread = {name: value for name, value in scores.items() if name.startswith("spread")}
    assert promotion_checks.check_not_constant(Evidence("promotion", scores=spread)).status == "no-go"
    with torch.no_grad():
        q = task.pipeline.infer(task.pipeline.sight(_model(task), batch.z), batch.z).q
    gap = (q[:, 0, :2] - q[:, 1, :2]).abs().amax(-1)
    assert (gap > 1e-3).double().mean() > 0.95


# -- 22 --------------------------------------------------------------------------------------------------------------
def test_22_prevents_results_of_older_data_read_as_new_ones() -> None:
    """Another scenario is other data with another hash; another network is the same data."""
    task = RIS(**FIELDS)
    assert data_hash(task, TINY) == data_hash(replace(task, width=16, beta=0.7), TINY)
    assert data_hash(task, TINY) != data_hash(replace(task, p_coh=0.5), TINY)
    quarter = scenes(replace(task, p_coh=0.25).scenario, "val", 24)
    half = scenes(replace(task, p_coh=0.5).scenario, "val", 24)
    assert quarter.shards[0]["z"].filename != half.shards[0]["z"].filename
    again = Scenes(task.scenario, "val", 24)
    assert again.shards[0]["z"].filename == quarter.shards[0]["z"].filename


# -- 23 --------------------------------------------------------------------------------------------------------------
def _documented() -> list[str]:
    blocks = re.findall(r"```(?:sh|bash|console)\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    lines = [line.split("#")[0].strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_23_prevents_documented_commands_that_do_not_exist(capfd, monkeypatch) -> None:
    """Every command of the card: its module answers to --help and knows every flag that the card gives it."""
    flags: dict[tuple[str, ...], set[str]] = {}
    for line in _documented():
        words = shlex.split(line)
        called = (words[2],) if words[0] == "python" else ("hpo", words[1])  # after python -m
        flags.setdefault(called, set()).update(word for word in words if word.startswith("--"))
    assert ("hpo", "run") in flags
    for called, given in flags.items():
        monkeypatch.setattr(sys, "argv", [*called, "--help"])
        monkeypatch.delitem(sys.modules, called[0], raising=False)
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(called[0], run_name="__main__")
        assert not ended.value.code
        shown = capfd.readouterr().out  # of the descriptor: the command line opens standard output anew
        assert all(flag in shown for flag in given), (called, given)


# -- 24 --------------------------------------------------------------------------------------------------------------
def test_24_prevents_matrices_that_are_stored_for_every_scene() -> None:
    """A scene on disk is its snapshots and about a hundred bytes; shards are memory-mapped and read row by row."""
    task = RIS()
    shard = make_shard(task.scenario, "train", 0)
    per_scene = sum(array.nbytes for array in shard.values()) / scenes_module.SHARD
    assert per_scene <= 64 * 8 * 8 + 150
    stored = scenes(task.scenario, "val", 40)
    assert isinstance(stored.shards[0]["z"], np.memmap)
    taken = stored.take(torch.tensor([39, 0]))
    assert torch.equal(taken.snr_db, stored.take(torch.arange(40)).snr_db[[39, 0]])
    with pytest.raises(ValueError, match=r"0\.\.39"):
        stored.take(torch.tensor([40]))


def test_24_prevents_grids_that_grow_with_the_batch() -> None:
    """The dictionary of a grid is one matrix for all scenes, and is made once."""
    task = _task()
    b_GR = dictionary(task.surface, task.grid, CPU, torch.float32)
    assert b_GR.shape == (task.grid.cells, 36)
    assert b_GR is dictionary(task.surface, task.grid, CPU, torch.float32)
    assert points(task.grid, CPU, torch.float32).dtype is torch.float32
    assert all(buffer.dtype is torch.float32 for buffer in task.model().buffers())
