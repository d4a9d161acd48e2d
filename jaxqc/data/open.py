"""Opening a data set by its path, of any layout: image folders, `index.csv`, a record file, a prepared TFDS set."""

from dataclasses import dataclass, replace
from pathlib import Path

from jaxqc.config import DataConfig
from jaxqc.data.dataset import Dataset
from jaxqc.data.problems import Problem, lines, printable, refuse
from jaxqc.data.readers import TFDS_FILE, Reader, reader_of, scan_dataset
from jaxqc.errors import UserError


@dataclass(frozen=True)
class Keys:
    """The features of a TFDS set to use; "" finds them by kind and usual names."""

    image: str = ""
    mask: str = ""
    label: str = ""
    foreground: tuple[int, ...] = ()
    """Mask values that mean defect; () = every value but 0 of a binary mask."""


def keys_of(config: DataConfig) -> Keys:
    """The feature names in a recipe.

    Raises:
      UserError: `data.foreground` is no list of whole numbers.

    Examples:
      >>> keys_of(DataConfig(foreground="1,3")).foreground
      (1, 3)
    """
    return Keys(config.image_key, config.mask_key, config.label_key, mask_values(config.foreground, "data.foreground"))


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
      keys: for TFDS sets whose features do not have the usual names.
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
    path = Path(path)
    if layout == "records" or (layout == "auto" and path.is_file()):
        from jaxqc.data.records import open_records

        return open_records(path), []
    if is_tfds(path, layout):
        from jaxqc.data.tfds import open_tfds

        keys = keys or Keys()
        return open_tfds(path, keys.image, keys.mask, keys.label, keys.foreground), []
    return scan_dataset(path, layout, plain)
