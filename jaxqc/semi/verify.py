"""A segmentation run's golden maps, of every class, recomputed. Such a network has one graph."""

from pathlib import Path

import jax
import numpy as np

from jaxqc.semi.model import load_segmentation
from jaxqc.training.golden import read_golden
from jaxqc.verdict import Verdict, same_step, verdict_of


def verify(path: str | Path, tolerance: float | None = None) -> Verdict:
    """Compares the network's probabilities with the golden ones.

    tolerance: largest difference that passes; None takes that of the compute dtype.

    Raises:
      UserError: no run there, no golden record, or one of another checkpoint.
    """
    golden = read_golden(Path(path))
    model = load_segmentation(path)
    same_step(path, golden, model.meta)
    config = model.config
    run = jax.jit(lambda params, images: model.forward(params, images, config.long_side, config.window))
    found = np.asarray(run(model.params, golden["image"]))
    return verdict_of(path, found, golden["map"].astype(np.float32), config.model.dtype, model.meta, tolerance)
