"""VisA as published: `<object>/Data/Images/{Normal,Anomaly}`, `<object>/Data/Masks/Anomaly`, split by a CSV file.

`split_csv/1cls.csv` beside the object's folder says which images train and which test: columns
`object,split,label,image,mask`, paths relative to the CSV's parent folder. Mask values count the kinds of defects on
the image: all but 0 are defect.

Y. Zou et al., "SPot-the-Difference self-supervised pre-training for anomaly detection and segmentation", ECCV 2022; 12
objects.
"""

import os
import posixpath
from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import NORMAL, means_normal
from jaxqc.data.problems import MISSING, Problem, printable
from jaxqc.data.readers.matching import Gathering
from jaxqc.data.tables.read import Row, check_columns, read_table
from jaxqc.errors import UserError

CSV = "split_csv/1cls.csv"
COLUMNS = ("object", "split", "label", "image", "mask")


def is_visa(path: Path) -> bool:
    """True where the folder is one object of VisA."""
    return (path / "Data" / "Images" / "Normal").is_dir()


def scan(path: Path) -> tuple[Dataset, list[Problem]]:
    """The rows of the object `path`. Classes: `good` and the CSV's own names (`anomaly`).

    A sample whose files are absent stays in beside its problem; a malformed row is left out.

    Raises:
      UserError: the CSV is absent, cannot be read, lacks a column, or has no row of this object.
    """
    path = Path(os.path.abspath(path))
    file = path.parent / CSV
    found = Gathering(path)
    for read, row in _rows(file):
        if row["object"] == path.name:
            _add(found, file, read, row)
    if not found.problems and not found:
        raise UserError(f"{printable(file)}: no row of the object {path.name!r}; give one of its objects' folders")
    return found.finish()


def _add(found: Gathering, file: Path, read: Row, row: dict[str, str]) -> None:
    root, where = found.root.parent, f"{printable(file)}: {read.where}"

    def problem(kind: str, message: str) -> None:
        found.problems.append(Problem(f"{CSV}: {read.where}", kind, f"{where}: {message}"))

    if read.fault:
        return problem("malformed-row", read.fault)
    for column in ("image", "mask"):
        value = row[column]
        if value and not posixpath.normpath(value).startswith(f"{found.root.name}/"):
            return problem("outside", f"{column} {value!r} lies outside the object's folder; use OBJECT/Data/...")
    if not row["image"] or not row["label"] or row["split"] not in ("train", "test"):
        return problem("malformed-row", f"needs an image, a label and the split train or test, not {row['split']!r}")
    normal, image = means_normal(row["label"]), root / row["image"]
    ident = f"{image.parent.name}/{image.stem}"
    masks = [root / row["mask"]] if row["mask"] and not normal else []
    for column, absent in (("image", image), *(("mask", mask) for mask in masks)):
        if not absent.is_file():
            message = f"{where}: {column}: no such file {printable(absent)}; add it or remove the row"
            found.problems.append(Problem(printable(ident), MISSING[column], message))
    kind = NORMAL if normal else printable(row["label"])
    found.add(ident, image, kind, row["split"], masks, f"Data/Masks/Anomaly/{image.stem}.png", nonzero=True)
    return None


def _rows(file: Path) -> list[tuple[Row, dict[str, str]]]:
    """(row, its five columns)."""
    if not file.is_file():
        raise UserError(f"{printable(file)}: no such file; it lies beside the objects' folders where VisA is unpacked")
    table = read_table(file, COLUMNS)
    check_columns(table, COLUMNS, COLUMNS)
    return [(row, dict.fromkeys(COLUMNS, "") | cells) for row, cells in table.records()]
