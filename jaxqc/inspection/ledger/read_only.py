"""SQLite files that may not be written (an archive, a snapshot, a mount): how to read them all the same."""

import os
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from jaxqc.errors import UserError

_COPY = "copy.sqlite"
_TRIES = 5
"""Copies that are begun of a file which another process writes."""


@dataclass(frozen=True)
class Source:
    """A file to read. address: for `sqlite3.connect(..., uri=True)`; folder: of a temporary copy, to be removed."""

    address: str
    folder: Path | None = None
    still: Path | None = None
    """The file that must not change while it is read, for no lock can be had on it."""

    def stamp(self) -> tuple[int, int]:
        """Time and size of `still`, which a writer changes."""
        return _stamp(self.still) if self.still else (0, 0)

    def remove(self) -> None:
        """Removes the copy."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def source_of(file: Path) -> Source:
    """The way to read a file that may not be written.

    Where a WAL with content lies beside it, the file alone would lack the last batches. It is then read together with
    the WAL where its index can be had; else both are copied. The same goes for a journal, which a crash left.

    Raises:
      UserError: no room for the copy, or a file that may not be read.
    """
    address = _address(file, "mode=ro")
    if not any(path.is_file() and path.stat().st_size for path in _beside(file)):
        return Source(_address(file, "mode=ro", "immutable=1"), still=file)
    try:
        connection = sqlite3.connect(address, uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master")
        finally:
            connection.close()
        return Source(address)
    except sqlite3.OperationalError:
        return copy_of(file)


def copy_of(file: Path) -> Source:
    """A temporary copy of a file, with the WAL or journal beside it.

    Raises:
      UserError: no room for it, a file that may not be read, or one that is written all the time.
    """
    for _ in range(_TRIES):
        source = empty_copy()
        assert source.folder
        try:
            before = _stamp(file)
            shutil.copyfile(file, source.folder / _COPY)
            for path in filter(Path.is_file, _beside(file)):
                shutil.copyfile(path, source.folder / path.name.replace(file.name, _COPY, 1))
            # A WAL may grow meanwhile. What was moved out of it into the file would be in neither copy.
            if _stamp(file) == before:
                return source
        except OSError as e:
            source.remove()
            raise UserError(f"{file}: cannot be copied to {source.folder} to be read ({e.strerror or e})") from e
        source.remove()
    raise UserError(f"{file}: was written whenever it was copied to be read; try again when its writer has ended")


def empty_copy() -> Source:
    """A temporary file that a copy can be written into.

    Raises:
      UserError: no temporary folder can be made.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="jaxqc-ledger-"))
    except OSError as e:
        raise UserError(f"{tempfile.gettempdir()}: no temporary folder can be made ({e.strerror or e})") from e
    return Source(_address(folder / _COPY), folder)


def _stamp(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_mtime_ns, found.st_size


def _beside(file: Path) -> list[Path]:
    """The files in which SQLite keeps what has not reached a file, or must leave it."""
    return [Path(f"{file}{ending}") for ending in ("-wal", "-journal")]


def _address(file: Path, *options: str) -> str:
    return f"file:{quote(os.fsencode(os.path.abspath(file)))}?{'&'.join(options)}"
