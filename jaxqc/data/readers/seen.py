"""The layout of a folder by what it holds, or one line on what was seen there and the nearest way out."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxqc import plugins
from jaxqc.data.normals import SHOWN
from jaxqc.data.problems import printable
from jaxqc.data.readers import folder, products
from jaxqc.data.readers.matching import split_of
from jaxqc.data.walk import folders
from jaxqc.errors import UserError

TFDS_FILE = "dataset_info.json"
"""A file that every prepared TFDS set has."""
ENTRIES = 6
"""Most entries of a folder that a message names."""
TWINS = 0.5
"""Share of files of equal names from which two folders look like images and their masks."""


def known(path: Path, readers: Mapping[str, Any]) -> str:
    """The layout that `auto` takes the folder to have; "" for none."""
    guessed = lambda r: r.guessed(path) if callable(r.guessed) else r.guessed and r.known(path)
    return next((name for name, reader in readers.items() if guessed(reader)), "")


def detect(path: Path, readers: Mapping[str, Any], plain: bool) -> str:
    """The layout of a folder. plain: images alone are wanted.

    Raises:
      UserError: none is known; it says what the folder holds and what would make it one.
    """
    if layout := known(path, readers):
        return layout
    name = printable(path)
    refuse_above(path, lambda below: bool(known(below, readers)) or (below / TFDS_FILE).is_file())
    ways = " or ".join(f"{r.advised} (layout {x})" for x, r in readers.items() if r.advised)
    if not any(path.iterdir()):
        raise UserError(f"{name}: empty folder; give one with {ways}")
    if folder.image_files(path):
        if plain:
            raise UserError(
                f"{name}: images here and in folders below; give a folder of good images alone, or take all of them as"
                " good by layout folder"
            )
        raise UserError(
            f"{name}: images without masks: good for fit, predict and inspect (layout folder);"
            f" to train or measure, give a folder with {ways}"
        )
    published = ", ".join(x for x in plugins.names("readers", readers) if x not in readers or not readers[x].advised)
    raise UserError(f"{name}: no data set known here (holds {_holds(path)}){_nearest(path, readers)}; expected {ways},"
                    f" or by --layout one of {published}")  # fmt: skip


def refuse_above(path: Path, known: Callable[[Path], bool]) -> None:
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


def _holds(path: Path) -> str:
    """The first entries of a folder, of folders with their number of images."""
    entries = sorted(p for p in path.iterdir() if not p.name.startswith("."))
    said = []
    for entry in entries[:ENTRIES]:
        count = len(folder.image_files(entry, recursive=True)) if entry.is_dir() else 0
        said.append(printable(entry.name) + (f"/ with {count} images" if entry.is_dir() else ""))
    return ", ".join(said) + (", ..." if len(entries) > ENTRIES else "")


def _nearest(path: Path, readers: Mapping[str, Any]) -> str:
    """The step that would make the folder a data set; "" where none is near."""
    tops = [p for p in folders(path) if split_of(p.name)] or [path]
    stems = {p: {f.stem for f in folder.image_files(p, recursive=True)} for top in tops for p in folders(top)}
    stems = {p: found for p, found in stems.items() if found}
    pair = next((two for two in itertools.combinations(sorted(stems), 2) if _equal_names(two, stems)), None)
    ways = []
    if pair:
        names = " and ".join(f"{printable(p.name)}/" for p in pair)
        ways.append(f"{names} have files of equal names: if these are images and masks, rename them images and masks")
    several = readers["classes"].known(path)
    if several or (stems and tops != [path]):
        names = ", ".join(dict.fromkeys(printable(p.name) for p in sorted(stems)))
        flag = ": say which one is by --normal NAME (--data.normal NAME)" if several else f" ({SHOWN}): rename one"
        ways.append(f"if each folder is a class, none of {names} is named as good images are{flag}")
    elif len(stems) == 1:
        only = next(iter(stems))
        ways.append(f"images alone in {printable(only.name)}/: fit, predict and inspect take {printable(only)}")
    return "".join(f"; {way}" for way in ways)


def _equal_names(pair: Sequence[Path], stems: Mapping[Path, set[str]]) -> bool:
    one, other = (stems[p] for p in pair)
    return pair[0].parent == pair[1].parent and len(one & other) >= TWINS * max(len(one), len(other))
