"""The log of a study's commands, runs/STUDY/commands.log: a JSON line each, with the versions that it ran under."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from hpo.files import no_link
from hpo.storage.folder import RunFolder
from hpo.trial.provenance import versions
from hpo.verbs.opening import Opened


def begin(opened: Opened, *words: str) -> None:
    """Log the command, with the words that are no option, and keep what it has found out about the data: from here on
    nothing refuses it."""
    log_command(opened.folder, [*opened.argv, *words])
    opened.data.write()


def log_command(folder: RunFolder, argv: Sequence[str]) -> None:
    """Append a command, word by word, to the study's log. Makes the folder where there is none."""
    folder.make()
    line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "argv": list(argv), "versions": versions()}
    with open(folder.commands, "a", opener=no_link) as file:
        file.write(json.dumps(line) + "\n")
