"""Starts the user's command once for each event, beside the work, and never waits for it there."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import IO, Any

from hpo import events
from hpo.errors import Refused

LIMIT_S = 30.0  # for the command, at each event
END_S = 30.0  # for the events that still wait when the work has ended
STOPPED_S = 5.0  # the same where somebody has asked the work to stop
LOOK_S = 0.2  # between two looks at the time
LONGEST = 200  # events that wait
LONGEST_ERROR = 200  # characters
TRIAL_ENDED = "trial_ended"

Document = Mapping[str, Any]  # of an event, as the command reads it


def words_of(command: str) -> list[str]:
    """The words of a command, as a shell would split them; no shell runs it. Raises Refused where it cannot be run."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Refused(f"--notify: must be a command; got {command!r} ({error})") from error
    if not words:
        raise Refused("--notify: must be a command; got nothing")
    if shutil.which(words[0]) is None:
        raise Refused(f"--notify: there is no program {words[0]!r}; a pipe or a variable needs a shell: sh -c '...'")
    return words


class Notifier:
    """Starts a command for one event after the other, in a thread of its own.

    An event that the command does not take is named in the study's log of events, and `trouble` says so once.
    """

    def __init__(self, command: str) -> None:
        self._words = words_of(command)
        self._waiting: deque[Document] = deque()
        self._changed = threading.Condition()
        self._deadline: float | None = None  # from which on nothing is started
        self._failures: list[str] = []
        self._has_said = False
        self._thread = threading.Thread(target=self._work, name="notify", daemon=True)
        self._thread.start()

    def put(self, document: Document) -> None:
        """Let the command be started for an event, after those that wait. Where too many wait, the oldest is lost."""
        with self._changed:
            self._waiting.append(document)
            lost = self._oldest() if len(self._waiting) > LONGEST else None
            self._changed.notify()
        if lost is not None:
            self._failed(lost, f"{LONGEST} events were waiting: the command is too slow")

    def trouble(self) -> str:
        """What went wrong first, where that was not said yet; else ""."""
        if not self._failures or self._has_said:
            return ""
        self._has_said = True
        return f"--notify: {self._failures[0]}; the work goes on, and events.log names what else is not delivered"

    def close(self, seconds: float) -> str:
        """Deliver what waits, within so many seconds. Returns what went wrong, where that was not said; else ""."""
        with self._changed:
            self._deadline = time.monotonic() + seconds
            self._waiting = deque(sorted(self._waiting, key=lambda document: document["event"] == TRIAL_ENDED))
            self._changed.notify()
        self._thread.join()
        if len(self._failures) == 1:
            return self.trouble()
        if self._failures:
            return f"--notify: {len(self._failures)} events were not delivered; events.log names them"
        return ""

    def _oldest(self) -> Document:
        """Take the event out of the queue that is missed least: the oldest end of a trial."""
        lost = next((each for each in self._waiting if each["event"] == TRIAL_ENDED), self._waiting[0])
        self._waiting.remove(lost)
        return lost

    def _work(self) -> None:
        while (document := self._next()) is not None:
            failure = self._deliver(json.dumps(document))
            if failure:
                self._failed(document, failure)

    def _next(self) -> Document | None:
        """The next event, which is waited for; None where there will be no more."""
        with self._changed:
            while not self._waiting and self._deadline is None:
                self._changed.wait()
            return self._waiting.popleft() if self._waiting else None

    def _deliver(self, document: str) -> str:
        """Run the command with the document on its standard input; why that failed, or ""."""
        began, program = time.monotonic(), self._words[0]
        if self._is_late(began):
            return "there was no time left for it"
        with tempfile.TemporaryFile() as output:
            try:
                process = subprocess.Popen(
                    self._words, stdin=subprocess.PIPE, stdout=output, stderr=output, text=True, start_new_session=True
                )
            except OSError as error:
                return f"{program} cannot be started: {error.strerror}"
            content: str | None = document
            while not self._is_late(began):
                try:
                    process.communicate(content, timeout=LOOK_S)
                except subprocess.TimeoutExpired:
                    content = None  # it is being written
                    continue
                return f"{program} ended with {process.returncode}{_last_line(output)}" if process.returncode else ""
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return f"{program} had not ended after {time.monotonic() - began:.2g} s, and was killed"

    def _is_late(self, began: float) -> bool:
        """Whether the time of a start of the command is over, or that of all events."""
        now = time.monotonic()
        return now - began >= LIMIT_S or (self._deadline is not None and now >= self._deadline)

    def _failed(self, document: Document, failure: str) -> None:
        event = str(document["event"])
        self._failures.append(f"{event} was not delivered: {failure}")
        events.record("notify", of=event, text=document.get("text"), failed=failure)


def _last_line(output: IO[bytes]) -> str:
    """What the command has said last."""
    output.seek(max(0, output.seek(0, 2) - 4096))
    lines = output.read().decode(errors="replace").strip().splitlines()
    return f": {lines[-1][:LONGEST_ERROR]}" if lines else ""
