"""Split files, which say what images keep their labels: `image mask` pairs, made by a seed and read back.

| file            | holds                                                                        |
|-----------------|------------------------------------------------------------------------------|
| `labeled.txt`   | the training images that keep their labels                                   |
| `unlabeled.txt` | all other training images; a mask, where there is one, only measures         |
| `select.txt`    | images of the training part that choose the best model; never trained on     |
| `val.txt`       | the test images; nothing is chosen by them                                   |

Paths are relative to the data's folder, separated by a space as in UniMatch, or by a tab where a path has a space.
"""

import dataclasses
import glob
import posixpath
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from jaxqc.data.annotations.colors import Colored
from jaxqc.data.dataset import Dataset, Sample
from jaxqc.data.grouped import choose_groups, group_of
from jaxqc.data.open import scan_data
from jaxqc.data.problems import Problem, lines, one_line, printable, refuse
from jaxqc.data.readers import index_csv
from jaxqc.data.readers.folder import image_files, unused
from jaxqc.data.splits import rank, write_split
from jaxqc.data.store import StoredSample
from jaxqc.data.tables.cells import emptied
from jaxqc.data.tables.read import read_table
from jaxqc.errors import UserError, suggest
from jaxqc.semi.manifest import FILES, Manifest, read_manifest

PARTS = ("labeled", "unlabeled", "select", "val")
MASKS = ("masks", "labels", "annotations")
"""Folders beside `images` in which a set without an index has its label maps."""
BACKGROUND = "background"


class Pair(NamedTuple):
    """An image and its mask ("" = none), as paths relative to the data's folder."""

    image: str
    mask: str = ""


Splits = Mapping[str, tuple[Pair, ...]]
"""The pairs of each of `PARTS`."""


def open_pairs(root: str | Path, group: str = "") -> Dataset:
    """The images and masks of a folder; reads no pixels.

    Args:
      root: a folder with `index.csv`, of another layout that `jaxqc.data` knows, or `images/` and `masks/` (or
        `labels/`, `annotations/`) with files of equal names, perhaps in folders `train`, `val` and `test`.
      group: a column of `index.csv` whose equal values belong together ("" = the column `group`, where there is one).

    Raises:
      UserError: nothing there, an image without a mask, no such column.

    Examples:
      >>> from jaxqc.data.synthetic.plates import write_sd900
      >>> dataset = open_pairs(write_sd900("steel", 3, size=32))
      >>> len(dataset), dataset.classes
      (3, ('In', 'Pa', 'Sc'))
    """
    root = Path(root)
    dataset, problems = scan_pairs(root)
    refuse(problems, printable(root))
    dataset = dataclasses.replace(dataset, warnings=lines(problems))
    for sample in dataset.samples:
        if isinstance(sample, StoredSample) or not (sample.truth is None or isinstance(sample.truth, Colored)):
            raise UserError(
                f"{printable(root)}: its masks are no label maps in files of their own; write such by jaxqc data import"
                f" {printable(root)} DIR --label-maps, and give DIR"
            )
        if sample.mask is None:
            raise UserError(f"{printable(sample.image)}: no mask; a set to be split needs one for every image")
    return _grouped(dataset, root / index_csv.FILE, group) if group else dataset


def scan_pairs(root: Path) -> tuple[Dataset, list[Problem]]:
    """As `open_pairs`, but gives the problems of single samples back; refuses as it does where nothing is there."""
    masks = next((root / name for name in MASKS if image_files(root / name, recursive=True)), None)
    if not (root / index_csv.FILE).is_file() and (root / "images").is_dir() and masks is not None:
        dataset = _beside(root, masks)
        return dataset, unused(root, dataset, ())
    return scan_data(root)


def _beside(root: Path, masks: Path) -> Dataset:
    found = {file.relative_to(masks).with_suffix(""): file for file in image_files(masks, recursive=True)}
    samples: list[Sample] = []
    for file in image_files(root / "images", recursive=True):
        name = file.relative_to(root / "images").with_suffix("")
        if name not in found:
            raise UserError(f"{printable(file)}: no mask {printable(masks / name)}.*; add it or remove the image")
        part = name.parts[0] if name.parts[0] in index_csv.SPLITS else ""
        samples.append(Sample(name.as_posix(), file, found[name], split=part))
    if not samples:
        raise UserError(f"{printable(root / 'images')}: no images in it")
    return Dataset(printable(root.name), (), tuple(samples))


def _grouped(dataset: Dataset, file: Path, column: str) -> Dataset:
    if not file.is_file():
        raise UserError(f"--group: {column!r} names a column of {index_csv.FILE}, but there is no {printable(file)}")
    table = read_table(file, ("id", column))
    if column not in table.header:
        raise UserError(f"{printable(file)}: no column {column!r}{suggest(column, table.header)}")
    of = {one_line(row["id"]): row.get(column, "") for _, row in emptied(table, (column,)).records()}
    return dataclasses.replace(dataset, samples=tuple(dataclasses.replace(s, group=of[s.id]) for s in dataset.samples))


def manifest_of(root: str | Path, dataset: Dataset, file: str | Path = "") -> Manifest:
    """The manifest in `file`, or else the folder's own, or else, of a set whose samples have classes and binary masks,
    one of background and these classes.

    Raises:
      UserError: none of the three, or a bad one.

    Examples:
      >>> from jaxqc.data.synthetic.plates import write_sd900
      >>> folder = write_sd900("steel", 3, size=32)
      >>> manifest_of(folder, open_pairs(folder)).classes
      ('background', 'In', 'Pa', 'Sc')
    """
    root = Path(root)
    if file or any((root / name).is_file() for name in FILES):
        return read_manifest(file or root)
    if not dataset.classes or any(s.label < 0 for s in dataset.samples):
        return read_manifest(root)  # says what is missing
    binary: dict[str, str] = {}
    masks = {_relative(root, s.mask): dataset.classes[s.label] for s in dataset.samples if s.mask is not None}
    for name in dataset.classes:
        own = {mask for mask, of in masks.items() if of == name}
        start = {f"{mask.rpartition('/')[0]}/{name}_" for mask in own}
        # One pattern where the files are named after their class, else every file by itself.
        if len(start) == 1 and {m for m in masks if m.startswith(next(iter(start)))} == own:
            binary[f"{glob.escape(start.pop())}*"] = name
        else:
            binary |= dict.fromkeys(map(glob.escape, sorted(own)), name)
    return Manifest((BACKGROUND, *dataset.classes), binary=binary).check(printable(root))


def parse_share(text: str, where: str) -> float:
    """`1/16` or `0.25` as a number. Raises UserError, naming `where`, for anything else.

    Examples:
      >>> parse_share("1/16", "labeled")
      0.0625
    """
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as e:
        raise UserError(f"{where}: {text!r} is no share; give for example 1/16 or 0.25") from e


def make_splits(
    dataset: Dataset, root: str | Path, labeled: float, select: float = 0.1, test: float = 0.2, seed: int = 0
) -> Splits:
    """Divides a set; a pure function of the ids, groups and classes, the shares and the seed.

    Images in split `val` or `test` are the test images; a set without either gives `test` of all its images. Of the
    others the share `select` is set apart (whole groups where there are any), and of what is left the share `labeled`,
    at least one image, keeps its labels. A smaller share is part of a larger one, and the other parts do not depend on
    it. Where samples have classes every part takes of each alike.

    Raises:
      UserError: a share outside of (0, 1), or too few images for a part.

    Examples:
      >>> samples = tuple(Sample(str(i), Path(f"{i}.png"), Path(f"{i}_mask.png")) for i in range(20))
      >>> splits = make_splits(Dataset("roads", (), samples), ".", labeled=0.25)
      >>> {part: len(pairs) for part, pairs in splits.items()}
      {'labeled': 4, 'unlabeled': 10, 'select': 2, 'val': 4}
    """
    for name, share in (("labeled", labeled), ("select", select), ("test", test)):
        if not 0 < share < 1:
            raise UserError(f"--{name}: {share:g} must be between 0 and 1, such as 1/16")
    held = [s for s in dataset.samples if s.split in ("val", "test")]
    rest = [s for s in dataset.samples if s.split not in ("val", "test")]
    if not held:
        held, rest = _take(rest, test, seed, "test")
    chosen, rest = _take(rest, select, seed, "select")
    if len(rest) < 2:
        raise UserError(f"{dataset.name}: {len(rest)} images are left to train on; 2 or more are needed")
    order = _spread(rest, seed)
    count = min(max(1, round(labeled * len(order))), len(order) - 1)
    parts = {"labeled": order[:count], "unlabeled": order[count:], "select": chosen, "val": held}
    place = {s.id: i for i, s in enumerate(dataset.samples)}
    return {
        name: tuple(
            Pair(_relative(root, s.image), _relative(root, s.mask) if s.mask else "")
            for s in sorted(samples, key=lambda s: place[s.id])
        )
        for name, samples in parts.items()
    }


def _take(samples: list[Sample], share: float, seed: int, what: str) -> tuple[list[Sample], list[Sample]]:
    """About a share of the samples (whole groups, where there are any), and the others."""
    if any(s.group for s in samples):
        try:
            groups = choose_groups((group_of(s) for s in samples), share, seed)
        except UserError as e:
            raise UserError(f"--{what}: {e}; give a set without groups, or with more of them") from e
        return [s for s in samples if group_of(s) in groups], [s for s in samples if group_of(s) not in groups]
    if len(samples) < 2:
        raise UserError(f"--{what}: {len(samples)} images cannot be divided; give more")
    order = _spread(samples, seed)
    count = min(max(1, round(share * len(order))), len(order) - 1)
    return order[:count], order[count:]


def _spread(samples: Iterable[Sample], seed: int) -> list[Sample]:
    """A random order in which every first part holds of each class its share."""
    classes: dict[int, list[Sample]] = {}
    for sample in samples:
        classes.setdefault(sample.label, []).append(sample)
    placed: list[tuple[float, bytes, Sample]] = []
    for own in classes.values():
        own.sort(key=lambda s: rank(seed, s.id))
        placed += [((i + 0.5) / len(own), rank(seed, s.id), s) for i, s in enumerate(own)]
    return [sample for _, _, sample in sorted(placed, key=lambda x: x[:2])]


def write_splits(folder: str | Path, splits: Splits) -> None:
    """Writes the four lists; each appears whole or not at all.

    Examples:
      >>> write_splits("lists", dict.fromkeys(PARTS, (Pair("a.png", "a_mask.png"),)))
      >>> sorted(path.name for path in Path("lists").iterdir())
      ['labeled.txt', 'select.txt', 'unlabeled.txt', 'val.txt']
    """
    for name in PARTS:
        write_split(Path(folder, f"{name}.txt"), map(_line, splits[name]))


def read_splits(folder: str | Path) -> Splits:
    """Inverse of `write_splits`; files are not looked at (`jaxqc.semi.check.check_splits` does).

    Raises:
      UserError: a list is absent, malformed or empty, or holds an image twice.

    Examples:
      >>> pairs = (Pair("a.png", "a_mask.png"),)
      >>> write_splits("lists", dict.fromkeys(PARTS, pairs))
      >>> read_splits("lists")["val"]
      (Pair(image='a.png', mask='a_mask.png'),)
    """
    return {name: read_list(Path(folder, f"{name}.txt")) for name in PARTS}


def read_list(file: str | Path) -> tuple[Pair, ...]:
    """The pairs of one list. Raises `UserError` as `read_splits` does."""
    name = printable(file)
    try:
        lines = Path(file).read_text("utf-8-sig").splitlines()
    except FileNotFoundError as e:
        raise UserError(f"{name}: no such file; make it with `jaxqc data split`") from e
    except OSError as e:
        raise UserError(f"{name}: cannot be read ({e.strerror})") from e
    except UnicodeDecodeError as e:
        raise UserError(f"{name}: not UTF-8 (byte {e.start}); save it as UTF-8") from e
    pairs: dict[str, tuple[int, Pair]] = {}
    for number, line in enumerate(lines, 1):
        parts = [part for part in (line.split("\t") if "\t" in line else line.split(" ")) if part]
        if not parts:
            continue
        if len(parts) > 2:
            raise UserError(f"{name}: line {number}: {len(parts)} paths; give `image mask`, with a tab for a space")
        pair = Pair(*parts)
        key = posixpath.normpath(pair.image)
        if key in pairs:
            raise UserError(f"{name}: line {number}: {pair.image} already stands on line {pairs[key][0]}")
        pairs[key] = number, pair
    if not pairs:
        raise UserError(f"{name}: no images in it; give one `image mask` a line")
    return tuple(pair for _, pair in pairs.values())


def _line(pair: Pair) -> str:
    for path in pair:
        if printable(path) != path:
            raise UserError(f"{printable(path)}: control characters in a file's name; rename it")
    return ("\t" if any(" " in path for path in pair) else " ").join(path for path in pair if path)


def _relative(root: str | Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
