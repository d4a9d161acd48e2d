"""Patience with a database that another process holds: says after a moment who is awaited, and ends in one line."""

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from jaxqc.errors import UserError

WAIT = 180.0
"""Seconds after which a database that is held is given up."""
SPEAK = 2.0
"""Seconds after which the wait is announced."""
SLICE = 1.0
"""Seconds that the database itself waits before it says that it is held."""


@dataclass
class Waiting:
    """One wait. holder: says in words who holds the database; note: takes the line that announces it."""

    name: str
    holder: Callable[[], str]
    note: Callable[[str], None]
    began: float = field(default_factory=time.monotonic)
    announced: bool = False

    def again(self, error: UserError) -> None:
        """Sleeps a little before another try.

        Raises:
          UserError: `WAIT` is over; from `error`.
        """
        waited = time.monotonic() - self.began
        if waited >= WAIT:
            text = f"{self.name}: {self.holder()} still holds it after {waited:.0f} s; let that end, then try again"
            raise UserError(text) from error
        if waited >= SPEAK and not self.announced:
            self.announced = True
            self.note(f"{self.name}: waiting for {self.holder()}, which writes to it; at most {WAIT:.0f} s")
        time.sleep(random.uniform(0.01, 0.1))


def holder_of(file: Path, locks: Path = Path("/proc/locks")) -> str:
    """The processes that have locked a SQLite file or its index of the WAL for writing, in words.

    Read from the kernel's table, never by opening the file: closing it would give up this process's own locks.
    """
    unknown = "another process"
    try:
        inodes = {str(path.stat().st_ino) for path in (file, Path(f"{file}-shm")) if path.exists()}
        lines = [line.split() for line in locks.read_text().splitlines()]
    except OSError:
        return unknown
    # number: kind mode WRITE pid device:inode start end
    held = {words[4] for words in lines if "WRITE" in words[3:4] and words[5].rpartition(":")[2] in inodes}
    named = [f"process {pid}{_command(pid)}" for pid in sorted(held) if pid.isdigit() and int(pid) != os.getpid()]
    return " and ".join(named[:3]) or unknown


def _command(pid: str) -> str:
    try:
        return f" ({Path('/proc', pid, 'comm').read_text().strip()})"
    except OSError:
        return ""
