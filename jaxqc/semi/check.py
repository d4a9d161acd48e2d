"""The check that split files, masks and manifest fit together; and the frequency of each class."""

import posixpath
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from jaxqc.data.decode import MAX_PIXELS, read_image, read_size
from jaxqc.data.label_maps import NO_LABEL
from jaxqc.data.load import in_threads
from jaxqc.data.problems import printable
from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.errors import UserError
from jaxqc.semi.data import PARTS, Pair, Splits
from jaxqc.semi.labels import read_labels, refuse_unclear, trained_voids
from jaxqc.semi.manifest import Manifest


@dataclass(frozen=True)
class SplitReport:
    """The contents of the lists. images: by part. pixels: by part, of each class and (last) without a label."""

    manifest: Manifest
    images: dict[str, int]
    pixels: dict[str, Int[np.ndarray, " k"]]

    @property
    def absent(self) -> list[str]:
        """Classes that no labelled image shows."""
        return [name for name, n in zip(self.manifest.classes, self.pixels["labeled"][:-1], strict=True) if n == 0]

    def lines(self) -> list[str]:
        """The report as text: a line a part, a line a class (of the pixels that have one), a line of those that do not.

        Unlabelled images without a mask count as no pixels.
        """
        counts = ", ".join(f"{name} {n}" for name, n in self.images.items())
        total = {name: max(1, int(p[:-1].sum())) for name, p in self.pixels.items()}
        width = max(map(len, (NO_LABEL, *self.manifest.classes)))
        rows = [f"images: {counts}", f"{'share of pixels':{width}} " + " ".join(f"{p:>9}" for p in PARTS)]
        for i, name in enumerate(self.manifest.classes):
            rows.append(f"{name:{width}} " + " ".join(f"{self.pixels[p][i] / total[p]:9.4f}" for p in PARTS))
        if any(p[-1] for p in self.pixels.values()):
            shares = " ".join(f"{self.pixels[p][-1] / max(1, self.pixels[p].sum()):9.4f}" for p in PARTS)
            rows.append(f"{NO_LABEL:{width}} {shares}  of all pixels, left out above")
        return rows + self.remarks()

    def remarks(self) -> list[str]:
        """Lines on what a training may stumble over: absent classes, and classes named as if they were none."""
        return [*(f"no labelled image shows {name}" for name in self.absent), *trained_voids(self.manifest)]


def check_splits(
    splits: Splits,
    root: str | Path,
    manifest: Manifest,
    batch: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> SplitReport:
    """Reads every mask and the size of every image. `progress` takes the number done and the number in all.

    Raises:
      UserError: an image in two lists, fewer unlabelled images than a batch, a file that is missing or
        unreadable, an image and a mask of different sizes, no mask where one is needed, a class that is not in the
        manifest, each named by its file; masks whose 255 may be a class (`jaxqc.semi.labels.refuse_unclear`).
    """
    for image, part, other in overlaps(splits, root):
        raise UserError(f"{printable(image)}: in {part}.txt and in {other}.txt; remove it from one of them")
    if len(splits["unlabeled"]) < batch:
        raise UserError(
            f"unlabeled.txt: {len(splits['unlabeled'])} images are fewer than a batch of {batch}; lower it in --phases"
        )
    work = [(part, pair) for part in PARTS for pair in splits[part]]
    n = len(manifest.classes)
    pixels = {part: np.zeros(n + 1, np.int64) for part in PARTS}
    each: list[np.ndarray] = []

    def count(item: tuple[str, Pair]) -> tuple[str, np.ndarray]:
        part, pair = item
        size = read_size(Path(root, pair.image))
        if not pair.mask:
            if part != "unlabeled":
                raise UserError(f"{part}.txt: {printable(pair.image)} has no mask; add its path to the line")
            return part, np.zeros(n + 1, np.int64)
        labels = read_labels(root, pair.mask, manifest)
        _same_size(pair, size, labels.shape)
        return part, np.bincount(np.minimum(labels, n).reshape(-1), minlength=n + 1)

    for done, (part, counts) in enumerate(in_threads(count, work), 1):
        pixels[part] += counts
        each.append(counts)
        if progress is not None:
            progress(done, len(work))
    shares = [(int(c[-1]), int(c[0]), int(c[1:-1].sum())) for c in each]
    refuse_unclear(manifest, shares, f"{printable(root)}: masks")
    return SplitReport(manifest, {part: len(splits[part]) for part in PARTS}, pixels)


def overlaps(splits: Splits, root: str | Path = "") -> Sequence[tuple[str, str, str]]:
    """(image, part, other part) for every image that stands in two lists, however its path (from `root`) is written.

    Examples:
      >>> pair = Pair("a.png", "a_mask.png")
      >>> overlaps({"labeled": (pair,), "val": (pair,)})
      [('a.png', 'labeled', 'val')]
    """
    seen: dict[str, str] = {}
    found = []
    for part, pairs in splits.items():
        for pair in pairs:
            key = posixpath.normpath(Path(root, pair.image).as_posix())
            if key in seen:
                found.append((pair.image, seen[key], part))
            seen.setdefault(key, part)
    return found


def read_pair(
    root: str | Path,
    pair: Pair,
    manifest: Manifest,
    max_pixels: int = MAX_PIXELS,
    rendering: Rendering = BY_FILE,
) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
    """The image and its label map (all 255 where it has none). rendering: as `jaxqc.data.decode.read_image`.

    Raises:
      UserError: as `check_splits`, of this pair.
    """
    image = read_image(Path(root, pair.image), max_pixels, rendering=rendering)
    if not pair.mask:
        return image, np.full(image.shape[:2], 255, np.uint8)
    labels = read_labels(root, pair.mask, manifest, max_pixels)
    _same_size(pair, image.shape[:2], labels.shape)
    return image, labels


def _same_size(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    if image != mask:
        raise UserError(
            f"{printable(pair.mask)}: {mask[1]} x {mask[0]} pixels, but {printable(pair.image)} has"
            f" {image[1]} x {image[0]}; save them at one size"
        )
