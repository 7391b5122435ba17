"""What is parsed, fuzzed: whatever a file or an argument holds, it is taken, is nothing, or is refused in words."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpo.engine.checkpoint import newest
from hpo.epoch import Epoch
from hpo.errors import Refused
from hpo.storage.postgresql import check_url
from hpo.trial import record
from hpo.trial.artifact import load_winner
from hpo.trial.record import Asked, Outcome
from hpo.trial.weights import packed
from hpo.verbs.devices import check_device
from hpo.verbs.load import load_study
from tests.faults.studies import EPOCH
from tests.toy import Toy

fuzz = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
OUTCOME = {**asdict(Outcome("complete", value=1.0, epochs=1, history=(EPOCH,))), "inputs": "x"}
ASKED = dict(Asked(0, {"recipe.lr": 0.1}, {}, {"code": "x"}).__dict__)


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as base:
        yield Path(base)


def refusal(call: Callable[[], object], kind: type[Exception]) -> str:
    """What it was refused with; nothing if it was not."""
    try:
        call()
    except kind as error:
        return str(error)
    return ""


def seal(path: Path, record: dict) -> None:
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**record, "sha256": digest}))


@fuzz
@given(content=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_record_of_any_content_is_no_record(content: bytes) -> None:
    with folder() as trial:
        for name in ("trial.json", "result.json"):
            (trial / name).write_bytes(content)
        assert record.read_asked(trial) is None
        assert record.read_outcome(trial) is None


@fuzz
@given(name=st.sampled_from(sorted(OUTCOME)), value=JSON)
def test_an_outcome_with_any_value_in_any_place_is_an_outcome_or_none(name: str, value: object) -> None:
    with folder() as trial:
        seal(trial / "result.json", {**OUTCOME, name: value})
        found = record.read_outcome(trial)
        assert found is None or found.value is None or abs(found.value) < float("inf")
        if found is not None:  # it can be read by all who read it
            assert found.state in get_args(record.State)
            assert all(isinstance(epoch, Epoch) for epoch in found.history)
            record.write_outcome(trial, found, "x")
            assert record.read_outcome(trial, "x") is not None


@fuzz
@given(name=st.sampled_from(sorted(ASKED)), value=JSON)
def test_what_was_asked_with_any_value_in_any_place_has_params_or_is_none(name: str, value: object) -> None:
    with folder() as trial:
        seal(trial / "trial.json", {**ASKED, name: value})
        found = record.read_asked(trial)
        assert found is None or (isinstance(found.params, dict) and isinstance(found.number, int))


def _saved() -> bytes:
    buffer = io.BytesIO()
    torch.save({"identity": "x", "model": {"w": torch.arange(8.0)}, "record": [{"best": 1.0}]}, buffer)
    return buffer.getvalue()


SAVED = _saved()


@fuzz
@given(at=st.integers(0, len(SAVED) - 1), put=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_a_checkpoint_with_any_bytes_changed_and_its_checksum_made_to_hold_is_a_state_or_refused(
    at: int, put: bytes, cut: bool
) -> None:
    content = SAVED[:at] + put + (b"" if cut else SAVED[at + len(put) :])
    with folder() as trial:
        (trial / f"epoch-000001-{hashlib.sha256(content).hexdigest()[:16]}.pt").write_bytes(content)
        said = refusal(lambda: newest(trial), ValueError)
        assert not said or str(trial) in said


@fuzz
@given(name=st.sampled_from(["task", "fields", "sha256"]), value=JSON)
def test_a_card_with_any_value_in_any_place_gives_a_task_or_an_error(name: str, value: object) -> None:
    with folder() as winner:
        weights = packed(Toy().model().state_dict())
        card = {"task": "tests.toy:Toy", "fields": {}, "sha256": hashlib.sha256(weights).hexdigest()}
        (winner / "weights.safetensors").write_bytes(weights)
        (winner / "card.json").write_text(json.dumps({**card, name: value}))
        with suppress(ValueError, TypeError, AttributeError, ImportError):
            assert isinstance(load_winner(winner).task, Toy)


@pytest.mark.parametrize("named", ["os:system", "builtins:exec", "subprocess:run", "os:nothing", "tests.toy:toy_study"])
def test_a_card_calls_nothing_but_a_task(named: str, tmp_path: Path) -> None:
    weights = packed(Toy().model().state_dict())
    (tmp_path / "weights.safetensors").write_bytes(weights)
    marker = tmp_path / "marker"
    (tmp_path / "card.json").write_text(
        json.dumps(
            {
                "task": named,
                "fields": {"command": f"touch '{marker}'", "args": ["touch", str(marker)]},
                "sha256": hashlib.sha256(weights).hexdigest(),
            }
        )
    )
    with pytest.raises(ValueError, match="must name a task"):
        load_winner(tmp_path)
    assert not marker.exists()


@fuzz
@given(url=st.text(max_size=40) | st.builds("{}://{}:{}@{}/{}?{}".format, *[st.text(max_size=6)] * 6))
def test_any_url_is_taken_without_a_secret_or_refused_without_repeating_it(url: str) -> None:
    said = refusal(lambda: check_url(url), Refused)
    assert url.startswith("postgresql") if not said else len(url) < 12 or url not in said


@fuzz
@given(name=st.text(max_size=40))
def test_any_name_of_a_study_is_found_or_refused(name: str) -> None:
    before = os.getcwd()
    with folder() as empty:
        os.chdir(empty)
        try:
            with suppress(Refused):
                load_study(name)
        finally:
            os.chdir(before)


@fuzz
@given(name=st.text(max_size=12) | st.from_regex(r"(cuda|cpu|auto):?[0-9]{0,3}", fullmatch=True))
def test_any_device_is_known_or_refused(name: str) -> None:
    with suppress(Refused):
        check_device(name)
