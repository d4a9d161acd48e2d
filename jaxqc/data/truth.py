"""Masks that are no files of 0 and 255: drawn from annotations, or chosen from the colours of a file."""

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.dataset import Sample


@runtime_checkable
class Truth(Protocol):
    """A sample's mask, and the classes of its pixels. Holds no open handle, so it travels to worker processes."""

    def read(self, sample: Sample, max_pixels: int) -> UInt8[np.ndarray, "h w"]:
        """The mask, 1 = defect.

        Raises:
          UserError: an annotation that cannot be drawn; it names the file and the place in it.
        """
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Pictures of the sample beside its own `mask`."""
        ...

    def labels(self, sample: Sample, max_pixels: int) -> UInt8[np.ndarray, "h w"]:
        """The classes of the pixels, 0 = none, else 1 + the number of its class among the data set's defects."""
        ...
