"""Images a second that the input pipeline delivers, by source and number of worker processes.

    python -m benchmarks.input --workers 0 2 --json rows.jsonl

Sources: JPEG and PNG folders (decoded on the fly), records (decoded uint8 on disk), arrays (decoded in memory), arrays
sent to the device, and resident (gathered on the device by index). All give the training loader's shuffled batches.
A loader reads ahead between its turns: what it has in store is taken out before the clock starts, so that the figure
is the rate it can hold. `start_s` is the time to the first batch: opening, probing, starting processes.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from benchmarks.lib import common
from jaxqc.data.dataset import ArrayDataset, Dataset, Sample
from jaxqc.data.load import load_arrays
from jaxqc.data.pipeline import Loader, make_loader
from jaxqc.data.readers import open_dataset
from jaxqc.data.records import SUFFIX, write_records
from jaxqc.data.synthetic.plates import synthetic_arrays
from jaxqc.memory import use_huge_pages

SOURCES = ("jpeg", "png", "records", "arrays", "to-device", "resident")


@dataclasses.dataclass
class Feed:
    """`take()` gives one batch; `stored` batches may have been read ahead."""

    take: Callable[[], Any]
    stored: int
    start: float

    def rate(self, seconds: float) -> float:
        """Seconds a batch over about `seconds`, once what was in store is gone."""
        for _ in range(self.stored):
            self.take()
        start, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds or count < 2:
            self.take()
            count += 1
        return elapsed / count


def main() -> None:
    parser = common.arguments(str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, default=None, help="a data set of your own instead of synthetic plates")
    parser.add_argument("--images", type=int, default=240, help="images in the set (synthetic, or the first of --data)")
    parser.add_argument("--size", type=int, default=200, help="side in pixels")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="worker processes; 0 = threads")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        arrays = _arrays(args)
        feeds: dict[tuple[str, int], Feed] = {}
        for source in args.sources:
            data = _source(source, arrays, Path(folder))
            for workers in args.workers if isinstance(data, Dataset) else [0]:
                feeds[source, workers] = _feed(source, data, args.batch, workers, stack)
        measured: dict[tuple[str, int], list[float]] = {key: [] for key in feeds}
        keys = list(feeds)
        for i in range(args.rounds):
            turn = i % len(keys)
            for key in keys[turn:] + keys[:turn]:
                measured[key].append(feeds[key].rate(args.seconds))
        rows = []
        for (source, workers), seconds in measured.items():
            timing = common.Timing(tuple(seconds), feeds[source, workers].start)
            row = common.result("input", source, timing, images=args.batch, workers=workers, batch=args.batch)
            row |= {"size": args.size, "channels": arrays.images.shape[-1], "start_s": row.pop("first_call_s")}
            rows.append(row)
        columns = ("name", "workers", "batch", "size", "channels", "images_per_s", "ms", "spread", "start_s")
        common.finish(rows, args.json, "Input pipeline", columns)


def _arrays(args: Any) -> ArrayDataset:
    if args.data is None:
        return synthetic_arrays(args.images, args.size)
    dataset = open_dataset(args.data)
    return load_arrays(dataclasses.replace(dataset, samples=dataset.samples[: args.images]), args.size)


def _source(source: str, arrays: ArrayDataset, folder: Path) -> Dataset | ArrayDataset:
    if source == "records":
        return write_records(arrays, folder / f"all{SUFFIX}")
    if source not in ("jpeg", "png"):
        return arrays
    samples = []
    (folder / source).mkdir()
    for i, name in enumerate(arrays.ids):
        image, mask = folder / source / f"{name}.{source}", folder / source / f"{name}_mask.png"
        pixels = arrays.images[i]
        Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(image, quality=92)
        Image.fromarray(arrays.masks[i] * np.uint8(255)).save(mask)
        samples.append(Sample(name, image, mask, int(arrays.labels[i])))
    return Dataset(arrays.name, arrays.classes, tuple(samples))


def _feed(source: str, data: Dataset | ArrayDataset, batch: int, workers: int, stack: contextlib.ExitStack) -> Feed:
    start = time.perf_counter()
    loader = stack.enter_context(make_loader(data, batch, seed=0, workers=workers))
    take: Callable[[], Any] = lambda: next(loader)
    if source == "to-device":
        take = lambda: jax.block_until_ready(jax.device_put(next(loader)))
    if source == "resident":
        assert isinstance(data, ArrayDataset)
        take = _resident(data, loader)
    take()
    return Feed(take, 0 if source == "resident" else loader.stored, time.perf_counter() - start)


def _resident(data: ArrayDataset, loader: Loader) -> Callable[[], Any]:
    """The same batches from arrays on the device: 4 bytes of index travel a sample."""
    held = jax.device_put({"image": data.images, "mask": data.masks, "label": data.labels})
    gather = jax.jit(lambda data, rows: jax.tree.map(lambda x: jnp.take(x, rows, axis=0), data))

    def batches() -> Iterator[Any]:
        step = 0
        while True:
            rows, _ = loader.plan.rows(step)
            yield jax.block_until_ready(gather(held, jax.device_put(rows.astype(np.int32))))
            step += 1

    endless = batches()
    return lambda: next(endless)


if __name__ == "__main__":  # worker processes import this file
    use_huge_pages()
    main()
