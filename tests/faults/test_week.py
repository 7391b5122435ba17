"""A week of a team, as `python -m tests.faults.week` lives through it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from tests.faults import servers
from tests.faults.week import team_of, week


@pytest.mark.soak
@pytest.mark.skipif(bool(servers.missing()), reason=f"a team needs {servers.missing()}")
def test_after_a_week_every_trial_that_had_ended_is_there() -> None:
    with tempfile.TemporaryDirectory(prefix="hpo-week-") as base, team_of(Path(base)) as team:
        assert week(team) == []
