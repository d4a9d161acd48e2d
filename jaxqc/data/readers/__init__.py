"""Readers: one file a data-set layout, each giving an index of samples with nothing decoded."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, printable, refuse
from jaxqc.data.readers import folder, index_csv, sd900
from jaxqc.errors import UserError, suggest

LAYOUTS = ("auto", "sd900", "index", "folder")


def open_dataset(path: str | Path, layout: str = "auto") -> Dataset:
    """Opens a data set on disk; reads no pixels.

    Args:
      path: the data set's folder (layout `folder`: also a single image).
      layout: `sd900` = `Source Images/` and `Ground truth/`, class from the file name; `index` = `index.csv`;
        `folder` = images alone, for prediction; `auto` = `index` where there is an `index.csv`, else `sd900`.

    Raises:
      UserError: no such folder, no known layout in it, or anything wrong with its index.
    """
    dataset, problems = scan_dataset(path, layout)
    refuse(problems, printable(path))
    return dataset


def scan_dataset(path: str | Path, layout: str = "auto") -> tuple[Dataset, list[Problem]]:
    """As `open_dataset`, but gives the problems of single samples back instead of refusing.

    Raises:
      UserError: no such folder, no known layout in it, or an index that cannot be read at all.
    """
    path = Path(path)
    if layout not in LAYOUTS:
        raise UserError(f"layout: unknown {layout!r}{suggest(layout, LAYOUTS)}")
    try:
        if layout == "folder":
            if not path.exists():
                raise UserError(f"{printable(path)}: no such file or folder{_near(path)}")
            return folder.scan(path), []
        if not path.is_dir():
            what = "not a folder" if path.exists() else "no such folder"
            raise UserError(f"{printable(path)}: {what}{_near(path)}; give the data set's folder")
        if layout == "auto":
            layout = _detect(path)
        if layout == "index" and not (path / index_csv.FILE).is_file():
            raise UserError(f"{printable(path)}: no {index_csv.FILE} (layout index); expected id,cls,image,mask,split")
        return index_csv.scan(path) if layout == "index" else sd900.scan(path)
    except OSError as e:
        raise UserError(f"{printable(e.filename or path)}: cannot be read ({e.strerror or e})") from e


def align_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The same samples with their labels numbered by `classes` (a checkpoint's), matched by name.

    Raises:
      UserError: the data set has a class that `classes` lacks.
    """
    for name in dataset.classes:
        if name not in classes and any(s.label >= 0 and dataset.classes[s.label] == name for s in dataset.samples):
            raise UserError(f"{dataset.name}: class {name!r} is unknown to the model{suggest(name, classes)}")
    number = [classes.index(name) if name in classes else -1 for name in dataset.classes]
    samples = tuple(dataclasses.replace(s, label=number[s.label] if s.label >= 0 else -1) for s in dataset.samples)
    return dataclasses.replace(dataset, classes=tuple(classes), samples=samples)


def _detect(path: Path) -> str:
    if _known(path):
        return "index" if (path / index_csv.FILE).is_file() else "sd900"
    name = printable(path)
    expected = f"'{sd900.IMAGES}/' and '{sd900.MASKS}/' (layout sd900) or {index_csv.FILE} (layout index)"
    entries = sorted(path.iterdir())
    below = [p for p in entries if p.is_dir() and _known(p)]
    if below:
        raise UserError(f"{name}: no data set here, but one level down; give {printable(below[0])}")
    if not entries:
        raise UserError(f"{name}: empty folder; give one with {expected}")
    if folder.image_files(path):
        raise UserError(
            f"{name}: images without masks: good for predict only (layout folder);"
            f" to train, give a folder with {expected}"
        )
    holds = ", ".join(printable(p.name) for p in entries[:4]) + (", ..." if len(entries) > 4 else "")
    raise UserError(f"{name}: no data set known here (holds {holds}); expected {expected}")


def _known(path: Path) -> bool:
    return (path / index_csv.FILE).is_file() or sd900.folders(path) is not None


def _near(path: Path) -> str:
    """A suggestion from the parent folder, where one is close."""
    try:
        hint = suggest(path.name, [p.name for p in path.parent.iterdir()])
    except OSError:
        return ""
    return printable(hint) if "did you mean" in hint else ""
