"""What inference alone reads is chosen on validation after training."""

from dataclasses import dataclass, replace

import pytest
import torch

from hpo.promotion.promote import promote
from hpo.promotion.retune import check_retuned, retune
from hpo.search.sweep import sweep
from hpo.storage.folder import RunFolder
from hpo.trial.provenance import identity
from tests.toy import FULL, Toy, toy_study


@dataclass(frozen=True)
class Offset(Toy):
    """The toy with an offset that is added when scoring, and with a name that scoring ignores. The noise and the
    weights have mean 0, so the best offset of a well-trained map is 0: planted."""

    offset: float = 0.5
    ignored: int = 1

    def score(self, model, batch):
        return super().score(lambda x: model(x) + self.offset, batch)

    def rescored(self):
        return {"task.offset": (-1.0, 0.0, 0.5), "task.ignored": (1, 2)}


def exact_model(task):
    """The map that made the data."""
    from tests.toy import A_OI

    model = task.model()
    with torch.no_grad():
        model.map.weight.copy_(A_OI)
        model.map.bias.zero_()
    return model


def test_the_planted_setting_is_found_and_a_tie_keeps_what_was_there():
    task = Offset()
    found = retune(task, exact_model(task), FULL, value=0.26, device="cpu", precision="fp32")
    assert found.chosen == {"task.offset": 0.0}
    assert abs(found.value - 0.01) < 0.003  # the noise variance, 0.1 squared
    assert found.tried["task.offset"]["-1.0"] > 0.9
    assert found.tried["task.ignored"]["1"] == found.tried["task.ignored"]["2"] == found.value


@dataclass(frozen=True)
class Entangled(Toy):
    """What is good for `first` depends on `second`, which is chosen after it."""

    first: int = 0
    second: int = 0

    def score(self, model, batch):
        error = {(0, 0): 0.5, (1, 0): 0.6, (0, 1): 0.4, (1, 1): 0.3}[self.first, self.second]
        return {"mse": torch.full((len(batch.x_BI),), error, dtype=torch.float64)}

    def rescored(self):
        return {"task.first": (0, 1), "task.second": (0, 1)}


def test_a_setting_that_is_best_beside_another_that_is_chosen_later_is_found():
    found = retune(Entangled(), Entangled().model(), FULL, value=0.5, device="cpu", precision="fp32")
    assert found.chosen == {"task.first": 1, "task.second": 1}
    assert found.value == pytest.approx(0.3)
    assert found.tried["task.first"] == pytest.approx({"0": 0.4, "1": 0.3})
    assert found.tried["task.second"] == pytest.approx({"0": 0.6, "1": 0.3})


def test_a_name_that_reaches_nothing_is_reported_as_inert():
    task = Offset()
    found = retune(task, exact_model(task), FULL, value=0.26, device="cpu", precision="fp32")
    offset, ignored = check_retuned(found.tried, noise=1e-4)
    assert (offset.status, ignored.status) == ("go", "caution")
    assert "inert" in ignored.look_at


def test_a_promotion_rescores_every_candidate_and_exports_the_choice(tmp_path):
    study = toy_study(name="rescored", task=Offset(), trials=3, keep=1, seeds=2)
    folder, identified = RunFolder(tmp_path / "rescored"), identity(study)
    sweep(study, folder, identified)
    verdict = promote(study, folder, identified)
    default = next(result for result in verdict.results if result.candidate.name == "default")
    assert [run.chosen for run in default.runs] == [{"task.offset": 0.0}] * 2
    assert {check.name for check in verdict.checks} >= {"re-scored: task.offset", "re-scored: task.ignored"}
    from hpo.trial.artifact import load_winner

    best = min(verdict.results[0].runs, key=lambda run: run.score)
    assert load_winner(folder.export).task.offset == best.chosen.get("task.offset", 0.5)


def test_a_rescored_name_that_is_no_field_is_refused_before_anything_is_trained():
    class Misspelt(Offset):
        def rescored(self):
            return {"task.ofset": (0.0,)}

    with pytest.raises(ValueError, match=r"'task.ofset'; did you mean 'task.offset'"):
        replace(toy_study(), task=Misspelt())
