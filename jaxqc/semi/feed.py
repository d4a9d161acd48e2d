"""Brings views to the loop: batches of labelled and unlabelled images, and the selection images as data sets."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxqc.data.dataset import Dataset
from jaxqc.data.decode import MAX_PIXELS, read_size
from jaxqc.data.load import in_threads
from jaxqc.data.order import BatchOrder
from jaxqc.data.pipeline import HostBatch, Loader, decode_threads
from jaxqc.data.rendering import BY_FILE, Rendering
from jaxqc.data.store import StoredSample
from jaxqc.semi.check import read_pair
from jaxqc.semi.data import Pair, Splits
from jaxqc.semi.manifest import IGNORE, Manifest
from jaxqc.semi.views import View, geometric_view

Decoded = tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]


@dataclass(frozen=True)
class Reader:
    """Pairs of files → images and label maps. Of `kept` ones the pixels are there already."""

    root: Path
    manifest: Manifest
    pairs: tuple[Pair, ...]
    kept: tuple[tuple[UInt8[np.ndarray, "_ _ _"], UInt8[np.ndarray, "_ _"]], ...] = field(default=(), repr=False)
    rendering: Rendering = BY_FILE
    """As `jaxqc.data.decode.read_image`."""

    def read(self, number: int) -> Decoded:
        """Image [h w 1 or 3] and labels [h w], 255 = ignored, of pair `number`. Raises UserError naming the file."""
        if self.kept:
            return self.kept[number]
        return read_pair(self.root, self.pairs[number], self.manifest, MAX_PIXELS, self.rendering)

    def in_memory(self) -> "Reader":
        """The same with all of its pixels decoded."""
        return dataclasses.replace(self, kept=tuple(in_threads(self.read, range(len(self.pairs)))))


@dataclass(frozen=True)
class ViewSet:
    """The training images of a run: a `jaxqc.data.pipeline.BatchSource`. An epoch passes once over the unlabelled ones.

    use_unlabeled: whether batches hold unlabelled images at all; the epochs are as long either way, so that a
    supervised run takes as many steps as the others. scale, flip: see `jaxqc.semi.views`.
    """

    labeled: Reader
    unlabeled: Reader
    use_unlabeled: bool = True
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5

    def __len__(self) -> int:
        return len(self.unlabeled.pairs)

    @property
    def ids(self) -> tuple[str, ...]:
        """Paths of the unlabelled images."""
        return tuple(pair.image for pair in self.unlabeled.pairs)

    def digest(self) -> str:
        """SHA-256 over the lists and the classes."""
        parts = [self.labeled.manifest.classes, *self.labeled.pairs, (), *self.unlabeled.pairs]
        return hashlib.sha256("\n".join("\0".join(p) for p in parts).encode("utf-8", "surrogateescape")).hexdigest()

    def loader(self, batch: int, seed: int, start_step: int, size: int, workers: int, shard: tuple[int, int]) -> Loader:
        """Batches as `jaxqc.semi.objective.prepare` takes them, `batch` images of each kind over all processes.

        Raises:
          UserError: more images a batch than there are unlabelled ones.
        """
        plan = BatchOrder(len(self), batch, seed, shard=shard)
        return Loader(_Batches(self, plan, size), plan, start_step, None, workers, decode_threads(workers))


@dataclass(frozen=True)
class _Batches:
    """Step number → this process's part of the batch; every view is drawn by seed, step and place in it."""

    views: ViewSet
    plan: BatchOrder
    size: int

    def __call__(self, step: int) -> HostBatch:
        step, views, plan = int(step), self.views, self.plan
        n = len(views.labeled.pairs)
        # The labelled images, as often one as the other, in an order of their own (seeds proper have 32 bits).
        tiled = dataclasses.replace(plan, samples=n * -(-max(len(views), plan.batch) // n), seed=plan.seed + 2**32)
        labeled = [self._view(views.labeled, int(row) % n, step, i, 0) for i, row in enumerate(tiled.rows(step)[0])]
        batch = {"image": np.stack([v.image for v in labeled]), "mask": np.stack([v.mask for v in labeled])}
        if views.use_unlabeled:
            rows = plan.rows(step)[0]
            others = [self._view(views.unlabeled, int(row), step, i, 1) for i, row in enumerate(rows)]
            batch |= {"unlabeled": np.stack([v.image for v in others]), "valid": np.stack([v.valid for v in others])}
            if all(pair.mask for pair in views.unlabeled.pairs):
                batch["truth"] = np.stack([v.mask for v in others])
        return batch

    def _view(self, reader: Reader, row: int, step: int, place: int, kind: int) -> View:
        index, count = self.plan.shard
        place += index * self.plan.batch // count
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((self.plan.seed, step, place, kind))))
        return geometric_view(*reader.read(row), self.size, rng, self.views.scale, self.views.flip)


@dataclass(frozen=True)
class Whole:
    """Whole images and label maps as a `jaxqc.data.store.Store`; with `side`, both within a square of that side."""

    reader: Reader
    side: int = 0

    def read(self, number: int) -> Decoded:
        """See `Reader.read`."""
        image, labels = self.reader.read(number)
        return letterbox(image, labels, self.side) if self.side else (image, labels)


def letterbox(
    image: UInt8[np.ndarray, "h w c"], labels: UInt8[np.ndarray, "h w"], side: int
) -> tuple[UInt8[np.ndarray, "{side} {side} c"], UInt8[np.ndarray, "{side} {side}"]]:
    """Both with the long side scaled to `side` (labels by the nearest pixel), padded with 0 and 255 to a square."""
    height, width = labels.shape
    tall, wide = (max(1, round(x * side / max(height, width))) for x in (height, width))
    source = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    pixels = np.asarray(source.resize((wide, tall), Image.Resampling.BILINEAR)).reshape(tall, wide, -1)
    near = Image.fromarray(labels).resize((wide, tall), Image.Resampling.NEAREST)
    out = np.zeros((side, side, image.shape[2]), np.uint8), np.full((side, side), IGNORE, np.uint8)
    out[0][:tall, :wide], out[1][:tall, :wide] = pixels, np.asarray(near)
    return out


def whole_images(reader: Reader, name: str, side: int = 0) -> tuple[Dataset, ...]:
    """Data sets of one image size each, the usual one first; with `side` a single one."""
    groups: dict[tuple[int, ...], list[StoredSample]] = {}
    sizes = _sizes(reader) if not side else [(side, side)] * len(reader.pairs)
    store = Whole(reader, side)
    for number, (pair, shape) in enumerate(zip(reader.pairs, sizes, strict=True)):
        path, mask = reader.root / pair.image, reader.root / pair.mask
        groups.setdefault(shape, []).append(StoredSample(pair.image, path, mask, store=store, number=number))
    ordered = sorted(groups.values(), key=len, reverse=True)
    return tuple(Dataset(name, reader.manifest.classes, tuple(samples)) for samples in ordered)


def _sizes(reader: Reader) -> Sequence[tuple[int, ...]]:
    if reader.kept:
        return [labels.shape for _, labels in reader.kept]
    return list(in_threads(lambda pair: read_size(reader.root / pair.image), reader.pairs))


def readers(
    splits: Splits, root: Path, manifest: Manifest, resident: bool, rendering: Rendering = BY_FILE
) -> dict[str, Reader]:
    """One for each part but the test images, which no run looks at. rendering: as `jaxqc.data.decode.read_image`."""
    out = {
        part: Reader(root, manifest, splits[part], rendering=rendering) for part in ("labeled", "unlabeled", "select")
    }
    return {part: reader.in_memory() for part, reader in out.items()} if resident else out
