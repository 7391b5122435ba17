"""--scheduler FILE.json: the address is in the file that a Dask scheduler writes when it has started."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from hpo.errors import Refused
from hpo.verbs import scheduler
from hpo.verbs.scheduler import scheduler_address

ADDRESS = "tcp://10.0.0.1:8786"
CONTENT = json.dumps({"type": "Scheduler", "id": "Scheduler-1", "address": ADDRESS, "workers": {}})


def test_an_address_is_itself() -> None:
    assert scheduler_address(ADDRESS) == ADDRESS


def test_a_file_that_is_written_later_and_in_two_steps_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(CONTENT[:40])
    threading.Timer(0.3, lambda: file.write_text(CONTENT)).start()
    assert scheduler_address(str(file)) == ADDRESS


@pytest.mark.parametrize("content", [None, "", "[1]", '{"address": 1}', '{"id": "x"}'])
def test_a_file_without_an_address_is_refused_when_the_wait_is_over(
    tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "START_S", 0)
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Refused, match=f"start it: dask scheduler --scheduler-file {file}"):
        scheduler_address(str(file))
