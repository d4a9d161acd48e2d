"""Samples whose pixels lie in a store (a record file, a TFDS set) instead of in image files of their own."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.dataset import Sample


@runtime_checkable
class Store(Protocol):
    """Random access to decoded samples. Holds no open handle, so it travels to worker processes; safe in threads."""

    def read(self, number: int) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
        """Image (c = 1 or 3) and mask in {0, 1} of the store's item `number`.

        Raises:
          UserError: the item is damaged, or is no image and mask.
        """
        ...


@dataclass(frozen=True)
class StoredSample(Sample):
    """`image` is the address `STORE/NUMBER`, for messages; `mask` is the same, or None where the store has none."""

    store: Store = field(kw_only=True, repr=False)
    number: int = field(kw_only=True)

    def read(self) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
        """Image and mask, decoded."""
        return self.store.read(self.number)
