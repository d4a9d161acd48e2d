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


@dataclass(frozen=True)
class Source:
    """A file to read. address: for `sqlite3.connect(..., uri=True)`; folder: of a temporary copy, to be removed."""

    address: str
    folder: Path | None = None
    still: Path | None = None
    """The file that must not change while it is read, for no lock can be had on it."""

    def stamp(self) -> tuple[int, int]:
        """Time and size of `still`, which a writer changes."""
        found = self.still.stat() if self.still else None
        return (found.st_mtime_ns, found.st_size) if found else (0, 0)

    def remove(self) -> None:
        """Removes the copy."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def source_of(file: Path) -> Source:
    """The way to read a file that may not be written.

    Where a WAL with content lies beside it, the file alone would lack the last batches. It is then read together with
    the WAL where its index can be had; else both are copied.

    Raises:
      UserError: no room for the copy, or a file that may not be read.
    """
    address = _address(file, "mode=ro")
    wal = Path(f"{file}-wal")
    if not wal.is_file() or not wal.stat().st_size:
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
    """A temporary copy of a file, with the WAL beside it.

    Raises:
      UserError: no room for it, or a file that may not be read.
    """
    source = empty_copy()
    assert source.folder
    try:
        for ending in ("", "-wal"):
            if os.path.exists(f"{file}{ending}"):
                shutil.copyfile(f"{file}{ending}", source.folder / f"{_COPY}{ending}")
    except OSError as e:
        source.remove()
        raise UserError(f"{file}: cannot be copied to {source.folder} to be read ({e.strerror or e})") from e
    return source


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


def _address(file: Path, *options: str) -> str:
    return f"file:{quote(os.fsencode(os.path.abspath(file)))}?{'&'.join(options)}"
