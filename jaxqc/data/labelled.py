"""Images that are known to be defective or good, as what an inspection would see of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.dataset import Sample
from jaxqc.data.load import load_sample


@dataclass(frozen=True)
class Labelled:
    """A whole image; its sample's mask and crop are not asked for."""

    sample: Sample
    defective: bool

    def read(self) -> UInt8[np.ndarray, "h w c"]:
        """Its pixels. Raises UserError where it cannot be decoded."""
        return load_sample(replace(self.sample, mask=None, more_masks=(), crop=None), unmasked=True)[0]


def whole_images(samples: Iterable[tuple[Sample, bool]]) -> tuple[Labelled, ...]:
    """The images of samples, each once: of those in crops the whole one, defective where any crop is.

    Examples:
      >>> from pathlib import Path
      >>> left, right = (Sample(side, Path("a.png"), crop=(0, x, 8, 8)) for side, x in (("left", 0), ("right", 8)))
      >>> [(one.sample.id, one.defective) for one in whole_images([(left, False), (right, True)])]
      [('left', True)]
    """
    found: dict[str, Labelled] = {}
    for sample, defective in samples:
        key = f"{sample.image}" if sample.crop is not None else f"{sample.image}\0{sample.id}"
        old = found.get(key)
        found[key] = Labelled(old.sample, old.defective or defective) if old else Labelled(sample, defective)
    return tuple(found.values())
