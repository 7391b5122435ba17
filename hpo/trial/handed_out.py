"""Which worker has a trial, and how often it was handed out, from the study's log of events."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpo.files import no_link


@dataclass(frozen=True)
class Attempts:
    """Of one trial."""

    count: int = 0
    worker: str = ""  # HOST:PID of the last one


NO_ATTEMPTS = Attempts()


class AttemptsLog:
    """The attempts at each trial of one Optuna study, by its name. Each update reads what is new in the log."""

    def __init__(self, path: Path, study_name: str) -> None:
        self.path, self.study_name = path, study_name
        self._read_to = 0  # bytes
        self._attempts: dict[int, Attempts] = {}

    def update(self) -> dict[int, Attempts]:
        """The attempts by now, by the numbers of their trials. A log that cannot be read has nothing new."""
        try:
            with open(self.path, "rb", opener=no_link) as file:
                file.seek(self._read_to)
                new = file.read()
        except OSError:
            return self._attempts
        whole, newline, _ = new.rpartition(b"\n")  # the last line may not be whole yet
        self._read_to += len(whole) + len(newline)
        for line in whole.splitlines():
            self._take(line)
        return self._attempts

    def _take(self, line: bytes) -> None:
        if not any(word in line for word in (b'"submit"', b'"start"', b'"paused"')):
            return
        event = _decoded(line)
        if event.get("study") != self.study_name or not isinstance(event.get("trial"), int):
            return
        attempts = self._attempts.get(event["trial"], NO_ATTEMPTS)
        if event.get("event") == "submit":
            self._attempts[event["trial"]] = replace(attempts, count=attempts.count + 1)
        elif event.get("state") == "paused":  # what comes next goes on with the attempt
            self._attempts[event["trial"]] = replace(attempts, count=attempts.count - 1)
        elif event.get("event") == "start":
            self._attempts[event["trial"]] = replace(attempts, worker=f"{event.get('host')}:{event.get('pid')}")


def _decoded(line: bytes) -> dict[str, Any]:
    """One event; empty where the line is damaged."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}
