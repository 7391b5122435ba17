"""One run on several devices: two processes over gloo come to what one process comes to."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from hpo.engine import distributed
from hpo.engine.checkpoint_files import reached
from hpo.promotion.promote import promote
from hpo.recipe import Recipe
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity
from hpo.trial.provenance import identity
from tests.faults.processes import alive, children, code_of, start, until
from tests.faults.studies import Victim, events, swept, victims
from tests.test_models import Scaled, same
from tests.toy import INPUTS, Batch

RELATIVE = 1e-4  # between one process and two: sums in another order, over all steps of a run
# 50 examples in batches of 16: the last has 2, and with 3 ranks one fewer than those.
FULL = Fidelity(size=INPUTS, train=50, val=32, epochs=4, test=40)
STUDY = victims(
    recipe=Recipe(lr=0.1, batch_size=16, ema=0.5, accumulate=2),
    trials=1,
    keep=1,
    seeds=1,
    pruning=None,
    full=FULL,
    space={"recipe.lr": victims().space["recipe.lr"]},
)


def results(folder: Path) -> dict:
    """What the runs of a promotion came to, by number: validation, test, and the curves of the loss and gradient."""
    runs = {}
    for result in json.loads((folder / "verdict.json").read_text())["results"]:
        for run in result["runs"]:
            record = json.loads((folder / "promotion" / f"{run['number']:04d}" / "result.json").read_text())
            curves = [epoch[name] for name in ("loss", "grad_norm") for epoch in record["history"]]
            runs[run["number"]] = [run["value"], run["test"]["mse"], *curves]
    return runs


def promoted(folder: Path, devices: int, study: StudySpec = STUDY) -> None:
    promote(study, RunFolder(folder), identity(study), device="cpu", devices=devices)


@pytest.fixture
def one(folder: Path) -> dict:
    """The results of one process."""
    swept(replace(STUDY, full=STUDY.cheap), folder.parent / "one" / "victims")
    shutil.copytree(folder.parent / "one" / "victims", folder)
    promoted(folder.parent / "one" / "victims", 1)
    return results(folder.parent / "one" / "victims")


def test_two_processes_of_which_one_is_killed_come_to_what_one_comes_to(folder: Path, one: dict) -> None:
    """The run ends with its rank, goes on from its checkpoint with two new ones, and nothing of it shows."""
    pid = start(lambda: promoted(folder, 2, replace(STUDY, task=Victim(pace=0.3))))
    until(lambda: reached(folder / "promotion/0000") >= 1)
    ranks = children(pid)
    os.kill(ranks[-1], signal.SIGKILL)
    assert code_of(pid) == 0
    until(lambda: not any(map(alive, ranks)), 30)
    starts = [
        event["epoch"]
        for event in events(folder, "start")
        if event["trial"] == 0 and event["study"].endswith("promotion")
    ]
    assert len(starts) == 2
    assert starts[1] >= 2
    assert len(events(folder, "death")) == 1
    as_one(results(folder), one)


@pytest.mark.soak
@pytest.mark.parametrize("devices", [2, 3])
def test_several_processes_come_to_what_one_comes_to(folder: Path, one: dict, devices: int) -> None:
    promoted(folder, devices)
    as_one(results(folder), one)


def test_ranks_agree_on_buffers_and_on_extra_state(tmp_path: Path) -> None:
    def train(rank: int) -> None:
        torch.distributed.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=rank, world_size=2)
        model = nn.Sequential(Scaled(as_tensor=False), nn.BatchNorm1d(INPUTS))
        model(torch.full((4, INPUTS), float(rank)) * torch.arange(4.0)[:, None])
        distributed.agree(model, None)
        torch.save(model.state_dict(), tmp_path / f"{rank}.pt")
        torch.distributed.barrier()

    ranks = [start(lambda rank=rank: train(rank)) for rank in range(2)]
    assert [code_of(pid) for pid in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert same(first, second)
    assert float(first["1.running_mean"].abs().sum()) == 0, "those of rank 0, which had seen zeros alone"


def as_one(several: dict, one: dict) -> None:
    assert several.keys() == one.keys()
    for number, values in one.items():
        assert several[number] == pytest.approx(values, rel=RELATIVE)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 64])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_ranks_share_every_batch_without_rest(monkeypatch: pytest.MonkeyPatch, world: int, size: int) -> None:
    """The shares of all ranks are the batch, and their weights sum to one, whatever the sizes. No process is needed:
    each rank in turn is asked for its share."""
    batch = Batch(torch.arange(size * 2.0).reshape(size, 2), torch.arange(float(size)).reshape(size, 1))
    monkeypatch.setattr(distributed, "world_size", lambda: world)
    shares = []
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append(distributed.share(batch))
    assert sum(share.weight for share in shares) == pytest.approx(1)
    mean = sum(share.weight * share.batch.y_BO.mean() for share in shares)
    assert float(mean) == pytest.approx(float(batch.y_BO.mean()))
    assert all(len(share.batch.x_BI) == len(share.batch.y_BO) > 0 for share in shares)
