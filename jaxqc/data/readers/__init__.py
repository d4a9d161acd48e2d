"""Readers: one file a data-set layout, each giving an index of samples with nothing decoded.

A new one is a file and a line of `READERS`; outside of this package it is an entry point of the group `jaxqc.readers`,
or a `Reader` in a recipe (docs/develop/add_a_reader.md).
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jaxqc import plugins
from jaxqc.data.dataset import Dataset
from jaxqc.data.normals import SHOWN
from jaxqc.data.problems import Problem, lines, printable, refuse
from jaxqc.data.readers import (
    aitex,
    fabric,
    folder,
    index_csv,
    kolektor,
    magnetic_tile,
    mvtec,
    nanotwice,
    products,
    rsdds,
    sd900,
    visa,
)
from jaxqc.data.walk import folders
from jaxqc.errors import UserError, suggest


class Reader(NamedTuple):
    """One layout."""

    known: Callable[[Path], bool]
    """True where a folder has this layout; reads names only."""
    scan: Callable[[Path], tuple[Dataset, list[Problem]]]
    """The index, and what is wrong with single samples."""
    expected: str
    """The contents of such a folder, for messages."""
    guessed: Callable[[Path], bool] | bool = True
    """The test by which layout `auto` takes a folder: True = where `known`, False = never, or a stricter test."""
    advised: bool = False
    """True where messages name it to somebody with images of their own."""


READERS: dict[str, Reader] = {
    "index": Reader(
        lambda path: (path / index_csv.FILE).is_file(),
        index_csv.scan,
        f"{index_csv.FILE} with the columns {index_csv.COLUMNS}",
        advised=True,
    ),
    "sd900": Reader(
        lambda path: sd900.folders(path) is not None,
        sd900.scan,
        f"the folders '{sd900.IMAGES}' and '{sd900.MASKS}'",
        advised=True,
    ),
    "loco": Reader(mvtec.is_loco, mvtec.scan_loco, "train/good, validation/good, test/KIND, ground_truth/KIND/NNN"),
    "btad": Reader(mvtec.is_btad, mvtec.scan, "train/ok, test/ok, test/ko, ground_truth/ko"),
    "mvtec": Reader(mvtec.is_mvtec, mvtec.scan, "train/good, test/KIND, ground_truth/KIND"),
    "textured": Reader(mvtec.is_mvtec, mvtec.scan, "train/good, test/KIND, ground_truth/KIND", False),
    "products": Reader(products.is_products, products.scan, "a folder a product, each with train/good", False),
    "visa": Reader(visa.is_visa, visa.scan, f"Data/Images/Normal, and ../{visa.CSV}"),
    "ksdd": Reader(kolektor.is_ksdd, kolektor.scan_ksdd, "kosNN/PartN.jpg and kosNN/PartN_label.bmp"),
    "ksdd2": Reader(kolektor.is_ksdd2, kolektor.scan_ksdd2, "train/ and test/ with NNNNN.png and NNNNN_GT.png"),
    "mt": Reader(magnetic_tile.is_mt, magnetic_tile.scan, "MT_CLASS/Imgs"),
    "rsdds": Reader(rsdds.has_truth, rsdds.scan, f"the folders '{rsdds.IMAGES}' and '{rsdds.TRUTH}'", rsdds.is_rsdds),
    "aitex": Reader(aitex.is_aitex, aitex.scan, f"{aitex.IMAGES}, {aitex.MASKS}, {aitex.NORMALS}/FABRIC"),
    "nanotwice": Reader(nanotwice.is_nanotwice, nanotwice.scan, "Normal, Anomalous/images, Anomalous/gt"),
    "fabric": Reader(fabric.is_fabric, fabric.scan, "defect-free (or good), a folder a KIND, ground_truth/KIND"),
}
"""By layout, in the order in which `auto` tries them."""
LAYOUTS = ("auto", "folder", *READERS)
TFDS_FILE = "dataset_info.json"
"""A file that every prepared TFDS set has."""


def reader_of(layout: str | Reader) -> Reader:
    """The reader of a layout's name, or of an installed package.

    Raises:
      UserError: no such layout (with the nearest name), or its package is missing, not registered or broken.
    """
    if isinstance(layout, Reader):
        return layout
    if not isinstance(layout, str):
        raise UserError(f"layout: {layout!r} is neither a layout's name nor a jaxqc.data.readers.Reader")
    return plugins.resolve("readers", layout, READERS, field="layout", want=Reader)


def layout_name(layout: str | Reader) -> str:
    """A layout as a run folder stores it. Raises UserError for a reader without a name (`jaxqc.plugins.origin`)."""
    return plugins.origin("readers", layout, READERS)


def open_dataset(path: str | Path, layout: str | Reader = "auto") -> Dataset:
    """Opens a data set on disk; reads no images (of KolektorSDD and KolektorSDD2 the masks, which give the classes).

    Args:
      path: the data set's folder (layout `folder`: also a single image); of a set with categories, one category's.
      layout: `sd900` = `Source Images/` and `Ground truth/`, class from the file name; `index` = `index.csv`;
        `folder` = images alone, for prediction; the other names of `READERS` = published anomaly-detection sets, each
        described in its reader's file; `auto` decides by the names of folders and files.

    Raises:
      UserError: no such folder, no known layout in it, or anything wrong with its index.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> open_dataset(write_mvtec("wood", normals=1, defects=1, size=32), "mvtec").classes
      ('good', 'color')
    """
    dataset, problems = scan_dataset(path, layout)
    refuse(problems, printable(path))
    return dataclasses.replace(dataset, warnings=lines(problems))


def scan_dataset(path: str | Path, layout: str | Reader = "auto", plain: bool = False) -> tuple[Dataset, list[Problem]]:
    """As `open_dataset`, but gives the problems of single samples back instead of refusing.

    plain: let `auto` take a folder of images without any other folder as layout `folder`.

    Raises:
      UserError: no such folder, no known layout in it, or an index that cannot be read at all.
    """
    path = Path(path)
    reader = None if layout in ("auto", "folder") else reader_of(layout)
    try:
        if layout == "auto" and plain and _is_plain(path):
            dataset, problems = scan_dataset(path, "folder")
            message = f"{len(dataset)} images without masks and classes: fit takes all as normal, training refuses them"
            return dataset, [*problems, Problem(printable(path), "images-alone", message, "warning")]
        if layout == "folder":
            if not path.exists():
                raise UserError(f"{printable(path)}: no such file or folder{_near(path)}")
            return folder.scan(path)
        if not path.is_dir():
            what = "not a folder" if path.exists() else "no such folder"
            raise UserError(f"{printable(path)}: {what}{_near(path)}; give the data set's folder")
        reader = reader or READERS[_detect(path, plain)]
        if not reader.known(path):
            _refuse_above(path, reader.known)
            named = f" (layout {layout})" if isinstance(layout, str) else ""
            raise UserError(f"{printable(path)}: expected {reader.expected}{named}")
        dataset, problems = reader.scan(path)
        return dataset, [*problems, *folder.unused(path, dataset, problems)]
    except OSError as e:
        raise UserError(f"{printable(e.filename or path)}: cannot be read ({e.strerror or e})") from e


def _detect(path: Path, plain: bool) -> str:
    layout = _known(path)
    if layout:
        return layout
    name = printable(path)
    expected = " or ".join(f"{r.expected} (layout {x})" for x, r in READERS.items() if r.advised)
    entries = sorted(path.iterdir())
    _refuse_above(path, lambda below: bool(_known(below)) or (below / TFDS_FILE).is_file())
    if not entries:
        raise UserError(f"{name}: empty folder; give one with {expected}")
    if folder.image_files(path):
        if plain:
            raise UserError(
                f"{name}: images here and in folders below; give a folder of good images alone, or take all of them as"
                " good by layout folder"
            )
        raise UserError(
            f"{name}: images without masks: good for fit, predict and inspect (layout folder);"
            f" to train or measure, give a folder with {expected}"
        )
    train = folders(path / "train") if (path / "train").is_dir() else []
    if train or any(folder.image_files(p) for p in folders(path)):
        names = ", ".join(printable(p.name) for p in (train or folders(path))[:6])
        raise UserError(
            f"{name}{'/train' if train else ''}: of its folders ({names}) none is named as good images are ({SHOWN});"
            f" rename that folder, or take all images below as they are by layout folder; or expected {expected}"
        )
    holds = ", ".join(printable(p.name) for p in entries[:4]) + (", ..." if len(entries) > 4 else "")
    raise UserError(
        f"{name}: no data set known here (holds {holds}); expected {expected}, or a published layout"
        f" ({', '.join(x for x in plugins.names('readers', READERS) if x not in READERS or not READERS[x].advised)})"
    )


def _known(path: Path) -> str:
    """The layout that `auto` takes the folder to have; "" for none."""
    return next((name for name, reader in READERS.items() if _guessed(reader, path)), "")


def _guessed(reader: Reader, path: Path) -> bool:
    return reader.guessed(path) if callable(reader.guessed) else reader.guessed and reader.known(path)


def _is_plain(path: Path) -> bool:
    """True where a folder of no known layout holds images, and no folder in it does."""
    if not path.is_dir() or _known(path) or not (here := folder.image_files(path)):
        return False
    return len(folder.image_files(path, recursive=True)) == len(here)


def _refuse_above(path: Path, known: Callable[[Path], bool]) -> None:
    """Raises where data sets lie one or two levels down: a folder above the one meant, or a set with categories."""
    inside = folders(path)
    for level, places in (("one level", inside), ("two levels", [p for place in inside for p in folders(place)])):
        below = [p for p in places if known(p)]
        if len(below) == 1:
            raise UserError(f"{printable(path)}: no data set here, but {level} down; give {printable(below[0])}")
        if below:
            names = ", ".join(printable(p.relative_to(path)) for p in below)
            raise UserError(
                f"{printable(path)}: {len(below)} data sets {level} down, each to be opened by itself: {names};"
                f" give one, as {printable(below[0])}"
                + (", or fit one detector to all by layout products" if products.is_products(path) else "")
            )


def _near(path: Path) -> str:
    """A suggestion from the parent folder, where one is close."""
    try:
        hint = suggest(path.name, [p.name for p in path.parent.iterdir()])
    except OSError:
        return ""
    return printable(hint) if "did you mean" in hint else ""
