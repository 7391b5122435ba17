"""The invariants of a study, read by a process that shares no code with hpo: `python check.py FOLDER TRIALS`.

`--url` says in which database the study is, where not in the folder; `--ladder EPOCHS`, that its trials pause, and how
many epochs a trial has that does not.

Prints a JSON list of violations. Each begins with the number of an invariant:

I1   the result of a trial whose end was logged is kept
I2   the numbers of the trials have no gaps, and each trial has a folder
I3   one process at a time trains a trial
I4   storage and folders agree
I5   no trial is left running
I6   the epochs of a trial follow each other
I9   there are as many trials as were asked for; a ladder's have at most as many epochs as those, and no trial fits more
I10  the database is sound
I11  no temporary file is left
I12  the log can be read
I13  a trial of a ladder has ended at a rung, or has failed

The tests themselves check I7: every trial comes out as if nothing had happened.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Query = Callable[[str], list[tuple[Any, ...]]]
STATES = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


def violations(folder: Path, trials: int, query: Query, ladder: int | None = None) -> Iterator[str]:
    name = folder.name
    swept, promoted = rows(query, name), rows(query, f"{name}.promotion")
    yield from _check("sweep", folder, swept)
    if ladder is None:
        yield from _check_count(swept, trials)
    else:
        retried = len(list(folder.glob("sweep/*/result.failed-*.json")))
        yield from _check_ladder(swept, trials, ladder, retried)
    if promoted:
        yield from _check("promotion", folder, promoted)
    patterns = ("**/*.tmp", "**/*-journal", "*/*/lock", "*/*/epoch-*.pt")
    leftovers = [str(path) for pattern in patterns for path in folder.glob(pattern)]
    if leftovers:
        yield f"I11 left behind: {leftovers}"
    yield from _logged(folder, {"sweep": swept, "promotion": promoted})


def _logged(folder: Path, stored: dict[str, dict[int, dict[str, Any]]]) -> Iterator[str]:
    """I1: a trial whose end was logged, which is after its record was written, has ended so. I3: no process ends a
    trial that another one has started since."""
    states: dict[tuple[str, int], str] = {}
    starts: dict[tuple[str, int], list[tuple[str, int]]] = {}
    for line in (folder / "events.log").read_text(errors="replace").splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            if not line.startswith('{"at'):  # but for the half of a line that a full disk leaves
                yield f"I12 no event: {line}"
            continue
        if event["event"] not in ("start", "end"):
            continue
        trial = ("promotion" if event["study"].endswith(".promotion") else "sweep", event["trial"])
        process, started = (event["host"], event["pid"]), starts.setdefault(trial, [])
        if event["event"] == "start":
            started.append(process)
        else:
            states[trial] = event["state"]
            if states[trial] == "paused":  # how it ends is yet to come
                del states[trial]
            if process in started and started[-1] != process:
                yield f"I3 {trial} was ended by {process} after {started[-1]} had started it"
    for (kind, number), state in states.items():
        row = stored[kind].get(number)
        failed = row and row["state"] == "FAIL" and "died" in row["attributes"].get("reason", "")
        if row is None or not (row["state"] == STATES[state] or failed):
            yield f"I1 {kind} {number} ended {state} by the log, and is {row and row['state']}"


def rows(query: Query, study: str) -> dict[int, dict[str, Any]]:
    """By number: what the tables say of each trial of a study. A failed trial of a sweep is pruned there, and violates
    a constraint: its state is FAIL here."""
    trials = f"(SELECT trial_id FROM trials t JOIN studies s ON t.study_id = s.study_id WHERE s.study_name = '{study}')"
    by_id = {
        identity: {"number": number, "state": state, "value": None, "params": {}, "reports": {}, "attributes": {}}
        for identity, number, state in query(
            f"SELECT trial_id, number, state FROM trials WHERE trial_id IN {trials} ORDER BY number"
        )
    }
    for identity, value in query(
        f"SELECT trial_id, value_json FROM trial_system_attributes WHERE key = 'constraints:failed' "
        f"AND trial_id IN {trials}"
    ):
        if by_id[identity]["state"] == "PRUNED" and json.loads(value) > 0:
            by_id[identity]["state"] = "FAIL"
    for identity, value in query(f"SELECT trial_id, value FROM trial_values WHERE trial_id IN {trials}"):
        by_id[identity]["value"] = value
    for identity, name, value in query(
        f"SELECT trial_id, param_name, param_value FROM trial_params WHERE trial_id IN {trials}"
    ):
        by_id[identity]["params"][name] = value
    for identity, step, value in query(
        f"SELECT trial_id, step, intermediate_value FROM trial_intermediate_values WHERE trial_id IN {trials}"
    ):
        by_id[identity]["reports"][step] = value
    for identity, key, value in query(
        f"SELECT trial_id, key, value_json FROM trial_user_attributes WHERE trial_id IN {trials}"
    ):
        by_id[identity]["attributes"][key] = json.loads(value)
    by_number = {row["number"]: row for row in by_id.values()}
    if len(by_number) != len(by_id):
        raise AssertionError(f"I2 a number twice in {study}")
    return by_number


def _check(kind: str, folder: Path, stored: dict[int, dict[str, Any]]) -> Iterator[str]:
    numbers = sorted(stored)
    folders = sorted(int(path.name) for path in (folder / kind).iterdir())
    if numbers != list(range(len(numbers))) or folders != numbers:
        yield f"I2 {kind}: numbers {numbers}, folders {folders}"
    for number, row in stored.items():
        if row["state"] not in ("COMPLETE", "PRUNED", "FAIL"):
            yield f"I5 {kind} {number} is {row['state']}"
            continue
        for violation in _check_trial(row, folder / kind / f"{number:04d}", promoted=kind == "promotion"):
            yield f"{violation} ({kind} {number})"


def _check_count(swept: dict[int, dict[str, Any]], trials: int) -> Iterator[str]:
    if len(swept) != trials:
        yield f"I9 {len(swept)} trials, {trials} asked for"


def _check_ladder(swept: dict[int, dict[str, Any]], trials: int, epochs: int, retried: int) -> Iterator[str]:
    """`epochs` are those of a trial that does not pause. One that fails at once counts one epoch, and takes more where
    it is `retried`, when the others may have been given its epochs."""
    ended = {number: row["attributes"].get("epochs", 0) for number, row in swept.items()}
    taken = sum(max(1, each) for each in ended.values())
    if not (trials - 1) * epochs < taken <= trials * epochs + retried * (epochs - 1):
        yield f"I9 {taken} epochs, {trials} trials of {epochs} asked for"
    allowed = {"COMPLETE": {epochs}, "PRUNED": {epochs >> power for power in range(1, epochs.bit_length())}}
    for number, row in swept.items():
        if ended[number] not in allowed.get(row["state"], {ended[number]}):
            yield f"I13 sweep {number} is {row['state']} after {ended[number]} epochs"


def _check_trial(row: dict[str, Any], folder: Path, *, promoted: bool) -> Iterator[str]:
    outcome, asked = _sealed(folder / "result.json"), _sealed(folder / "trial.json")
    if outcome is None or asked is None:
        yield "I4 the folder has no whole record"
        return
    if STATES[outcome["state"]] != row["state"]:
        yield f"I4 {row['state']} in the storage, {outcome['state']} in the folder"
    history = outcome["history"]
    if [epoch["epoch"] for epoch in history] != list(range(len(history))):
        yield f"I6 epochs {[epoch['epoch'] for epoch in history]}"
    last = history[-1]["best"] if history else None
    if promoted:  # its inference settings may have been re-tuned after the last epoch
        last = outcome["value"]
    if row["state"] == "COMPLETE" and not row["value"] == outcome["value"] == last:
        yield f"I4 value {row['value']} in the storage, {outcome['value']} in the folder, {last} last"
    reported = [value for _, value in sorted(row["reports"].items())]
    if row["state"] != "FAIL" and reported[: len(history)] != [epoch["best"] for epoch in history]:
        yield f"I4 reported {reported}, history {[epoch['best'] for epoch in history]}"
    if set(row["params"]) != set(asked["params"]):
        yield f"I4 params {sorted(row['params'])}, asked {sorted(asked['params'])}"


def _sealed(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    seal = record.pop("sha256")
    return record if seal == hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest() else None


def sqlite_query(path: Path) -> Query:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    return lambda text: connection.execute(text).fetchall()


def main(folder: Path, trials: int, url: str, ladder: int | None) -> list[str]:
    if url:
        import psycopg

        with psycopg.connect(url) as connection:
            return list(violations(folder, trials, lambda text: connection.execute(text).fetchall(), ladder))
    query = sqlite_query(folder / "study.db")
    answers = [*query("PRAGMA integrity_check"), *query("PRAGMA foreign_key_check")]
    unsound = [f"I10 {row}" for row in answers if row != ("ok",)]
    return unsound + list(violations(folder, trials, query, ladder))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("trials", type=int)
    parser.add_argument("--url", default="")
    parser.add_argument("--ladder", type=int)
    print(json.dumps(main(**vars(parser.parse_args()))))
