"""Opening a data set by its path, of any layout: image folders, `index.csv`, a record file, a prepared TFDS set."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, lines, printable, refuse
from jaxqc.data.readers import TFDS_FILE, Reader, reader_of, scan_dataset
from jaxqc.data.reading import Reading, understood
from jaxqc.errors import UserError


@dataclass(frozen=True)
class Keys:
    """A person's words on a data set: features of a TFDS set ("" finds them by kind and usual names), and what files do
    not say (`jaxqc.data.reading.Reading`)."""

    image: str = ""
    mask: str = ""
    label: str = ""
    foreground: tuple[int, ...] = ()
    """Mask values that mean defect; () = every value but 0 of a binary mask."""
    normal: str = ""
    """The class that is free of defects, where its name does not say so."""
    unmasked: str = ""
    """`good`: images without a mask are free of defects."""

    @property
    def reading(self) -> Reading:
        """The words on masks and classes."""
        return Reading(self.normal, self.unmasked, self.foreground)


def keys_of(config: Any) -> Keys:
    """The words on the data in a recipe: a `DataConfig`, or another config that has some of its fields.

    Raises:
      UserError: `data.foreground` is no list of whole numbers, or `data.unmasked` is not `good`.

    Examples:
      >>> from jaxqc.config import DataConfig
      >>> keys_of(DataConfig(foreground="1,3")).foreground
      (1, 3)
    """
    of = lambda name: getattr(config, name, "")
    values = mask_values(of("foreground"), "data.foreground")
    keys = Keys(of("image_key"), of("mask_key"), of("label_key"), values, of("normal"), of("unmasked"))
    check_reading(keys, "data.unmasked")
    return keys


def check_reading(keys: Keys, where: str) -> None:
    """Raises UserError naming the field or flag `where` for an unknown word on images without masks."""
    try:
        _ = keys.reading
    except UserError as e:
        raise UserError(str(e).replace("unmasked", where, 1)) from e


def mask_values(text: str, where: str) -> tuple[int, ...]:
    """`1,3` → (1, 3).

    Raises:
      UserError: naming `where`, for anything else.

    Examples:
      >>> mask_values("1,3", "data.foreground")
      (1, 3)
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as e:
        raise UserError(f"{where}: {text!r} is no list of mask values; give for example 1,3") from e


def open_data(
    path: str | Path,
    layout: str | Reader = "auto",
    skip_bad: bool = False,
    keys: Keys | None = None,
    masks: bool = True,
) -> Dataset:
    """The index of a data set; reads no pixels (of a TFDS set a few masks).

    Args:
      path: a folder, or a record file. layout: as in `DataConfig`; `auto` distinguishes them.
      skip_bad: let absent files pass, for the loader to skip and list.
      keys: names of a TFDS set's features, and what the files do not say.
      masks: False where none are read: they may be absent, and so may classes (a folder of images and nothing else).

    Raises:
      UserError: nothing there, or nothing that the layout describes.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> dataset = open_data(write_mvtec("wood", normals=2, defects=2, size=32))
      >>> len(dataset), dataset.samples[0].split
      (6, 'train')
    """
    dataset, problems = scan_data(path, layout, keys, plain=not masks)
    passed = (*(("missing-file",) if skip_bad else ()), *(("missing-mask",) if skip_bad or not masks else ()))
    problems = [p for p in problems if p.kind not in passed]
    refuse(problems, printable(path))
    return replace(dataset, warnings=lines(problems))


def is_tfds(path: str | Path, layout: str | Reader = "auto") -> bool:
    """True: a prepared TFDS set, by its layout or its file `dataset_info.json`."""
    return layout == "tfds" or (layout == "auto" and (Path(path) / TFDS_FILE).is_file())


def layout_of(path: str | Path, layout: str | Reader | None, own: str | Reader) -> str | Reader:
    """The layout by which a trained model's data are opened: the one asked for; for None the model's `own`, where the
    folder has it, else `auto`.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> boards = write_mvtec("wood", normals=1, defects=1, size=32)
      >>> layout_of(boards, None, "mvtec"), layout_of(boards, None, "index"), layout_of(boards, "auto", "mvtec")
      ('mvtec', 'auto', 'auto')
    """
    if layout is not None:
        return layout
    if own == "tfds":  # which may be named by a folder above
        prepared = any(next(Path(path).glob(f"{above}{TFDS_FILE}"), None) for above in ("", "*/", "*/*/"))
        return "tfds" if prepared else "auto"
    if own in ("auto", "folder", "records"):
        return "auto"
    return own if Path(path).is_dir() and reader_of(own).known(Path(path)) else "auto"


def scan_data(
    path: str | Path, layout: str | Reader = "auto", keys: Keys | None = None, plain: bool = False
) -> tuple[Dataset, list[Problem]]:
    """As `open_data`, but gives the problems of single samples back instead of refusing. plain: see `scan_dataset`.

    Examples:
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> dataset, problems = scan_data(write_mvtec("wood", normals=1, defects=1, size=32))
      >>> dataset.classes, problems
      (('good', 'color'), [])
    """
    path, keys = Path(path), keys or Keys()
    if layout == "records" or (layout == "auto" and path.is_file()):
        from jaxqc.data.records import open_records

        if keys.foreground:
            raise UserError(f"foreground: the masks of {printable(path)} are of 0 and 1 already; leave it out")
        return understood(open_records(path), [], keys.reading, judged=False)
    if is_tfds(path, layout):
        from jaxqc.data.tfds import open_tfds

        found = open_tfds(path, keys.image, keys.mask, keys.label, keys.foreground)
        return understood(found, [], Reading(keys.normal, keys.unmasked), judged=False)
    return scan_dataset(path, layout, plain, keys.reading)
