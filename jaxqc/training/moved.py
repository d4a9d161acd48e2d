"""Thresholds that were moved after the training or fit: a factor on the folder's own, in a file beside them.

`thresholds.json` is a list. Its last record counts; the earlier ones, and the thresholds of the checkpoint itself, stay
as they are.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxqc.errors import UserError
from jaxqc.training.folder_sums import kept_file

FILE = "thresholds.json"


@dataclass(frozen=True)
class Moved:
    """A factor on the thresholds of a checkpoint with these weights.

    factor: on those of the training or fit. how: origin, in words. weights: their SHA-256.
    more: plain values for people, such as the time, and the thresholds and error rates before.
    """

    factor: float
    how: str
    weights: str
    more: Mapping[str, Any] = field(default_factory=dict)


def moved(folder: str | Path) -> Moved | None:
    """The record that counts; None where the thresholds are those of the training or fit.

    Raises:
      UserError: the file is damaged.

    Examples:
      >>> Path("run").mkdir()
      >>> moved("run")
      >>> keep(Path("run"), Moved(1.5, "people's verdicts", "00"))
      >>> moved("run").factor
      1.5
    """
    found = _records(Path(folder))
    try:
        return Moved(**found[-1]) if found else None
    except TypeError as e:
        raise UserError(f"{Path(folder) / FILE}: damaged ({e}); copy the whole folder again") from e


def keep(folder: Path, record: Moved) -> None:
    """Appends a record and lists the file's new sum. Raises OSError."""
    text = json.dumps([*_records(folder), vars(record)], indent=1, ensure_ascii=False, allow_nan=False)
    with kept_file(folder, FILE) as part:
        part.write_text(text + "\n", "utf-8")


def _records(folder: Path) -> list[dict[str, Any]]:
    file = folder / FILE
    try:
        found = json.loads(file.read_text("utf-8")) if file.is_file() else []
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: damaged ({e}); copy the whole folder again") from e
    if not isinstance(found, list):
        raise UserError(f"{file}: damaged (no list); copy the whole folder again")
    return found
