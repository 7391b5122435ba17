"""X-Trans, fine-tuned: mixtures, what a network starts from, what holds it there, and what it forgets.

Expected values come from closed forms and planted truths; each test says which where it is not plain. The parent is a
network of two steps an epoch: enough to be one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hpo import Evidence, Fidelity, Moment, Recipe, fit, scores_of
from objectives.xtrans import CHEAP, XTrans, cfa, data, forgetting, loss, parent, torture
from objectives.xtrans.data import Batch, model_inputs
from objectives.xtrans.finetune import CANDIDATES, FineTune, sharpest_crop
from objectives.xtrans.light import BALANCED
from objectives.xtrans.scenes import Source, load_scenes
from objectives.xtrans.torture import pattern_pool
from tests.objectives.baselines import baseline_scores
from tests.objectives.exported import exported
from tests.toy import Toy

TINY = Fidelity(size=24, train=8, val=2, epochs=1)
START = Moment(0, 1, 0, 10)


def _task(**fields: object) -> FineTune:
    return FineTune(**{"parent_train": 16, **fields})


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _tiles(count: int = 2) -> Batch:
    return next(_task().batches("val", replace(CHEAP, val=count), count, _rng()))


def _is_pattern(batch: Batch, size: int) -> list[bool]:
    """Whether each target is one of the pool's patterns, moved."""
    known = {
        move(pattern).contiguous().numpy().tobytes() for pattern in pattern_pool(size) for move in cfa.MOVES.values()
    }
    return [target.contiguous().numpy().tobytes() in known for target in batch.target_B3SS]


# -- mixtures --------------------------------------------------------------------------------------------------------
def test_the_control_learns_from_what_the_parent_learned_from() -> None:
    mine, its = (
        next(task.batches("train", TINY, 8, _rng())) for task in (_task(mixture="100/0/0"), XTrans(patterns=0.0))
    )
    assert all(torch.equal(*pair) for pair in zip(mine, its, strict=True))


@pytest.mark.parametrize(
    ("mixture", "low", "high"),
    [("100/0/0", 0.0, 0.0), ("90/0/10", 0.06, 0.14), ("80/15/5", 0.02, 0.08), ("0/0/100", 1.0, 1.0)],
)
def test_a_mixture_holds_as_many_patterns_as_it_says(mixture: str, low: float, high: float) -> None:
    task = _task(mixture=mixture, gain=BALANCED, gain_spread=0.0)
    batch = next(task.batches("train", replace(TINY, train=400), 400, _rng()))
    patterns = _is_pattern(batch, 24)
    assert low <= sum(patterns) / len(patterns) <= high


def test_the_sharpest_crops_are_sharper_than_crops() -> None:
    """The largest of four draws lies above the median with probability 15/16."""
    of = load_scenes("train", Source())

    def sharpness(rgb_3SS: Tensor) -> float:
        return float(loss.laplacian(rgb_3SS.mean(0, keepdim=True)[None]).var())

    plain = torch.tensor([sharpness(data.random_balanced_crop(of, 24, _rng(seed))[0]) for seed in range(200)]).median()
    sharp = [sharpness(sharpest_crop(of, 24, _rng(1000 + seed))[0]) for seed in range(200)]
    share = sum(value > plain for value in sharp) / len(sharp)
    assert share == pytest.approx(1 - 0.5**CANDIDATES, abs=0.06)


def test_patterns_are_mosaiced_exposed_and_noisy_like_everything_else() -> None:
    batch = next(_task(mixture="0/0/100", read_noise=0.1, stops=1.0).batches("train", TINY, 8, _rng()))
    noise = batch.mosaic_B1SS - cfa.mosaic(batch.target_B3SS)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.1)


def test_no_pattern_that_is_learned_from_judges() -> None:
    judging = {rgb.numpy().tobytes() for rgb in torture.fixed(24)}
    assert not any(rgb.numpy().tobytes() in judging for rgb in pattern_pool(24))


# -- the start, and what holds a network there -----------------------------------------------------------------------
def test_a_network_begins_as_its_parent_and_leaves_it_as_it_was() -> None:
    task = _task(mixture="0/0/100")
    before = {name: weight.clone() for name, weight in task.parent_model().state_dict().items()}
    assert all(torch.equal(before[name], weight) for name, weight in task.model().state_dict().items())
    *_, last = fit(task, Recipe(lr=1e-2, batch_size=4), TINY, seed=0, device="cpu")
    assert all(torch.equal(before[name], weight) for name, weight in task.parent_model().state_dict().items())
    assert any(not torch.equal(before[name], weight) for name, weight in last.model.state_dict().items())


@pytest.mark.parametrize("rest", [0, 2])
def test_the_first_convolutions_rest_and_the_others_learn(rest: int) -> None:
    task = _task(rest=rest)
    start = [weight.clone() for weight in task.parent_model().parameters()]
    *_, last = fit(task, Recipe(lr=1e-2, batch_size=4), TINY, seed=0, device="cpu")
    moved = [not torch.equal(*pair) for pair in zip(start, last.model.parameters(), strict=True)]
    assert moved == [False] * 2 * rest + [True] * (len(moved) - 2 * rest)


def test_the_pull_to_the_parent_is_the_squared_distance() -> None:
    """Closed form: every weight moved by 0.01 costs l2sp x 10,355 x 0.0001."""
    task = _task(l2sp=1e-2)
    model, batch = task.model(), _tiles()
    assert float(task.loss(model, batch, START)["l2sp"].detach()) == 0.0
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01)
    assert float(task.loss(model, batch, START)["l2sp"].detach()) == pytest.approx(1e-2 * 10_355 * 1e-4, rel=1e-3)


def test_a_parent_of_another_task_is_refused_and_one_of_this_task_is_taken(tmp_path: Path) -> None:
    other = exported(tmp_path / "other", Toy())
    with pytest.raises(ValueError, match="holds a Toy; an exported XTrans is needed"):
        _task(parent=str(other)).model()
    torch.manual_seed(1)
    network = XTrans().model()
    own = exported(tmp_path / "own", XTrans(), network)
    start = _task(parent=str(own)).model().state_dict()
    assert all(torch.equal(start[name], weight) for name, weight in network.state_dict().items())


def test_other_photographs_in_the_same_folder_give_another_parent(monkeypatch) -> None:
    """The folder's name alone must not find a network that was trained on what lay there before."""
    keys = []

    def remember(make, *arguments):
        keys.append(arguments)
        return {name: weight.numpy() for name, weight in XTrans().model().state_dict().items()}

    monkeypatch.setattr(parent, "made_once", remember)
    for content in ("before", "after"):
        monkeypatch.setattr(parent, "origins", lambda split, source, content=content: {f"{content} {split}"})
        parent.trained_parent.__wrapped__(XTrans(data="folder"), 16, 0)
    assert keys[0] != keys[1]
    assert keys[0][0] == keys[1][0]


def test_an_unknown_mixture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"task.mixture must be one of 100/0/0, .*; got '50/50'"):
        _task(mixture="50/50")


# -- forgetting ------------------------------------------------------------------------------------------------------
def test_the_parent_has_forgotten_nothing() -> None:
    batch = _tiles()
    scores = baseline_scores(_task(), CHEAP, [batch])["parent"]
    assert scores["forgetting_db"] == 0.0
    assert scores["grid_rise_db"] == 0.0
    assert scores["score"] == pytest.approx((scores["psnr_srgb"] + scores["torture_psnr"]) / 2)


def test_forgetting_is_what_photographs_lose_and_costs_twice_what_is_not_forgiven() -> None:
    """Planted: the parent's picture with noise, whose scores are computed here."""
    task, batch = _task(), _tiles(4)
    noise = 0.05 * torch.randn(batch.target_B3SS.shape, generator=_rng())

    def method(given: Batch) -> Tensor:
        with torch.no_grad():
            made = task.parent_model()(*model_inputs(given))
        return made + noise[: len(made)] if given is batch else made

    scores = scores_of(task, task.method_columns(method, batch, probes=False))
    before, after = (
        loss.tile_scores(rgb, batch)["psnr_srgb"] for rgb in (task.parent_model()(*model_inputs(batch)), method(batch))
    )
    lost = before - after
    assert float(lost.min()) > 0.3
    assert scores["forgetting_db"] == pytest.approx(float(lost.mean()), abs=1e-4)
    expected = (after + scores["torture_psnr"]) / 2 - 2 * (lost - 0.3)
    assert scores["score"] == pytest.approx(float(expected.mean()), abs=1e-3)


def test_a_winner_that_forgot_or_got_a_grid_is_a_no_go() -> None:
    def verdicts(forgotten: float, rise: float) -> list[str]:
        scores = {"forgetting_db": forgotten, "grid_rise_db": rise}
        return [
            check.status
            for check in _task().checks(Evidence("promotion", scores=scores))
            if "forgotten" in check.name or "grid" in check.name
        ]

    assert verdicts(0.2, 1.0) == ["go", "go"]
    assert verdicts(0.5, 3.0) == ["no-go", "no-go"]


def test_what_is_measured_is_the_change_from_the_parent_tile_by_tile() -> None:
    """Planted: at a rate of almost 0 nothing changes; at a large one something does."""
    task = _task(mixture="0/0/100")
    still, moved = (forgetting.measure_gains(task, 2, lr, 0, 3) for lr in (1e-12, 1e-2))
    assert {name: len(values) for name, values in still.items()} == {
        "psnr_lin": 3,
        "lead_db": 3,
        "psnr_srgb": 3,
        "ssim_srgb": 3,
        "patterns": 26,
        "grid": 1,
    }
    assert abs(still["psnr_srgb"]).max() < 1e-3
    assert abs(moved["psnr_srgb"]).max() > 1e-2
