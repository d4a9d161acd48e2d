"""The images that an evaluation measures: a part of the run's own split lists, of the data's, or all there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.problems import printable
from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.errors import UserError, suggest
from jaxqc.semi.check import read_pair
from jaxqc.semi.data import PARTS, Pair, manifest_of, open_pairs, read_list
from jaxqc.semi.manifest import FILES, IGNORE, Manifest, read_manifest

SPLITS = (*PARTS, "all")
"""`val` are the test images, `all` every image with a mask, whatever its part."""


@dataclass(frozen=True)
class Part:
    """Images with masks below `root`. name: the data's. split: one of `SPLITS`. where: what lists them.

    labels: the network's label for each that a mask may hold; 255 stays.
    """

    name: str
    split: str
    where: str
    root: Path
    pairs: tuple[Pair, ...]
    manifest: Manifest
    labels: UInt8[np.ndarray, " 256"]
    rendering: Rendering = BY_FILE
    """As `jaxqc.data.decode.read_image`."""
    notes: tuple[str, ...] = ()
    """Lines on images that are not measured, and on what the data's folder holds beside its samples."""

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, pair: Pair) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
        """An image and its label map, in the network's labels. Raises `UserError` as `jaxqc.semi.check.read_pair`."""
        image, labels = read_pair(self.root, pair, self.manifest, rendering=self.rendering)
        return image, self.labels[labels]


def part_of(
    data: str | Path,
    split: str,
    classes: Sequence[str],
    run: str | Path | None = None,
    splits: str | Path = "",
) -> Part:
    """The images of `data` to measure; reads no pixels.

    The lists are those in the folder `splits`, or else the run's own where `data` are what it was trained on (at least
    half of the images are there), or else the data's own: lists in their folder, or the column `split` of their index.
    Class names of the data are matched with the network's by name.

    Args:
      classes: the network's. run: its run folder.

    Raises:
      UserError: no such folder or split, no list of it, no mask in it, or a class that the network does not have.
    """
    root = Path(data)
    if not root.is_dir():
        raise UserError(f"{printable(root)}: no such folder; give the folder that the split lists' paths begin in")
    if split not in SPLITS:
        raise UserError(f"split: {split!r}{suggest(split, SPLITS)}")
    names = PARTS if split == "all" else (split,)
    kept = Path(run) / "splits" if run is not None else None
    if splits:
        folder = Path(splits)
    elif kept is not None and _listed(kept, names) and _is_of(root, _read(kept, names)):
        folder = kept
    else:
        folder = root if _listed(root, names) else None
    notes: list[str] = []
    pairs = _indexed(root, split, notes) if folder is None else _read(folder, names)
    measured = tuple(pair for pair in pairs if pair.mask)
    if not measured:
        raise UserError(
            f"{printable(folder or root)}: split {split!r} has {len(pairs)} images and no mask to measure by"
        )
    if len(measured) < len(pairs):
        notes.append(f"{len(pairs) - len(measured)} of {len(pairs)} images of split {split!r} have no mask: left out")
    own = folder is not None and any((folder / name).is_file() for name in FILES)
    if own:
        manifest = read_manifest(folder or root)
    else:
        named = any((root / name).is_file() for name in FILES)
        manifest = read_manifest(root) if named else manifest_of(root, open_pairs(root))
    where = printable(folder or root)
    table = _table(manifest, classes, where)
    return Part(printable(root.resolve().name), split, where, root, measured, manifest, table, notes=tuple(notes))


def own_lists(run: str | Path, root: Path) -> dict[str, tuple[Pair, ...]] | None:
    """The run's own lists by part, where the images below `root` are what it was trained on; else None."""
    folder = Path(run) / "splits"
    if not _listed(folder, PARTS) or not _is_of(root, _read(folder, PARTS)):
        return None
    return {name: read_list(folder / f"{name}.txt") for name in PARTS}


def _listed(folder: Path, names: Sequence[str]) -> bool:
    return all((folder / f"{name}.txt").is_file() for name in names)


def _read(folder: Path, names: Sequence[str]) -> tuple[Pair, ...]:
    return tuple(pair for name in names for pair in read_list(folder / f"{name}.txt"))


def _is_of(root: Path, pairs: Sequence[Pair]) -> bool:
    return 2 * sum((root / pair.image).is_file() for pair in pairs) >= len(pairs)


def _indexed(root: Path, split: str, notes: list[str]) -> tuple[Pair, ...]:
    """All images of data without lists, or those that their index keeps for a test; notes: takes lines on the rest."""
    if split not in ("val", "all"):
        raise UserError(
            f"{printable(root)}: no {split}.txt there; make lists with `jaxqc data split`, or name theirs by --splits"
        )
    whole = open_pairs(root)
    samples = whole.samples
    if split == "val":
        samples = tuple(s for s in samples if s.split in ("val", "test"))
        if not samples:
            raise UserError(f"{printable(root)}: no val.txt there, nor a split of its own; measure all: --split all")
    notes += whole.warnings
    if len(samples) < len(whole):
        notes.append(f"{len(samples)} of {len(whole)} images are of split 'val' or 'test'; --split all measures all")
    relative = lambda path: path.relative_to(root).as_posix() if path else ""
    return tuple(Pair(relative(s.image), relative(s.mask)) for s in samples)


def _table(manifest: Manifest, classes: Sequence[str], where: str) -> np.ndarray:
    table = np.full(256, IGNORE, np.uint8)
    for i, name in enumerate(manifest.classes):
        if name not in classes:
            raise UserError(f"{where}: class {name!r} is not one that the network knows{suggest(name, classes)}")
        table[i] = classes.index(name)
    return table
