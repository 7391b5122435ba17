"""A judgement example by example: columns, metrics, clusters, and intervals of scores that are no means.

Shape suffixes: N examples, S seeds, B batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import Tensor, nn

from hpo.engine.evaluation import columns_of, evaluate, judge_batches, scores_of
from hpo.engine.pseudo_values import BLOCKS, blocks_of, pseudo_values
from hpo.engine.rows import Rows
from hpo.page.collect import collect
from hpo.page.report import write_report
from hpo.promotion.intervals import Interval, crossed_interval
from hpo.promotion.promote import promote
from hpo.promotion.results import Verdict
from hpo.search.sweep import sweep
from hpo.seeds import generator
from hpo.storage.folder import RunFolder
from hpo.task import Columns, Fidelity, Method, Split
from hpo.trial.provenance import identity
from tests.measures import MEASURES, Auc, Examples, MacroF1
from tests.toy import FULL, INPUTS, SMOKE, Batch, Toy, toy_study


# -- scores of whole columns -----------------------------------------------------------------------------------------
def drawn(name: str, rng: np.random.Generator, count: int, luck: float = 0.0) -> Columns:
    """The columns of so many examples."""
    _, world = MEASURES[name]
    return world(Examples.drawn(rng, count), rng.standard_normal(count), luck)


@pytest.mark.parametrize("name", MEASURES)
def test_an_interval_covers_a_score_that_is_no_mean(name: str) -> None:
    """The truth is the score of very many examples; 40 promotions of 3 seeds on 400 examples, nominal 95 %."""
    task, _ = MEASURES[name]
    truth = scores_of(task, drawn(name, np.random.default_rng(1), 200_000))[task.goal]
    covered = 0
    for repeat in range(40):
        runs = []
        for seed in range(3):
            luck = 0.02 * np.random.default_rng([2, repeat, seed]).standard_normal()
            rows = Rows(drawn(name, np.random.default_rng([3, repeat]), 400, luck), None)
            scores = scores_of(task, rows.columns)
            runs.append((scores[task.goal], pseudo_values(task, rows, scores)[task.goal]))
        centre = float(np.mean([score for score, _ in runs]))
        interval = crossed_interval(np.array([blocks for _, blocks in runs]), centre)
        assert interval.mean == centre, "what is shown is what the metric says of the whole split"
        covered += interval.low <= truth <= interval.high
    assert covered >= 35


def test_scores_of_columns_are_those_of_another_library() -> None:
    columns = drawn("auc", np.random.default_rng(5), 300)
    assert scores_of(Auc(), columns)["auc"] == pytest.approx(roc_auc_score(columns["is_ill"], columns["said"]))
    columns = drawn("f1", np.random.default_rng(6), 300)
    expected = f1_score(columns["digit"], columns["said"], average="macro")
    assert scores_of(MacroF1(), columns)["f1"] == pytest.approx(expected)


def test_the_pseudo_values_of_a_mean_are_the_means_of_the_blocks() -> None:
    values_N = torch.randn(2 * BLOCKS, generator=generator("values"), dtype=torch.float64)
    rows = Rows({"mse": values_N}, torch.arange(2 * BLOCKS) // 2)
    found = pseudo_values(Toy(), rows, scores_of(Toy(), rows.columns))["mse"]
    assert found == pytest.approx(values_N.reshape(BLOCKS, 2).mean(1).tolist(), abs=1e-12)


@pytest.mark.parametrize(("examples", "clusters", "expected"), [(30, None, 30), (1000, None, 30), (1000, 7, 7)])
def test_blocks_are_clusters_or_random_examples(examples: int, clusters: int | None, expected: int) -> None:
    clusters_N = None if clusters is None else torch.arange(examples) % clusters
    block_N = blocks_of(Rows({"mse": torch.zeros(examples)}, clusters_N))
    sizes = torch.bincount(block_N)
    assert len(sizes) == expected
    assert int(sizes.max() - sizes.min()) <= 1
    if clusters_N is not None:
        assert all(len(block_N[clusters_N == cluster].unique()) == 1 for cluster in range(expected))


def test_many_clusters_share_blocks_and_none_is_torn() -> None:
    clusters_N = torch.arange(1000) // 5 + 2**40
    block_N = blocks_of(Rows({"mse": torch.zeros(1000)}, clusters_N))
    assert len(block_N.unique()) == BLOCKS
    assert (block_N.reshape(200, 5) == block_N.reshape(200, 5)[:, :1]).all()


def test_one_cluster_leaves_its_examples_as_the_units() -> None:
    rows = Rows({"mse": torch.zeros(60)}, torch.full((60,), 9))
    assert torch.equal(blocks_of(rows), blocks_of(Rows(rows.columns, None)))


def test_an_interval_does_not_leave_what_the_score_cannot_leave() -> None:
    interval = Interval(0.9935, 0.9856, 1.0015)
    assert interval.within((0, 1)) == Interval(0.9935, 0.9856, 1)
    assert interval.within(None) == interval


# -- rows of batches -------------------------------------------------------------------------------------------------
class Line(NamedTuple):
    x_BI: Tensor
    y_BO: Tensor
    text_B: Tensor


@dataclass(frozen=True)
class Texts(Toy):
    """The toy, whose examples are lines of texts: the lines of a text share a shift, planted."""

    texts: int = 12
    cluster: ClassVar[str | None] = "text_B"

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Line]:
        for number, batch in enumerate(super().batches(split, fidelity, batch_size, rng)):
            text_B = (number * batch_size + torch.arange(len(batch.x_BI))) % self.texts
            shift_B1 = torch.randn(self.texts, generator=generator("text", split))[text_B, None]
            yield Line(batch.x_BI, batch.y_BO + 0.2 * shift_B1, text_B)


def test_the_engine_keeps_the_clusters_and_metrics_never_see_them() -> None:
    seen = []

    class Looking(Texts):
        def metrics(self, columns: Columns) -> dict[str, float | Tensor]:
            seen.append(sorted(columns))
            return super().metrics(columns)

    task = Looking()
    batches = list(task.batches("val", SMOKE, 5, generator("any")))
    rows = judge_batches(task, task.model(), batches)
    assert rows.clusters == task.texts
    assert torch.equal(rows.clusters_N, torch.cat([batch.text_B for batch in batches]))
    evaluate(task, task.model(), batches)
    assert seen == [["mse"]]


def test_clusters_may_be_names() -> None:
    class Named(NamedTuple):
        x_BI: Tensor
        y_BO: Tensor
        text_B: list[str]

    class ByName(Texts):
        def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Named]:
            for batch in super().batches(split, fidelity, batch_size, rng):
                yield Named(batch.x_BI, batch.y_BO, [f"text {number}" for number in batch.text_B.tolist()])

    rows, numbered = (
        judge_batches(task, task.model(), list(task.batches("val", SMOKE, 8, generator("any"))))
        for task in (ByName(), Texts())
    )
    together = rows.clusters_N[:, None] == rows.clusters_N
    assert torch.equal(together, numbered.clusters_N[:, None] == numbered.clusters_N)


def test_columns_are_joined_in_order_and_in_double_precision() -> None:
    task, model = Toy(), Toy().model()
    batches = list(task.batches("val", SMOKE, 7, generator("any")))
    columns = columns_of(task, model, batches)
    with torch.no_grad():
        expected = torch.cat([(model(batch.x_BI) - batch.y_BO).square().mean(1) for batch in batches])
    assert columns["mse"].dtype == torch.float64
    assert torch.equal(columns["mse"].float(), expected)


@pytest.mark.parametrize("column", [torch.zeros(3), torch.tensor(1.0), 0.5, None])
def test_a_column_that_has_no_row_for_each_example_is_refused(column: object) -> None:
    class Wrong(Toy):
        def score(self, model, batch):
            return {"mse": column}

    with pytest.raises(ValueError, match=r"Wrong\.score must give columns with a row for each of the 16 examples"):
        evaluate(Wrong(), Toy().model(), list(Toy().batches("val", SMOKE, 16, generator("any"))))


# -- the verdict -----------------------------------------------------------------------------------------------------
def _promoted(task: Toy, folder: Path) -> Verdict:
    study = toy_study(task=task, trials=4, keep=1, seeds=2, full=replace(FULL, epochs=5))
    identified = identity(study)
    sweep(study, RunFolder(folder), identified)
    verdict = promote(study, RunFolder(folder), identified)
    assert collect(study, RunFolder(folder)).promotion.verdict.sample == verdict.sample
    return verdict


def test_a_verdict_names_what_is_independent(tmp_path: Path) -> None:
    verdict = _promoted(Texts(), tmp_path)
    assert "2 seeds x 200 test examples of 12 texts" in verdict.sentence
    assert verdict.sample.doubt == ""


def test_a_verdict_on_one_cluster_speaks_for_it_alone(tmp_path: Path) -> None:
    verdict = _promoted(Texts(texts=1), tmp_path)
    assert verdict.sentence.startswith("For this one text alone: ")
    study = toy_study(task=Texts(texts=1))
    assert collect(study, RunFolder(tmp_path)).headline.status != "go"


def test_a_verdict_on_a_few_clusters_claims_nothing_about_others(tmp_path: Path) -> None:
    sentence = _promoted(Texts(texts=3), tmp_path).sentence
    write_report(toy_study(task=Texts(texts=3)), RunFolder(tmp_path))
    assert "ahead of the best baseline" not in (tmp_path / "report.html").read_text()
    assert "3 texts cannot speak for others: test on more of them, or in folds" in sentence
    assert sentence.startswith("Nothing found better than the default; keep it.")


class Root(Toy):
    goal = "rmse"

    def metrics(self, columns: Columns) -> dict[str, float | Tensor]:
        return {"rmse": columns["mse"].mean().sqrt(), "mse": columns["mse"].mean()}

    def baselines(self, fidelity: Fidelity) -> dict[str, Method[Batch]]:
        mean_O = torch.cat([b.y_BO for b in self.batches("train", fidelity, 64, generator("any"))]).mean(0)
        return {"mean of train": lambda batch: {"mse": (batch.y_BO - mean_O).square().mean(1)}}


def test_the_goal_of_a_root_is_promoted_with_what_the_whole_split_says(tmp_path: Path) -> None:
    verdict = _promoted(Root(), tmp_path)
    for result in verdict.results:
        assert result.test.mean == pytest.approx(np.mean([math.sqrt(run.test["mse"]) for run in result.runs]))
    (baseline,) = verdict.baselines
    assert baseline.scores["rmse"] == pytest.approx(math.sqrt(baseline.scores["mse"]))
    assert baseline.interval.low < baseline.scores["rmse"] < baseline.interval.high


def test_a_score_on_a_split_of_one_batch_is_that_of_many() -> None:
    task, model = Toy(), Toy().model()
    fidelity = Fidelity(size=INPUTS, train=8, val=40, epochs=1)
    at_once, in_parts = (
        evaluate(task, model, task.batches("val", fidelity, size, generator("any"))) for size in (40, 3)
    )
    assert at_once == pytest.approx(in_parts, rel=1e-6)


class Ruled(Texts):
    """One text counts more than all others together, where a shift is wrong."""

    def score(self, model: nn.Module, batch: Line) -> Columns:
        weight_B = torch.where(batch.text_B == 3, 100.0, 1.0)
        return {"mse": super().score(model, batch)["mse"] * weight_B}


def test_a_cluster_that_makes_up_most_of_the_spread_is_said(tmp_path: Path) -> None:
    remark = "One text makes up most of the spread: its interval is not to be trusted."
    assert remark in _promoted(Ruled(), tmp_path / "ruled").sentence
    assert remark not in _promoted(Texts(), tmp_path / "not").sentence
