"""Whether a coordinator holds a study, as far as that can be seen from here. Needs neither Optuna nor SQLAlchemy."""

from __future__ import annotations

import fcntl
import platform
import re
from pathlib import Path
from typing import Literal, TypeAlias

from hpo.files import no_link
from hpo.storage.folder import RunFolder

Sight: TypeAlias = Literal["held", "free", "hidden"]  # hidden: another machine's lock, or that of another folder
HELD_HERE: set[Path] = set()  # locks that this process holds
HOLDER = re.compile(r"process \d+ on (.+) since ")  # what the holder writes into the lock file


def is_held(folder: RunFolder) -> bool:
    """Whether a coordinator of this machine holds the study: this process, or another one."""
    if folder.lock.resolve() in HELD_HERE:
        return True  # to open the file and close it would free the lock: the kernel counts processes, not files
    try:
        with open(folder.lock, opener=no_link) as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def sight_of_lock(folder: RunFolder, host: str, inode: int) -> Sight:
    """What can be seen of the lock that a coordinator on this host has held, whose file had this inode.

    A lock is kept by a kernel, and is on one file: another machine need not see it, and the file in a copy of the
    folder is another one.
    """
    if is_held(folder):
        return "held"
    return "free" if host == platform.node() and inode == inode_of_lock(folder) else "hidden"


def inode_of_lock(folder: RunFolder) -> int:
    """The inode of the lock file; 0 where there is none."""
    try:
        return folder.lock.stat().st_ino
    except OSError:
        return 0


def last_host(folder: RunFolder) -> str:
    """The machine whose coordinator has held the study last; "" where that is not known."""
    try:
        holder = HOLDER.match(folder.lock.read_text(errors="replace"))
    except OSError:
        return ""
    return holder.group(1) if holder else ""
