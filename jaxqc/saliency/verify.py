"""A saliency run's golden maps recomputed, with and without folded batch norm."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxqc.saliency.model import Model, load
from jaxqc.training.golden import read_golden
from jaxqc.verdict import Verdict, same_step, verdict_of


def verify(path: str | Path, tolerance: float | None = None) -> Verdict:
    """Compares the network's maps, of its own input size, with the golden ones.

    tolerance: largest difference that passes; None takes that of the compute dtype.

    Raises:
      UserError: no run there, no golden record, or one of another checkpoint.
    """
    golden = read_golden(Path(path))
    model, folded = load(path, "best", fold=False), load(path, "best")
    same_step(path, golden, model.meta)
    images, size = jnp.asarray(golden["image"]), int(golden["size"])

    def maps(model: Model) -> np.ndarray:
        run = jax.jit(lambda variables, images: model.apply(variables, model.prepare(images, size))["map"])
        return np.asarray(run(model.variables, images))

    expected, dtype = golden["map"].astype(np.float32), model.config.model.dtype
    return verdict_of(path, maps(model), expected, dtype, model.meta, tolerance, folded=maps(folded))
