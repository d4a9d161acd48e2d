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
from jaxqc.data.pages import in_pages
from jaxqc.data.problems import Problem, lines, printable, refuse
from jaxqc.data.readers import (
    aitex,
    classes,
    coco,
    cvat,
    fabric,
    folder,
    hugging_face,
    index_csv,
    kolektor,
    label_studio,
    labelme,
    magnetic_tile,
    mvtec,
    nanotwice,
    pairs,
    products,
    rsdds,
    sd900,
    supervisely,
    visa,
    voc,
    webdataset,
    yolo,
)
from jaxqc.data.readers.seen import TFDS_FILE as TFDS_FILE
from jaxqc.data.readers.seen import detect, known, refuse_above
from jaxqc.data.reading import AS_IT_IS, Reading, understood
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
    advised: str = ""
    """The words by which messages offer it to somebody with images of their own; "" = they do not."""
    judged: bool = False
    """True where masks give the class of samples without one: empty = good."""


READERS: dict[str, Reader] = {
    "index": Reader(
        lambda path: (path / index_csv.FILE).is_file(),
        index_csv.scan,
        f"{index_csv.FILE} with the columns {index_csv.COLUMNS}",
        advised=f"{index_csv.FILE} with the columns {index_csv.COLUMNS}",
    ),
    "sd900": Reader(
        lambda path: sd900.folders(path) is not None,
        sd900.scan,
        f"the folders '{sd900.IMAGES}' and '{sd900.MASKS}'",
    ),
    "loco": Reader(mvtec.is_loco, mvtec.scan_loco, "train/good, validation/good, test/KIND, ground_truth/KIND/NNN"),
    "btad": Reader(mvtec.is_btad, mvtec.scan, "train/ok, test/ok, test/ko, ground_truth/ko"),
    "mvtec": Reader(
        mvtec.is_mvtec,
        mvtec.scan,
        "train/good, test/KIND, ground_truth/KIND",
        advised="train/good and test/KIND with masks in ground_truth/KIND",
    ),
    "textured": Reader(mvtec.is_mvtec, mvtec.scan, "train/good, test/KIND, ground_truth/KIND", False),
    "products": Reader(products.is_products, products.scan, "a folder a product, each with train/good", False),
    "visa": Reader(visa.is_visa, visa.scan, f"Data/Images/Normal, and ../{visa.CSV}"),
    "ksdd": Reader(kolektor.is_ksdd, kolektor.scan_ksdd, "kosNN/PartN.jpg and kosNN/PartN_label.bmp"),
    "ksdd2": Reader(kolektor.is_ksdd2, kolektor.scan_ksdd2, "train/ and test/ with NNNNN.png and NNNNN_GT.png"),
    "mt": Reader(magnetic_tile.is_mt, magnetic_tile.scan, "MT_CLASS/Imgs"),
    "rsdds": Reader(rsdds.has_truth, rsdds.scan, f"the folders '{rsdds.IMAGES}' and '{rsdds.TRUTH}'", rsdds.is_rsdds),
    "aitex": Reader(aitex.is_aitex, aitex.scan, f"{aitex.IMAGES}, {aitex.MASKS}, {aitex.NORMALS}/FABRIC"),
    "nanotwice": Reader(nanotwice.is_nanotwice, nanotwice.scan, "Normal, Anomalous/images, Anomalous/gt"),
    "coco": Reader(coco.is_coco, coco.scan, "COCO: a JSON file with images and annotations", advised="a COCO file"),
    "yolo": Reader(yolo.is_yolo, yolo.scan, "YOLO: images/ and labels/ with text files"),
    "labelme": Reader(labelme.is_labelme, labelme.scan, "labelme: a JSON file with shapes beside each image"),
    "cvat": Reader(cvat.is_cvat, cvat.scan, "CVAT for images 1.1: an XML file with <annotations>"),
    "labelstudio": Reader(
        label_studio.is_label_studio, label_studio.scan, "Label Studio: a JSON file with a list of tasks"
    ),
    "supervisely": Reader(supervisely.is_supervisely, supervisely.scan, "Supervisely: meta.json, SET/img and SET/ann"),
    "voc": Reader(voc.is_voc, voc.scan, f"Pascal VOC: {voc.IMAGES}/, {voc.MASKS}/, {voc.SETS}/"),
    "pairs": Reader(
        pairs.is_pairs,
        pairs.scan,
        "images/ and masks/ (also in train/, val/ and test/), or NAME_mask.png beside NAME.png",
        pairs.is_clearly_pairs,
        advised="images/ and masks/ with files of equal names",
        judged=True,
    ),
    "fabric": Reader(fabric.is_fabric, fabric.scan, "defect-free (or good), a folder a KIND, ground_truth/KIND"),
    "parquet": Reader(
        hugging_face.is_parquet,
        hugging_face.scan,
        "Parquet files with a column of images (Hugging Face)",
        lambda path: hugging_face.is_parquet(path) and not folder.image_files(path, recursive=True),
        judged=True,
    ),
    "webdataset": Reader(
        webdataset.is_tar,
        webdataset.scan,
        "tar files with NAME.jpg, NAME.mask.png",
        lambda path: webdataset.is_tar(path) and not folder.image_files(path, recursive=True),
        judged=True,
    ),
    "classes": Reader(
        classes.is_classes, classes.scan, "a folder a class, at the top or in train/, val/, test/", False
    ),
}
"""By layout, in the order in which `auto` tries them."""
LAYOUTS = ("auto", "folder", *READERS)


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


def open_dataset(path: str | Path, layout: str | Reader = "auto", reading: Reading = AS_IT_IS) -> Dataset:
    """Opens a data set on disk; reads no images, and masks where these alone give the classes (`pairs`, KolektorSDD).

    Args:
      path: the data set's folder (layout `folder`: also a single image); of a set with categories, one category's.
      layout: `sd900` = `Source Images/` and `Ground truth/`, class from the file name; `index` = `index.csv`;
        `folder` = images alone, for prediction; the other names of `READERS` = published anomaly-detection sets, each
        described in its reader's file; `auto` decides by the names of folders and files.
      reading: what the files do not say (`jaxqc.data.reading`).

    Raises:
      UserError: no such folder, no known layout in it, or anything wrong with its index.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> open_dataset(write_mvtec("wood", normals=1, defects=1, size=32), "mvtec").classes
      ('good', 'color')
    """
    dataset, problems = scan_dataset(path, layout, reading=reading)
    refuse(problems, printable(path))
    return dataclasses.replace(dataset, warnings=lines(problems))


def scan_dataset(
    path: str | Path, layout: str | Reader = "auto", plain: bool = False, reading: Reading = AS_IT_IS
) -> tuple[Dataset, list[Problem]]:
    """As `open_dataset`, but gives the problems of single samples back instead of refusing.

    plain: let `auto` take a folder of images without any other folder as layout `folder`.

    Raises:
      UserError: no such folder, no known layout in it, or an index that cannot be read at all.
    """
    path = Path(path)
    reader = None if layout in ("auto", "folder") else reader_of(layout)
    try:
        if layout == "auto" and plain and _is_plain(path):
            dataset, problems = scan_dataset(path, "folder", reading=reading)
            message = f"{len(dataset)} images without masks and classes: fit takes all as normal, training refuses them"
            return dataset, [*problems, Problem(printable(path), "images-alone", message, "warning")]
        if layout == "folder":
            if not path.exists():
                raise UserError(f"{printable(path)}: no such file or folder{_near(path)}")
            return understood(*folder.scan(path), reading, judged=False)
        if not path.is_dir():
            what = "not a folder" if path.exists() else "no such folder"
            raise UserError(f"{printable(path)}: {what}{_near(path)}; give the data set's folder")
        if reader is None and reading.normal and not known(path, READERS) and classes.is_classes(path):
            reader = READERS["classes"]
        reader = reader or READERS[detect(path, READERS, plain)]
        if not reader.known(path):
            refuse_above(path, reader.known)
            named = f" (layout {layout})" if isinstance(layout, str) else ""
            raise UserError(f"{printable(path)}: expected {reader.expected}{named}")
        dataset, problems = reader.scan(path)
        problems = [*problems, *folder.unused(path, dataset, problems)]
        dataset, further = in_pages(dataset)
        problems += further
        return understood(dataset, problems, reading, reader.judged)
    except OSError as e:
        raise UserError(f"{printable(e.filename or path)}: cannot be read ({e.strerror or e})") from e


def _is_plain(path: Path) -> bool:
    """True where a folder of no known layout holds images, and no folder in it does."""
    if not path.is_dir() or known(path, READERS) or not (here := folder.image_files(path)):
        return False
    return len(folder.image_files(path, recursive=True)) == len(here)


def _near(path: Path) -> str:
    """A suggestion from the parent folder, where one is close."""
    try:
        hint = suggest(path.name, [p.name for p in path.parent.iterdir()])
    except OSError:
        return ""
    return printable(hint) if "did you mean" in hint else ""
