"""A data set listed by `index.csv`: one row a sample, paths relative to the file.

| column | needed | meaning                                                         |
|--------|--------|-----------------------------------------------------------------|
| id     | yes    | unique name of the sample                                       |
| image  | yes    | path of the image                                               |
| cls    | no     | class name; empty = none known                                  |
| mask   | no     | path of the mask; empty = not labelled, or a normal class       |
| split  | no     | train, val, test or a name of your own                          |
| group  | no     | samples of one object or shot: they belong into the same split  |

Other columns are left alone. Classes that mean free of defects: `jaxqc.data.normals.NAMES`. UTF-8 (a byte-order mark is
allowed), commas, one header line.
"""

import difflib
import os
import posixpath
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.normals import means_normal
from jaxqc.data.problems import Problem, one_line, printable
from jaxqc.data.readers.table import check_columns, read_csv, short_or_long
from jaxqc.errors import UserError

FILE = "index.csv"
REQUIRED = ("id", "image")
OPTIONAL = ("cls", "mask", "split", "group")
COLUMNS = "id,cls,image,mask,split"
SPLITS = ("train", "val", "test")


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Reads the index of the folder `path`. Returns the usable rows, and what is wrong with the others.

    A row whose files are absent stays in beside its problem, so that later stages can name it; a row that is malformed,
    repeats an id or points outside the folder is left out. Classes are the names in use, sorted.

    Raises:
      UserError: the file cannot be read as UTF-8 CSV, lacks a column, or holds no rows.
    """
    file = path / FILE
    rows = _rows(file)
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    kept: list[dict[str, str]] = []
    for line, row in rows:
        problem = _check_row(path, file, line, row, seen)
        if problem is not None:
            problems.append(problem)
        if problem is None or problem.kind == "missing-file":
            seen[row["id"]] = line
            kept.append(row)
    classes = tuple(sorted({row["cls"] for row in kept} - {""}))
    number = {name: i for i, name in enumerate(classes)} | {"": -1}
    samples = tuple(
        Sample(
            id=row["id"],
            image=path / row["image"],
            mask=path / row["mask"] if row["mask"] else None,
            label=number[row["cls"]],
            split=row["split"],
            group=row["group"],
            normal=means_normal(row["cls"]),
        )
        for row in kept
    )
    return Dataset(printable(path.resolve().name), classes, samples), problems


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, the known columns, stripped); a row with too few or too many cells has the key `error`."""
    name, known = printable(file), (*REQUIRED, *OPTIONAL)
    header, lines = read_csv(file, COLUMNS)
    check_columns(name, header, REQUIRED, known, COLUMNS)
    # A misspelt optional column would silently train without masks or classes.
    for column in set(header) - {*known}:
        meant = difflib.get_close_matches(column.lower(), OPTIONAL, n=1, cutoff=0.7)
        if meant and meant[0] not in header:
            raise UserError(f"{name}: unknown column {column!r} (did you mean {meant[0]!r}?); rename it")
    out: list[tuple[int, dict[str, str]]] = []
    for line, cells in lines:
        row = dict.fromkeys(known, "") | {h: c for h, c in zip(header, cells, strict=False) if h in known}
        row |= {name: one_line(row[name]) for name in ("id", "cls", "split", "group")}
        wrong = short_or_long(cells, header)
        out.append((line, row | {"error": wrong} if wrong else row))
    if not out:
        raise UserError(f"{name}: no rows below the header; add one line a sample")
    return out


def _check_row(path: Path, file: Path, line: int, row: dict[str, str], seen: dict[str, int]) -> Problem | None:
    """The row's first problem."""
    ident = printable(row["id"])
    where = f"{printable(file)}: line {line} (id {row['id']!r})"

    def problem(kind: str, message: str) -> Problem:
        return Problem(ident or f"{FILE}:{line}", kind, f"{where}: {message}")

    if "error" in row:
        return problem("malformed-row", row["error"])
    for column, value in row.items():
        if printable(value) != value:
            return problem("malformed-row", f"control characters in column {column!r}; remove them")
    for column in REQUIRED:
        if not row[column]:
            return problem("malformed-row", f"column {column!r} is empty; fill it")
    if row["id"] in seen:
        return problem("duplicate-id", f"the id already stands on line {seen[row['id']]}; ids must be unique")
    split = row["split"]
    meant = difflib.get_close_matches(split.lower(), SPLITS, n=1, cutoff=0.7) if split.isalpha() else []
    if meant and split not in SPLITS:
        return problem("unknown-split", f"unknown split {split!r} (did you mean {meant[0]!r}?); rename it")
    for column in ("image", "mask"):
        value = row[column]
        if posixpath.isabs(value) or posixpath.normpath(value).split("/")[0] == "..":
            return problem("outside", f"{column} {value!r} points outside the folder; use a path relative to {FILE}")
    for column in ("image", "mask"):
        if row[column] and not os.path.isfile(path / row[column]):
            return problem("missing-file", f"{column}: no such file {printable(path / row[column])}")
    return None
