"""Whether a coordinator holds a study, as far as that can be seen from here. Needs neither Optuna nor SQLAlchemy."""

from __future__ import annotations

import fcntl
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from hpo.files import no_link
from hpo.storage.folder import RunFolder

Sight: TypeAlias = Literal["held", "free", "hidden"]  # hidden: another machine's lock, or that of another folder
HELD_HERE: set[Path] = set()  # locks that this process holds
HOLDER = re.compile(r"process (\d{1,9}) on (.+) since ")  # what the holder writes into the lock file


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


@dataclass(frozen=True)
class Holder:
    """The coordinator that has held a study last."""

    host: str = ""  # "" where that is not known
    pid: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether another process of this machine has its number now."""
        if self.host != platform.node() or self.pid in (0, os.getpid()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def last_holder(folder: RunFolder) -> Holder:
    """Who has held the study last, by the lock file. In a copied folder that is the holder of what it is a copy of."""
    try:
        holder = HOLDER.match(folder.lock.read_text(errors="replace"))
    except OSError:
        return Holder()
    return Holder(holder.group(2), int(holder.group(1))) if holder else Holder()
