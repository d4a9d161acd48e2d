"""Host batches out of files, records or arrays: exact order, exact resume, one part of each batch a process (grain).

Which samples make up batch number `step` is pure arithmetic (`BatchOrder`); grain reads the planned batches ahead, in
threads or in worker processes, and hands them out in order. So the position is one integer, a resumed loader continues
with the very batches that an uninterrupted one would have given, and neither the number of workers nor the number of
processes changes what a global batch holds.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.load import load_sample
from jaxqc.data.order import BatchOrder
from jaxqc.data.problems import printable
from jaxqc.data.resizing import resize_image, resize_mask
from jaxqc.errors import UserError

HostBatch = dict[str, np.ndarray]
"""A batch as in `jaxqc.types`, still in NumPy arrays on the host."""

_PROBES = 16


@dataclass(frozen=True)
class BatchReader:
    """Step number → host batch. Holds no open file, so it travels to worker processes."""

    dataset: Dataset | ArrayDataset
    plan: BatchOrder
    size: int
    shape: tuple[int, int, int]

    def __call__(self, step: int) -> HostBatch:
        """This process's part of global batch `step`."""
        rows, weight = self.plan.rows(int(step))
        more: dict[str, np.ndarray] = {}
        if isinstance(self.dataset, ArrayDataset):
            images, masks, labels = (a[rows] for a in (self.dataset.images, self.dataset.masks, self.dataset.labels))
            if images.shape[1:] != self.shape:
                pairs = [_fit(image, mask, self.size) for image, mask in zip(images, masks, strict=True)]
                images, masks = (np.stack(parts) for parts in zip(*pairs, strict=True))
            more = {name: array[rows] for name, array in self.dataset.more.items()}
        else:
            h, w, c = self.shape
            images, masks = np.empty((len(rows), h, w, c), np.uint8), np.empty((len(rows), h, w), np.uint8)
            for place, row in enumerate(rows):
                images[place], masks[place] = self._sample(int(row))
            labels = np.array([self.dataset.samples[row].label for row in rows])
        return {"image": images, "mask": masks, "label": labels.astype(np.int32), "weight": weight, **more}

    def _sample(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        assert isinstance(self.dataset, Dataset)
        image, mask = read_sample(self.dataset, row, self.size)
        h, w, c = self.shape
        if image.shape[:2] != (h, w):
            found = "x".join(map(str, image.shape[:2]))
            raise self._error(row, f"{found} pixels, but the set's first image has {h}x{w}; set data.size to resize")
        if c == 1 and _colour(image):
            raise self._error(row, "a colour image in a set whose first images are grey; convert it to grey")
        return (np.broadcast_to(image, self.shape) if image.shape[2] < c else image[..., :c]), mask

    def _error(self, row: int, message: str) -> UserError:
        assert isinstance(self.dataset, Dataset)
        return UserError(f"{printable(self.dataset.samples[row].image)}: {message}")


def _colour(image: np.ndarray) -> bool:
    """True where the image is more than grey stored as RGB."""
    return image.shape[2] == 3 and bool((image != image[..., :1]).any())


class Loader(Iterator[HostBatch]):
    """An iterator of host batches with an exact position. Close it (or use `with`) when worker processes are used.

    `step` is the number of the next batch; `steps_per_epoch` and `plan` give the rest.
    """

    def __init__(
        self,
        reader: Callable[[int], HostBatch],
        plan: BatchOrder,
        start_step: int,
        stop_step: int | None,
        workers: int,
        threads: int,
    ):
        self.plan = plan
        self.steps_per_epoch = plan.steps_per_epoch
        self._reader, self._stop, self._workers, self._threads = reader, stop_step, workers, threads
        self._iterator: Any = None
        self.step = start_step
        self.stored = 2 * threads * max(1, workers) + 2 * workers
        """Batches that may have been read ahead at any time."""

    def __len__(self) -> int:
        """Batches from the present position to the end. Raises TypeError where there is no end (`epochs=None`)."""
        if self._stop is None:
            raise TypeError("this loader never ends (epochs=None)")
        return max(0, self._stop - self.step)

    def __next__(self) -> HostBatch:
        if self._iterator is None:
            self._iterator = self._open()
        batch = next(self._iterator)
        self.step += 1
        return batch

    def get_state(self) -> dict[str, Any]:
        """The position and what it is a position in, as JSON values."""
        plan = self.plan
        return {"step": self.step, "samples": plan.samples, "batch": plan.batch, "seed": plan.seed}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes to a saved position. Raises UserError where it belongs to another order: that could not be exact."""
        here = self.get_state()
        for key in ("samples", "batch", "seed"):
            if state[key] != here[key]:
                raise UserError(f"data position: saved with {key} {state[key]}, but this run has {here[key]}")
        self.close()
        self.step = int(state["step"])

    def close(self) -> None:
        """Ends threads and worker processes; the next batch starts them again."""
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> Any:
        import grain

        stop = self._stop if self._stop is not None else self.step + 2**40
        steps = grain.MapDataset.range(self.step, max(stop, self.step))
        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=2 * self._threads)
        batches = steps.map(self._reader).to_iter_dataset(options)
        if self._workers:
            _allow_processes()
            batches = batches.mp_prefetch(grain.MultiprocessingOptions(self._workers, per_worker_buffer_size=2))
        return iter(batches)


@runtime_checkable
class BatchSource(Protocol):
    """A training set that makes its own batches, as `jaxqc.semi` does of labelled and unlabelled images."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the samples that an epoch passes over."""
        ...

    def __len__(self) -> int: ...

    def digest(self) -> str:
        """SHA-256 that distinguishes it from any other set."""
        ...

    def loader(
        self, batch: int, seed: int, start_step: int, size: int, workers: int, shard: tuple[int, int]
    ) -> "Loader":
        """Batches without end of square images of side `size`; see `make_loader`."""
        ...


def make_loader(
    dataset: Dataset | ArrayDataset,
    batch: int,
    seed: int,
    start_step: int = 0,
    epochs: float | None = None,
    size: int = 0,
    workers: int = 0,
    shuffle: bool = True,
    shard: tuple[int, int] = (0, 1),
) -> Loader:
    """Training batches: `{"image": uint8 [b h w c], "mask": uint8 [b h w], "label": int32 [b], "weight": float32 [b]}`.

    Args:
      dataset: an index of files, of records (`records.open_records`) or of a TFDS set (`tfds.open_tfds`), or arrays.
      batch: global batch, over all processes; each gets `b = batch / processes`.
      seed: with the epoch's number, all that the order depends on.
      start_step: number of the first batch given; the batches are those that a loader from 0 gives from there on.
      epochs: where to end (`round(epochs * steps_per_epoch)` batches counted from 0); None = never.
      size: side in pixels to which images are resized; 0 keeps the size they all share.
      workers: worker processes that decode; 0 decodes in threads of this one. Arrays need neither.
      shuffle: a fresh order each epoch; False keeps index order.
      shard: (process index, process count).

    Raises:
      UserError: a batch that does not fit, an unreadable file, images whose sizes differ with `size=0`.
    """
    plan = BatchOrder(len(dataset), batch, seed, shuffle, False, shard)
    stop = None if epochs is None else round(epochs * plan.steps_per_epoch)
    return _loader(dataset, plan, start_step, stop, size, workers)


def eval_batches(
    dataset: Dataset | ArrayDataset,
    batch: int,
    size: int = 0,
    workers: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> Loader:
    """Every sample once, in index order; the last batch is filled with copies of weight 0. See `make_loader`."""
    plan = BatchOrder(len(dataset), batch, 0, False, True, shard)
    return _loader(dataset, plan, 0, plan.steps_per_epoch, size, workers)


def read_sample(dataset: Dataset, index: int, size: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Decodes sample number `index`: see `jaxqc.data.load.load_sample`."""
    return load_sample(dataset.samples[index], size)


def _fit(image: np.ndarray, mask: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Resizes to a square of side `size`; 0 leaves both alone."""
    return (resize_image(image, size), resize_mask(mask, size)) if size else (image, mask)


def _loader(
    dataset: Dataset | ArrayDataset, plan: BatchOrder, start: int, stop: int | None, size: int, workers: int
) -> Loader:
    if isinstance(dataset, ArrayDataset):
        h, w, c = dataset.images.shape[1:]
        shape = (size or h, size or w, c)
        # one thread gathers ahead; more would only fight over the interpreter lock
        return Loader(BatchReader(dataset, plan, size, shape), plan, start, stop, 0, 1)
    probes = np.unique(np.linspace(0, len(dataset) - 1, min(_PROBES, len(dataset))).astype(int))
    images = [read_sample(dataset, int(i), size)[0] for i in probes]
    shape = (*images[0].shape[:2], 3 if any(map(_colour, images)) else 1)
    return Loader(BatchReader(dataset, plan, size, shape), plan, start, stop, workers, decode_threads(workers))


def decode_threads(workers: int) -> int:
    """Threads that decode in each of so many worker processes (0 = in this one)."""
    return max(2, min(16, 2 * (os.cpu_count() or 1)) // max(1, workers))


def _allow_processes() -> None:
    """grain's worker processes read absl flags, which only `absl.app.run` would have parsed."""
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
