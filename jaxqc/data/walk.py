"""A folder entry by entry: its files and the folders below it, and a problem for each entry that is neither.

Nothing is opened: reading a named pipe would never end. A folder behind a link is entered once and after all others, so
loops end and images keep the names of the folders that they lie in. One behind a link to a folder above is not entered.
"""

import errno
import os
import re
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxqc.data.problems import Problem, printable

SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
LINK = {errno.ENOENT: "a link to nothing", errno.ELOOP: "a link that leads back to itself"}


@dataclass(frozen=True)
class Walk:
    """The entries of a folder. `files` are regular ones, in natural order (`2.png` before `10.png`)."""

    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    """Those that were entered, the root first; none where it cannot be read."""
    again: tuple[Path, ...]
    """Folders that were not entered for they had been, or lie above."""
    hidden: tuple[Path, ...]
    """Entries whose name begins with a dot, which are not looked at."""
    problems: tuple[Problem, ...]
    """Errors for entries that cannot be used; warnings for links to what is there already, and for odd names."""


def walk(root: Path, recursive: bool = True) -> Walk:
    """The entries of `root`, and of the folders below it where `recursive`. Raises nothing: what fails is a problem.

    Examples:
      >>> Path("lots/7").mkdir(parents=True)
      >>> Path("lots/7/a.png").touch()
      >>> Path("lots/again").symlink_to("7")
      >>> found = walk(Path("lots"))
      >>> [file.as_posix() for file in found.files], found.problems[0].kind
      (['lots/7/a.png'], 'linked-again')
    """
    files: list[Path] = []
    hidden: list[Path] = []
    again: list[Path] = []
    problems: list[Problem] = []
    entered: dict[tuple[int, int] | str, Path] = {}
    above = {_identity(folder) for folder in Path(os.path.realpath(root)).parents}
    real, links = deque([root]), deque[Path]()

    def add(path: Path, kind: str, fault: str, severity: Literal["error", "warning"] = "error") -> None:
        where = printable(path.relative_to(root).as_posix() if path != root else path)
        problems.append(Problem(where, kind, f"{printable(path)}: {fault}", severity))

    while real or links:
        folder = real.popleft() if real else links.popleft()
        identity = _identity(folder)
        if identity in entered or identity in above:
            way = f"the same folder as {printable(entered[identity])}" if identity in entered else "a link upwards"
            add(folder, "linked-again", f"{way}; it is not entered again", "warning")
            again.append(folder)
            continue
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as e:
            add(folder, "unreadable-folder", f"cannot be read ({e.strerror}); nothing in it is used")
            continue
        entered[identity] = folder
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                hidden.append(path)
                continue
            fault = _fault(entry)
            if fault:
                add(path, *fault)
                continue
            if not entry.name.isascii() and _not_utf8(entry.name):
                add(path, "name-not-utf8", "the name is not UTF-8 and is shown with escapes; rename it", "warning")
            if not entry.is_dir():
                files.append(path)
            elif recursive:
                (links if entry.is_symlink() else real).append(path)
    files.sort(key=lambda file: _natural(str(file)))
    return Walk(tuple(files), tuple(entered.values()), tuple(again), tuple(hidden), tuple(problems))


def folders(path: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones; none where it cannot be read."""
    try:
        return sorted(p for p in path.iterdir() if not p.name.startswith(".") and os.path.isdir(p))
    except OSError:
        return []


def _fault(entry: "os.DirEntry[str]") -> tuple[str, str] | None:
    """Kind and message of an entry that is neither file nor folder."""
    try:
        if entry.is_dir() or entry.is_file():
            return None
        mode = os.stat(entry.path).st_mode
    except OSError as e:
        return "broken-link", f"{LINK.get(e.errno or 0, f'cannot be read ({e.strerror})')}; mend or remove it"
    name = next((name for test, name in SPECIAL if test(mode)), "not a regular file")
    return "not-a-file", f"{name}, which is not opened; remove it or put an image file there"


def _identity(folder: Path) -> tuple[int, int] | str:
    """Device and inode; the path where the file system numbers nothing or says nothing."""
    try:
        found = os.stat(folder)
    except OSError:
        return os.path.realpath(folder)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(folder)


def _not_utf8(name: str) -> bool:
    return any("\udc80" <= c <= "\udcff" for c in name)


def _natural(text: str) -> list[tuple[int, str]]:
    """Sort key that compares runs of digits as numbers."""
    return [(int(t), "") if t.isascii() and t.isdigit() else (-1, t) for t in re.split(r"([0-9]+)", text)]
