"""The samples of each batch: pure arithmetic on (seed, epoch, step), without reading anything."""

import functools
import math
from dataclasses import dataclass

import numpy as np

from jaxqc.errors import UserError


@functools.lru_cache(maxsize=4)
def epoch_order(samples: int, seed: int, epoch: int) -> np.ndarray:
    """The order of one epoch, int64 [samples]: a pure function of its arguments, on every machine.

    Sorts raw Philox words, because NumPy keeps the streams of its bit generators from version to version but not
    those of `Generator.permutation`.

    Examples:
      >>> sorted(epoch_order(4, seed=0, epoch=1).tolist())
      [0, 1, 2, 3]
    """
    words = np.random.Philox(np.random.SeedSequence((seed, epoch))).random_raw(samples)
    order = np.argsort(words, kind="stable").astype(np.int64)
    order.flags.writeable = False  # shared by all callers through the cache
    return order


@dataclass(frozen=True)
class BatchOrder:
    """The samples of each batch.

    Training (`pad=False`): the last partial batch of an epoch is left out, and with `shuffle` each epoch has an order
    of its own, so over many epochs nothing is left out for good. Evaluation (`pad=True`): every sample once, the last
    batch filled up with copies of weight 0.

    Examples:
      >>> order = BatchOrder(samples=5, batch=2, seed=0, pad=True)
      >>> order.steps_per_epoch, order.rows(2)[1].tolist()
      (3, [1.0, 0.0])
    """

    samples: int
    batch: int
    seed: int = 0
    shuffle: bool = True
    pad: bool = False
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self):
        index, count = self.shard
        if self.seed < 0:
            raise UserError(f"seed: {self.seed} is negative; choose 0 or above")
        if self.batch < 1:
            raise UserError(f"batch: {self.batch} is not a positive number of images")
        if self.samples < 1:
            raise UserError("the data set has no samples; check its path and split")
        if not 0 <= index < count:
            raise UserError(f"shard: process {index} of {count} does not exist")
        if self.batch % count:
            raise UserError(f"batch: {self.batch} cannot be cut into {count} equal parts, one a process")
        if not self.pad and self.samples < self.batch:
            raise UserError(
                f"batch: {self.batch} is more than the {self.samples} samples of an epoch; lower it in --phases"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch, counting a padded one."""
        return math.ceil(self.samples / self.batch) if self.pad else self.samples // self.batch

    def rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """This process's part of global batch `step`: sample numbers int64 [b] and weights float32 [b]."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = epoch_order(self.samples, self.seed, epoch) if self.shuffle else np.arange(self.samples)
        chosen = order[place * self.batch : (place + 1) * self.batch]
        weight = np.zeros(self.batch, np.float32)
        weight[: len(chosen)] = 1
        # a copy of a real sample, not zeros: whatever is computed of it stays finite, and 0 x finite is 0
        chosen = np.concatenate([chosen, np.full(self.batch - len(chosen), chosen[-1])])
        index, count = self.shard
        part = slice(index * self.batch // count, (index + 1) * self.batch // count)
        return chosen[part], weight[part]
