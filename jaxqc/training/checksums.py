"""SHA256SUMS of a folder, in the format of sha256sum: whether its files are still those that were written."""

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path

from jaxqc.atomic import write_text

SUMS = "SHA256SUMS"
Lines = tuple[tuple[str, str], ...]
"""A list as pairs of sum and name, the name with slashes and relative to the folder."""


class DamagedError(Exception):
    """A folder that is incomplete or whose bytes are not those that were saved."""


def write_sums(folder: Path) -> None:
    """Lists every file below `folder` with its sum; the list appears whole or not at all."""
    write_lines(folder, sums_of(folder, every_file(folder)))


def every_file(folder: Path) -> list[str]:
    """Names of the files below a folder, but for its own list."""
    files = (f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file())
    return sorted(name for name in files if name != SUMS)


def sums_of(folder: Path, names: Iterable[str]) -> Lines:
    """The files' sums as they are now."""
    return tuple((sha256(folder / name), name) for name in names)


def write_lines(folder: Path, lines: Lines) -> None:
    """Writes a list, by name; it appears whole or not at all. An empty one, which says nothing, is none."""
    if not lines:
        return (folder / SUMS).unlink(missing_ok=True)
    write_text(folder / SUMS, "".join(f"{found}  {name}\n" for found, name in sorted(lines, key=lambda x: x[1])))


def read_lines(folder: Path) -> Lines:
    """The list of a folder.

    Raises:
      DamagedError: it is absent, empty, or no such list.
    """
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
        lines = tuple((line[:64], line[66:]) for line in text.removesuffix("\n").split("\n") if line[64:66] == "  ")
    except (OSError, ValueError) as e:
        raise DamagedError(f"{SUMS}: {' '.join(str(e).split())}") from e
    if not lines or text != "".join(f"{found}  {name}\n" for found, name in lines):
        raise DamagedError(f"{SUMS} is not whole")
    return lines


def check_sums(folder: Path, needed: Collection[str] | None = None) -> None:
    """Compares a folder with its list. Without a list there is nothing to check: a run may have been killed in the
    instant between a checkpoint's commit and its list.

    needed: names that have to be listed; None takes every file, but for hidden ones, which a file server may leave.

    Raises:
      DamagedError: a file is missing or altered, or is not in the list.
    """
    if (folder / SUMS).is_file():
        lines = read_lines(folder)
        check_lines(folder, lines)
        shown = (name for name in every_file(folder) if not name.rpartition("/")[2].startswith("."))
        check_listed(lines, shown if needed is None else needed)


def check_lines(folder: Path, lines: Lines) -> None:
    """Raises DamagedError where a listed file is missing or altered. A name that stands there twice may be either: a
    file that is about to be replaced is listed as it was and as it will be."""
    wanted: dict[str, set[str]] = {}
    for found, name in lines:
        wanted.setdefault(name, set()).add(found)
    for name, sums in wanted.items():
        try:
            same = sha256(folder / name) in sums
        except (OSError, ValueError) as e:  # ValueError: a name with a null byte
            raise DamagedError(f"{name}: {getattr(e, 'strerror', None) or e}") from e
        if not same:
            raise DamagedError(f"{name} is not as it was saved")


def check_listed(lines: Lines, names: Iterable[str]) -> None:
    """Raises DamagedError where a name is not in a list, which then has lost a line."""
    listed = {name for _, name in lines}
    lost = next((name for name in names if name not in listed), None)
    if lost is not None:
        raise DamagedError(f"{SUMS} is not whole: it lacks {lost}")


def sha256(file: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal digits. Raises OSError."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
