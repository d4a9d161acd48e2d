"""Pictures of anything else than what is inspected: generated ones, or those of a folder."""

import numpy as np
from jaxtyping import UInt8

from jaxqc.data.colour import in_colour
from jaxqc.data.load import in_threads, load_sample
from jaxqc.data.open import open_data
from jaxqc.data.synthetic.textures import gallery


def unrelated(folder: str, size: int, count: int) -> UInt8[np.ndarray, "n s s 3"]:
    """All pictures in a folder and below it, resized to `size` pixels a side; `count` generated ones where it is "".

    Raises:
      UserError: no pictures there, or one that cannot be read.

    Examples:
      >>> from jaxqc.data.synthetic.textures import write_classes
      >>> unrelated(str(write_classes("pictures", 3, 1, 32)), 16, 5).shape, unrelated("", 16, 5).shape
      ((4, 16, 16, 3), (5, 16, 16, 3))
    """
    if not folder:
        return gallery(count, size)
    samples = open_data(folder, "folder", masks=False).samples
    images = in_threads(lambda sample: load_sample(sample, size, unmasked=True)[0], samples)
    return np.stack([in_colour(image) for image in images])
