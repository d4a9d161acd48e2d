"""SHA256SUMS of a folder, in the format of sha256sum: whether its files are still those that were written."""

import hashlib
from pathlib import Path

from jaxqc.atomic import write_text

SUMS = "SHA256SUMS"


class DamagedError(Exception):
    """A checkpoint that is incomplete or whose bytes are not those that were saved."""


def write_sums(folder: Path) -> None:
    """Lists every file below `folder` with its sum; the list appears whole or not at all."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != SUMS)
    write_text(folder / SUMS, "".join(f"{_sha256(f)}  {f.relative_to(folder).as_posix()}\n" for f in files))


def check_sums(folder: Path) -> None:
    """Raises DamagedError where a listed file is missing or altered. Without a list there is nothing to check: a run
    may have been killed in the instant between a checkpoint's commit and its list."""
    if not (folder / SUMS).is_file():
        return
    try:
        for line in (folder / SUMS).read_text(encoding="utf-8").splitlines():
            wanted, name = line.split("  ", 1)
            if _sha256(folder / name) != wanted:
                raise DamagedError(f"{name} is not as it was saved")
    except (OSError, ValueError) as e:
        raise DamagedError(" ".join(str(e).split())) from e


def _sha256(file: Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
