"""A data set listed by `index.csv`: one row a sample, paths relative to the file.

| column | needed | meaning                                                         |
|--------|--------|-----------------------------------------------------------------|
| id     | yes    | unique name of the sample                                       |
| image  | yes    | path of the image                                               |
| cls    | no     | class name; empty = none known                                  |
| mask   | no     | path of the mask; empty = not labelled, or a normal class       |
| split  | no     | train, val, test or a name of your own                          |
| group  | no     | samples of one object or shot: they belong into the same split; |
|        |        | `piece` is another name of it                                   |
| product| no     | the product shown: a detector's thresholds are each product's   |

Other columns are left alone. Classes that mean free of defects: `jaxqc.data.normals.NAMES`. Paths may also be
absolute, where they lie inside the folder. Separators and encodings: `jaxqc.data.tables.read`.
"""

import difflib
import os
import posixpath
from pathlib import Path

from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.normals import means_normal
from jaxqc.data.pages import file_of
from jaxqc.data.problems import MISSING, Problem, one_line, printable
from jaxqc.data.tables.cells import EMPTY, emptied, local_path, path_hint
from jaxqc.data.tables.read import Row, check_columns, read_table
from jaxqc.errors import UserError

FILE = "index.csv"
REQUIRED = ("id", "image")
OPTIONAL = ("cls", "mask", "split", "group", "product")
ALIASES = {"piece": "group"}
FILES = ("image", "mask")
COLUMNS = "id,cls,image,mask,split"
SPLITS = ("train", "val", "test")


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """Reads the index of the folder `path`. Returns the usable rows, and what is wrong with the others.

    A row whose files are absent stays in beside its problem, so that later stages can name it; a row that is malformed,
    repeats an id or points outside the folder is left out. Classes are the names in use, sorted.

    Raises:
      UserError: the file cannot be read as CSV, lacks a column, or holds no rows.
    """
    file = path / FILE
    rows, notes = _rows(file)
    problems = [Problem(FILE, "table", note, "warning") for note in notes]
    seen: dict[str, str] = {}
    kept: list[dict[str, str]] = []
    for found, row in rows:
        row |= {column: _from_folder(path, local_path(path, row[column])) for column in FILES}
        row |= {column: one_line(row[column]) for column in ("id", "cls", "split", "group", "product")}
        problem = _check_row(path, file, found, row, seen)
        if problem is not None:
            problems.append(problem)
        if problem is None or problem.kind in MISSING.values():
            seen[row["id"]] = found.where
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
            product=row["product"],
            normal=means_normal(row["cls"]),
        )
        for row in kept
    )
    return Dataset(printable(path.resolve().name), classes, samples), problems


def _rows(file: Path) -> tuple[list[tuple[Row, dict[str, str]]], tuple[str, ...]]:
    """The rows with their known columns, and notes on the table."""
    known = (*REQUIRED, *OPTIONAL)
    table = read_table(file, known, ALIASES)
    check_columns(table, REQUIRED, COLUMNS.split(","))
    # A misspelt optional column would silently train without masks or classes.
    for column in {*table.header} - {*known}:
        meant = difflib.get_close_matches(column.lower(), OPTIONAL[:-1], n=1, cutoff=0.7)
        if meant and meant[0] not in table.header:
            raise UserError(f"{table.name}: unknown column {column!r} (did you mean {meant[0]!r}?); rename it")
    if not table.rows:
        raise UserError(f"{table.name}: no rows below the header; add one line a sample")
    # A class may be called none: it is one of the names of good images.
    table = emptied(emptied(table, ("mask", "split", "group", "product")), ("cls",), EMPTY - {"none"})
    rows = [(row, dict.fromkeys(known, "") | {k: v for k, v in cells.items() if k in known})
            for row, cells in table.records()]  # fmt: skip
    return rows, table.notes


def _from_folder(folder: Path, value: str) -> str:
    """An absolute path that lies inside the folder, relative to it; any other path as it is."""
    if not posixpath.isabs(value):
        return value
    behind = os.path.join(os.path.realpath(os.path.dirname(value)), os.path.basename(value))  # links in its folders
    for file, root in ((value, os.path.abspath(folder)), (behind, os.path.realpath(folder))):
        inside = os.path.relpath(file, root)
        if inside.split(os.sep)[0] != os.pardir:
            return inside
    return value


def _check_row(path: Path, file: Path, found: Row, row: dict[str, str], seen: dict[str, str]) -> Problem | None:
    """The row's first problem."""
    ident = printable(row["id"])
    where = f"{printable(file)}: {found.where} (id {row['id']!r})"

    def problem(kind: str, message: str) -> Problem:
        return Problem(ident or f"{FILE}: {found.where}", kind, f"{where}: {message}")

    if found.fault:
        return problem("malformed-row", found.fault)
    for column, value in row.items():
        if printable(value) != value:
            return problem("malformed-row", f"control characters in column {column!r}; remove them")
    for column in REQUIRED:
        if not row[column]:
            return problem("malformed-row", f"column {column!r} is empty; fill it")
    if row["id"] in seen:
        return problem("duplicate-id", f"the id already stands on {seen[row['id']]}; ids must be unique")
    split = row["split"]
    meant = difflib.get_close_matches(split.lower(), SPLITS, n=1, cutoff=0.7) if split.isalpha() else []
    if meant and split not in SPLITS:
        return problem("unknown-split", f"unknown split {split!r} (did you mean {meant[0]!r}?); rename it")
    for column in FILES:
        value = row[column]
        if posixpath.isabs(value) or posixpath.normpath(value).split("/")[0] == "..":
            return problem("outside", f"{column} {value!r} points outside the folder; use a path relative to {FILE}")
    for column in FILES:
        if row[column] and not os.path.isfile(file_of(path / row[column])):
            return problem(
                MISSING[column],
                f"{column}: no such file {printable(path / row[column])}{path_hint(row[column], path / row[column])}",
            )
    return None
