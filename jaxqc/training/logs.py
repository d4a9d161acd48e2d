"""The run's records: metrics.jsonl (all of it), log.csv (the same as a table) and TensorBoard events under tb/."""

import contextlib
import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, TypedDict

from jaxqc.atomic import write_text
from jaxqc.data.problems import printable
from jaxqc.data.tables.write import write_table
from jaxqc.errors import UserError
from jaxqc.training.folder_sums import close_sums, open_sums

WALL_FIELDS = ("images_per_second", "model_tflops", "mfu", "seconds")
"""Fields of the machine's pace; everything else is equal in a resumed and an uninterrupted run."""


class Mark(TypedDict):
    """Length and SHA-256 of metrics.jsonl when a checkpoint was saved, which keeps them."""

    bytes: int
    sha256: str


class RunLog:
    """Appends rows `{"kind": "train" | "eval", "step": int, "epoch": float, ...}`.

    Opening cuts the records back to rows with `step <= start`: what an ended run had logged beyond its last checkpoint
    is computed, and logged, again. `notes`: lines worth showing of what was found there.

    Raises:
      UserError: the rows up to there are not those that the checkpoint's `mark` stands for; or they cannot be written.
    """

    def __init__(self, folder: Path, start: int = 0, mark: Mark | None = None) -> None:
        from jaxqc.training.tensorboard import Board  # TensorBoard's file format only where a run writes it

        self.jsonl, self.csv = folder / "metrics.jsonl", folder / "log.csv"
        self.notes: list[str] = []
        if start and not self.jsonl.is_file():
            self.notes.append(f"{printable(self.jsonl)}: absent; the rows up to step {start} are not there any more")
        kept_bytes = None if mark is None else _check_mark(self.jsonl, mark, start)
        self.rows = [row for row in read_rows(self.jsonl, kept_bytes) if row["step"] <= start] if start else []
        kept = "".join(json.dumps(row) + "\n" for row in self.rows)
        self._bytes, self._sum = len(kept.encode()), hashlib.sha256(kept.encode())
        try:
            folder.mkdir(parents=True, exist_ok=True)
            open_sums(folder)
            write_text(self.jsonl, kept)
            self._file = self.jsonl.open("a", encoding="utf-8")
            self._board = Board(folder / "tb", start)
        except OSError as e:
            raise UserError(f"{folder}: cannot write the run's records ({e.strerror or e})") from e

    def write(self, row: dict[str, Any]) -> None:
        """Adds a row to metrics.jsonl and to TensorBoard (`train/NAME`, `eval/NAME`)."""
        self.rows.append(row)
        scalars = {k: v for k, v in row.items() if k not in ("kind", "step") and isinstance(v, int | float)}
        line = json.dumps(row) + "\n"
        self._bytes += len(line.encode())
        self._sum.update(line.encode())
        try:
            self._file.write(line)
            self._board.scalars({f"{row['kind']}/{name}": value for name, value in scalars.items()}, row["step"])
        except OSError as e:
            raise self._failed(e) from e

    def sync(self) -> None:
        """Puts metrics.jsonl safely on disk and writes log.csv; called before each checkpoint, so that no checkpoint
        knows more than the records."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._board.flush()
            self._write_csv()
        except OSError as e:
            raise self._failed(e) from e

    def mark(self) -> Mark:
        """The rows so far, for a checkpoint to keep."""
        return {"bytes": self._bytes, "sha256": self._sum.hexdigest()}

    def _failed(self, error: OSError) -> UserError:
        return UserError(f"{self.jsonl}: cannot write the run's records ({error.strerror or error}); make room there")

    def close(self) -> None:
        """Writes what is pending, closes the files and lists their sums."""
        try:
            self.sync()
        finally:
            with contextlib.suppress(OSError):  # reported already, by `write` or `sync`
                self._board.close()
            with contextlib.suppress(OSError):
                self._file.close()
        try:
            close_sums(self.jsonl.parent)
        except OSError as e:
            raise self._failed(e) from e

    def _write_csv(self) -> None:
        columns = list(dict.fromkeys(name for row in self.rows for name in row))
        write_table(self.csv, columns, self.rows, newline="\n")


def average(logs: dict[str, list[float]]) -> dict[str, Any]:
    """Logs of consecutive steps → one line's values: means over the steps that were applied (None where there are
    none), the last learning rate, and the number of steps `skipped` by the NaN guard."""
    good = [i for i, bad in enumerate(logs["bad"]) if bad == 0]
    means = {k: math.fsum(v[i] for i in good) / len(good) if good else None for k, v in logs.items() if k != "bad"}
    return {**means, "lr": logs["lr"][-1], "skipped": len(logs["bad"]) - len(good)}


def read_rows(path: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; [] where it is absent. A last line torn by a crash is left out.

    most: bytes of the file to read; None takes all.

    Raises:
      UserError: it cannot be read, or a line before the last is no row.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes()[:most].split(b"\n")
    except OSError as e:
        raise UserError(f"{printable(path)}: cannot be read ({e.strerror or e})") from e
    rows = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line.decode())
            rows.append(row | {"step": int(row["step"])})
        except (ValueError, TypeError, KeyError, RecursionError) as e:
            if number < len(lines):
                at = f"{printable(path)}: line {number}"
                raise UserError(f"{at} is no row of JSON with a step; repair it or start in another folder") from e
    return rows


def _check_mark(file: Path, mark: Mark, start: int) -> int:
    """The bytes that a mark stands for. Raises UserError where a file of rows does not begin with them."""
    try:
        kept = file.read_bytes()[: mark["bytes"]] if file.is_file() else None
    except OSError as e:
        raise UserError(f"{printable(file)}: cannot be read ({e.strerror or e})") from e
    if kept is not None and hashlib.sha256(kept).hexdigest() != mark["sha256"]:
        advice = "restore it from a copy, or remove it to go on without the rows up to there"
        raise UserError(f"{printable(file)}: damaged (not as it was at step {start}); {advice}")
    return mark["bytes"]


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Adds a finished piece of work to a file of rows, after a line that a crash may have torn.

    Raises:
      UserError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = path.exists() and not path.read_bytes().endswith(b"\n")
        with open(path, "a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(row) + "\n")
    except OSError as e:
        raise UserError(f"{path}: cannot be written ({e.strerror or e}); choose another --out") from e


def finished_rows(path: Path) -> list[dict[str, Any]]:
    """The rows that `append_row` wrote; torn lines do not count, and [] where there is no file.

    Raises:
      UserError: it cannot be read.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as e:
        raise UserError(f"{path}: cannot be read ({e}); move it away, or choose another --out") from e
    rows = []
    for line in lines:
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict)]
