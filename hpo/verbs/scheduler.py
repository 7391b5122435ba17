"""Where the Dask scheduler is: its address, or the file that it writes its address into."""

from __future__ import annotations

import json
import time
from pathlib import Path

from hpo.errors import Refused

START_S = 60.0  # for a scheduler that is being started to write its file
LOOK_S = 0.2


def scheduler_address(given: str) -> str:
    """The address itself, or the one in a file that ends in .json, as `dask scheduler --scheduler-file` writes it.

    A file that is not there yet is waited for: a batch job starts the scheduler and then hpo. Raises Refused where it
    has not come within START_S seconds.
    """
    if not given.endswith(".json"):
        return given
    deadline = time.monotonic() + START_S
    while (address := _read_address(Path(given))) is None:
        if time.monotonic() > deadline:
            raise Refused(
                f"--scheduler: {given} must be the file that the scheduler writes its address into, and after "
                f"{START_S:g} s there is none in it; start it: dask scheduler --scheduler-file {given}"
            )
        time.sleep(LOOK_S)
    return address


def _read_address(path: Path) -> str | None:
    """The address in the file; None where it is not there, or not whole yet."""
    try:
        address = json.loads(path.read_bytes())["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return address if isinstance(address, str) else None
