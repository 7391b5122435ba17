"""What a change of starter.py must not break. Run it with: python -m pytest test_starter.py"""

from itertools import islice
from pathlib import Path

import torch

import hpo
from hpo.verbs.starter.starter import study


def test_batches_hold_every_example_once_and_are_the_same_each_time() -> None:
    def labels(split: hpo.Split) -> torch.Tensor:
        batches = study.task.batches(split, study.cheap, study.recipe.batch_size, torch.Generator().manual_seed(0))
        return torch.cat([batch.y_B for batch in batches])

    for split in ("train", "val", "test"):
        assert len(labels(split)) == study.cheap.examples(split)
        assert torch.equal(labels(split), labels(split))


def test_the_defaults_learn_something_in_a_few_epochs() -> None:
    *_, last = islice(hpo.fit(study.task, study.recipe, study.cheap, seed=0), 4)
    assert last.best < 0.25  # guessing is wrong in half of the cases


def test_the_preflight_does_not_say_no(tmp_path: Path) -> None:
    result = hpo.preflight(study, smoke=True, workers=1, runs=tmp_path)
    assert result.status != "no-go", [check for check in result.checks if check.status == "no-go"]
