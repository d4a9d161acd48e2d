"""Brings the data to the step: `Resident` keeps the whole set on every device, `Stream` sends each batch ahead of use.

Both run the same per-device step on the same batches in the same order.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import jax
import numpy as np
import optax

from jaxqc.config import DataConfig, TrainConfig
from jaxqc.data.dataset import ArrayDataset, Dataset
from jaxqc.data.pipeline import BatchSource, Loader, eval_batches, make_loader
from jaxqc.training.method import Method
from jaxqc.training.optim import Schedule
from jaxqc.training.parallel import Parallel
from jaxqc.training.plan import PhaseSteps
from jaxqc.training.state import TrainState
from jaxqc.training.step import Step, make_scan, make_step

Fetch = Callable[[], dict[str, np.ndarray]]
"""Waits for the steps it stands for and gives their logs, float32 [count] each."""

IN_FLIGHT = 2
"""Batches that may wait on a device in stream mode: one in use, one behind it."""


def in_memory(dataset: ArrayDataset | Dataset, config: DataConfig) -> ArrayDataset:
    """Decodes an index of files once, or resizes arrays that do not have the recipe's `data.size` yet."""
    if isinstance(dataset, Dataset):
        from jaxqc.data.load import load_arrays

        return load_arrays(dataset, config.size, config.skip_bad)
    if not config.size or dataset.images.shape[1:3] == (config.size, config.size) or not len(dataset):
        return dataset
    with eval_batches(dataset, len(dataset), config.size) as batches:
        whole = next(batches)
    return replace(dataset, images=whole["image"], masks=whole["mask"])


class _Feed:
    """The compiled calls of a run, one for each input size."""

    def __init__(
        self,
        method: Method,
        optimizer: optax.GradientTransformationExtraArgs,
        schedule: Schedule,
        config: TrainConfig,
        parallel: Parallel,
        train: Any,
    ) -> None:
        self._config, self._parallel, self._train = config, parallel, train
        self._make = lambda size: make_step(method, optimizer, schedule, size, config.optim.accumulate)
        self._seed = parallel.replicate(np.uint32(config.seed))
        self._calls: dict[int, Callable[..., Any]] = {}

    def _call(self, size: int, wrap: Callable[[Step], Callable[..., Any]]) -> Callable[..., Any]:
        """The step at `size`, wrapped and mapped over the devices."""
        if size not in self._calls:
            self._calls[size] = self._parallel.map(wrap(self._make(size)), donate=(0,))
        return self._calls[size]


class Resident(_Feed):
    """Steps over a data set that lives on the device; one compilation a phase."""

    @cached_property
    def _data(self) -> Any:
        parts = {"image": self._train.images, "mask": self._train.masks, "label": self._train.labels}
        return self._parallel.replicate(parts | dict(self._train.more))

    @property
    def steps(self) -> int:
        """Steps in one compiled call. XLA's CPU runtime runs a loop's body slower than the same step called again."""
        return 1 if self._parallel.devices[0].platform == "cpu" else self._config.steps_per_call

    def run(self, state: TrainState, span: PhaseSteps, start: int, count: int) -> tuple[TrainState, Fetch]:
        """Starts steps `start .. start + count - 1` (count <= steps_per_call) and returns without waiting."""
        parallel, steps = self._parallel, self.steps
        call = self._call(span.size, lambda step: make_scan(step, steps))
        indices = span.indices(start, count, self._config.seed, len(self._train))
        logs = []
        for first in range(0, count, steps):
            given = indices[first : first + steps]
            rows = np.zeros((steps, span.batch), np.int32)
            rows[: len(given)] = given
            # [k batch] -> this process's devices' [d k batch/d]
            rows = rows.reshape(steps, parallel.count, -1).transpose(1, 0, 2)[parallel.rows]
            counts = np.full(len(parallel.local), len(given), np.int32)
            put = parallel.put((np.ascontiguousarray(rows), counts))
            state, log = call(state, self._data, *put, self._seed)
            logs.append(log)

        def fetch() -> dict[str, np.ndarray]:
            parts = parallel.unreplicate(logs)
            return {name: np.concatenate([part[name] for part in parts])[:count] for name in parts[0]}

        return state, fetch

    def close(self) -> None:
        """Nothing to end."""


class Stream(_Feed):
    """Steps over batches that a loader reads ahead; each is on its way to the device while the one before is used."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._loader: tuple[int, Loader] | None = None
        self._flying: deque[Any] = deque()

    def run(self, state: TrainState, span: PhaseSteps, start: int, count: int) -> tuple[TrainState, Fetch]:
        """Starts steps `start .. start + count - 1`; waits only to keep `IN_FLIGHT` batches on the device."""
        parallel = self._parallel
        call = self._call(span.size, lambda step: lambda state, batch, seed: step(state, batch, jax.random.key(seed)))
        loader = self._loader_at(span, start)
        logs = []
        for _ in range(count):
            batch = parallel.shard(next(loader))
            state, log = call(state, batch, self._seed)
            logs.append(log)
            self._flying.append(log["loss"])
            if len(self._flying) >= IN_FLIGHT:
                jax.block_until_ready(self._flying.popleft())

        def fetch() -> dict[str, np.ndarray]:
            rows = parallel.unreplicate(logs)
            return {k: np.stack([row[k] for row in rows]) for k in rows[0]}

        return state, fetch

    def close(self) -> None:
        """Ends the loader's threads and worker processes."""
        if self._loader:
            self._loader[1].close()
            self._loader = None

    def _loader_at(self, span: PhaseSteps, start: int) -> Loader:
        step = span.position + start - span.start
        if self._loader and self._loader[0] == span.phase and self._loader[1].step == step:
            return self._loader[1]
        self.close()
        config = self._config
        part, workers = (jax.process_index(), jax.process_count()), config.data.workers
        if isinstance(self._train, BatchSource):
            loader = self._train.loader(span.batch, config.seed, step, span.size, workers, part)
        else:
            loader = make_loader(
                self._train, span.batch, config.seed, step, None, config.data.size, workers, True, part
            )
        self._loader = (span.phase, loader)
        return loader
