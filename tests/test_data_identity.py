"""What a study's data is known by, and that a resume does not read it again unless something may have changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hpo
from hpo.errors import Refused
from hpo.storage.folder import RunFolder
from hpo.study import StudySpec
from hpo.task import Fidelity, Split
from hpo.trial import data_identity as checking
from hpo.trial.data_identity import data_hash, data_identity
from hpo.trial.kept_data import KeptData
from hpo.trial.provenance import identity
from hpo.verbs.display import Display
from tests.toy import CHEAP, Batch, Toy, toy_study

LARGE = replace(CHEAP, train=128, val=128)  # two batches of the size that is read

LONG_AGO_NS = 10**18  # a file that has just been written may change again in the same moment, and is not kept
served: list[str] = []  # the splits that were read to their end


@dataclass(frozen=True)
class Undeclared(Toy):
    """Reads a number from a file, and moves every label after the first batch by it."""

    data: str = ""

    def batches(self, split: Split, fidelity: Fidelity, batch_size: int, rng: torch.Generator) -> Iterator[Batch]:
        moved = float((Path(self.data) / "moved").read_text())
        for number, batch in enumerate(super().batches(split, fidelity, batch_size, rng)):
            yield batch if number == 0 else Batch(batch.x_BI, batch.y_BO + moved)
        served.append(split)


@dataclass(frozen=True)
class Declared(Undeclared):
    def files(self) -> list[Path]:
        return [Path(self.data)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, text in {"moved": "1.5", "labels/first.csv": "1", "labels/second.csv": "2"}.items():
        write(folder / name, text)
    served.clear()
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "toy")
    folder.make()
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def study_of(task: Callable[..., Toy], data: Path) -> StudySpec:
    return toy_study(task=task(data=str(data)))


def known(study: StudySpec, folder: RunFolder, **options: Any) -> str:
    """What a command finds out: with what the commands before it have kept."""
    kept = KeptData(folder)
    identity = data_identity(study, LARGE, kept=kept, **options)
    kept.write()
    return identity


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled at once, so that a test need not wait for it."""
    monkeypatch.setattr("hpo.trial.contents.SETTLED_NS", -LONG_AGO_NS)


# -- with files --------------------------------------------------------------------------------------------------------
def test_the_content_of_declared_files_is_what_counts_and_no_batch_is_read(
    data: Path, folder: RunFolder, settled: None, tmp_path: Path
) -> None:
    before, read = known(study_of(Declared, data), folder), []
    assert before.startswith("files ")
    assert identity(study_of(Declared, data))["data"] == before
    assert known(study_of(Declared, data), folder, watch=lambda *seen: read.append(seen)) == before
    assert read == []
    os.utime(data / "moved")  # touched
    assert known(study_of(Declared, data), folder, watch=lambda *seen: read.append(seen)) == before
    assert read == [(1, "file")]
    shutil.move(data, tmp_path / "elsewhere")
    assert known(study_of(Declared, tmp_path / "elsewhere"), folder) == before
    assert served == []


@pytest.mark.parametrize(
    "change",
    [
        lambda data: write(data / "moved", "1.6"),
        lambda data: write(data / "labels" / "third.csv", ""),
        lambda data: (data / "moved").rename(data / "move"),
        lambda data: (data / "labels" / "second.csv").unlink(),
    ],
    ids=["content", "another file", "another name", "a file less"],
)
def test_other_files_are_other_data(
    data: Path, folder: RunFolder, settled: None, change: Callable[[Path], None]
) -> None:
    before = known(study_of(Declared, data), folder)
    change(data)
    assert known(study_of(Declared, data), folder) != before


def test_a_time_that_was_set_back_hides_no_change(data: Path, folder: RunFolder, settled: None) -> None:
    before, times = known(study_of(Declared, data), folder), (data / "moved").stat()
    write(data / "moved", "1.6")  # as long as before
    os.utime(data / "moved", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert known(study_of(Declared, data), folder) != before


def test_a_file_that_has_just_changed_is_read_again(data: Path, folder: RunFolder) -> None:
    """It may change once more within the same tick of the clock."""
    known(study_of(Declared, data), folder)
    assert KeptData(folder)["files"] == []


def test_a_declared_file_that_is_not_there_is_refused_by_name(data: Path, folder: RunFolder) -> None:
    shutil.rmtree(data)
    with pytest.raises(Refused, match=rf"Declared.files: must give files or folders that are there; got {data}"):
        known(study_of(Declared, data), folder)


def test_a_study_that_began_without_files_is_known_by_its_batches_on(
    data: Path, folder: RunFolder, settled: None
) -> None:
    study = study_of(Declared, data)
    before = data_hash(study.task, LARGE)
    for reads in (["train", "val"], []):
        served.clear()
        assert known(study, folder, earlier=before) == before
        assert served == reads
    write(data / "moved", "1.6")
    assert known(study, folder, earlier=before) != before


# -- without files -----------------------------------------------------------------------------------------------------
def test_batches_are_read_once_for_a_task_and_a_fidelity(data: Path, folder: RunFolder) -> None:
    study = study_of(Undeclared, data)
    before = known(study, folder)
    assert before == data_hash(study.task, LARGE)
    served.clear()
    assert known(study, folder) == before
    assert served == []
    assert known(replace(study, task=replace(study.task, shift=0.5)), folder) == before
    assert served == ["train", "val"]


def test_other_code_reads_the_batches_again(data: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    known(study_of(Undeclared, data), folder)
    served.clear()
    monkeypatch.setattr(checking, "code_hash", lambda task: "another")
    known(study_of(Undeclared, data), folder)
    assert served == ["train", "val"]


def test_a_file_that_python_has_opened_is_looked_at_although_nobody_declared_it(data: Path, folder: RunFolder) -> None:
    """The first batches are the same as before."""
    before = known(study_of(Undeclared, data), folder)
    write(data / "moved", "1.625")
    assert known(study_of(Undeclared, data), folder) != before


def test_a_change_of_the_first_examples_is_noticed_wherever_they_come_from(
    data: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = toy_study()
    before = known(study, folder)
    monkeypatch.setattr("tests.toy.NOISE", 0.2)
    assert known(study, folder) != before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_kept_data_that_is_damaged_is_read_again(data: Path, folder: RunFolder, content: bytes) -> None:
    before = known(study_of(Undeclared, data), folder)
    folder.data.write_bytes(content)
    served.clear()
    assert known(study_of(Undeclared, data), folder) == before
    assert served == ["train", "val"]


# -- commands ----------------------------------------------------------------------------------------------------------
class Shown(Display):
    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def steps(self, title: str) -> Iterator[Callable[[str], None]]:
        self.titles.append(title)
        yield lambda step: None


def test_a_command_says_that_it_reads_the_data_and_a_resume_does_not_read_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpo.verbs.data_progress.SHOW_AFTER_S", 0.0)
    study, shown = replace(study_of(Undeclared, data), trials=1, keep=1, seeds=1), Shown()
    common = {"runs": tmp_path / "runs", "backend": "inline", "device": "cpu", "progress": shown}
    with pytest.raises(Refused, match="preflight"):
        hpo.sweep(study, **common)
    assert not (tmp_path / "runs").exists(), "a command that is refused makes no folder"
    hpo.sweep(study, **common, force=True)
    assert shown.titles == ["checking the data of toy"] * 2
    hpo.sweep(study, **common, force=True)
    assert shown.titles == ["checking the data of toy"] * 2
    hpo.promote(study, **common)
    assert shown.titles == ["checking the data of toy"] * 3  # the test split
    hpo.promote(study, **common)
    assert shown.titles == ["checking the data of toy"] * 3
