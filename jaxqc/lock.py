"""One program at a time in a folder of results: the lock that each verb takes which fills one.

The operating system holds it (`filelock`: flock, on Windows msvcrt), so it ends with its process, however that ends: a
killed one's file is taken over. On NFS it works where the mount passes locks on (Linux does by default).
"""

import contextlib
import errno
import itertools
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from jaxqc.atomic import clear_remains
from jaxqc.errors import UserError

LOCK = ".lock"
"""In the folder: the lock's file, which says who holds it; gone when the folder is free."""
MOMENT = 0.5
"""Seconds to wait for a holder that is leaving."""
WRITING = 30.0
"""Seconds to wait for a holder that writes what it has measured."""
_LOGIN = re.compile(r"(?<=://)(?:[^:/]*(?::[^@]*)?@)?([^?]*).*", re.DOTALL)
ATTEMPTS = 100
"""Times that a folder is made anew which another program takes away."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""Errors of a filesystem that has no locks."""


@contextlib.contextmanager
def locked(
    folder: str | os.PathLike[str], note: Callable[[str], None] | None = None, wait: float = MOMENT
) -> Iterator[None]:
    """Holds a folder, which is made where it is absent, for this thread alone until the block ends.

    What killed writes left there is cleared first. The same thread may take it again within. A folder that stays empty
    goes away again if it was made here.

    Args:
      folder: one of results.
      note: takes a line where the filesystem cannot lock; None prints it on stderr. wait: seconds for another holder.

    Raises:
      UserError: another program holds it, who is named; or it cannot be written.

    Examples:
      >>> with locked("runs/first"):
      ...     sorted(path.name for path in Path("runs/first").iterdir())
      ['.lock']
      >>> Path("runs").exists()
      False
    """
    from filelock import FileLock, Timeout  # only where a folder is written

    folder = Path(folder)
    made = _absent(folder)
    file = Path(os.path.realpath(folder)) / LOCK
    lock = FileLock(file, is_singleton=True, fallback_to_soft=False)
    held = lock.is_locked
    try:
        for attempt in range(ATTEMPTS):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=wait)
                break
            except FileNotFoundError:  # another program has taken its empty folder away meanwhile
                if attempt + 1 == ATTEMPTS:
                    raise
    except Timeout:
        raise UserError(f"{folder}: {_holder(file)}; wait until it ends, or choose another --out") from None
    except OSError as e:
        if e.errno not in NO_LOCKS:
            raise UserError(f"{folder}: cannot write there ({e.strerror or e}); choose another --out") from e
        (note or _on_stderr)(f"{folder}: its filesystem has no locks; see that no other program writes there")
    if not held:
        _sign(file)
        clear_remains(folder)
    try:
        yield
    finally:
        if not held:
            # While it is still held: whoever has opened the file meanwhile finds that it has no name, and tries again.
            with contextlib.suppress(OSError):
                file.unlink()
        lock.release()
        _remove_empty(made)


@contextlib.contextmanager
def new_folder(name: str) -> Iterator[str]:
    """Makes the folder `name`, or where that is there `name-2`, `name-3`, ...: of two programs each gets its own.

    It goes away again where it stays empty.

    Raises:
      UserError: it cannot be made.

    Examples:
      >>> with new_folder("runs/a") as first, new_folder("runs/a") as second:
      ...     first, second
      ('runs/a', 'runs/a-2')
      >>> Path("runs").exists()
      False
    """
    for n in itertools.count(1):
        folder = name if n == 1 else f"{name}-{n}"
        made = _absent(Path(folder))
        try:
            Path(folder).parent.mkdir(parents=True, exist_ok=True)
            Path(folder).mkdir()
        except OSError as e:
            if os.path.lexists(folder):
                continue
            raise UserError(f"{folder}: cannot write there ({e.strerror or e}); give --out") from e
        try:
            yield folder
        finally:
            _remove_empty(made)
        return


def _absent(folder: Path) -> list[Path]:
    """The folder and those above it that are not there yet, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def _remove_empty(folders: Iterable[Path]) -> None:
    """Removes folders, the innermost first, up to one that is not empty."""
    with contextlib.suppress(OSError):
        for path in folders:
            path.rmdir()


def without_login(text: str) -> str:
    """A URL without user, password and options, which may hold secrets; any other text as it is.

    Examples:
      >>> without_login("--ledger=postgresql://ann:secret@host/quality?sslkey=k"), without_login("lots.csv")
      ('--ledger=postgresql://host/quality', 'lots.csv')
    """
    return _LOGIN.sub(r"\1", text, count=1)


def _sign(file: Path) -> None:
    """Writes who holds the lock. Nothing depends on it, so a full disk is no reason to stop."""
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    command = sys.argv[0]
    if Path(command).stem in ("jaxqc", "__main__"):
        command = " ".join(["jaxqc", *map(without_login, sys.argv[1:])])
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "since": began, "command": command}
    with contextlib.suppress(OSError):
        file.write_text(json.dumps(mine) + "\n", "utf-8", errors="backslashreplace")


def _holder(file: Path) -> str:
    """The holder of the lock, in words."""
    try:
        found = json.loads(file.read_text("utf-8"))
        return f"in use by process {found['pid']} on {found['host']} since {found['since']} ({found['command']})"
    except (OSError, ValueError, KeyError, TypeError):  # it is coming or going
        return "in use by another program"


def _on_stderr(text: str) -> None:
    print(text, file=sys.stderr)
