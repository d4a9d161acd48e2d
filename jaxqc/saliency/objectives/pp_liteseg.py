"""PP-LiteSeg's objective: cross entropy of the hardest pixels, of three heads."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.saliency.losses import hardest_cross_entropy
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class PPLiteSegObjective:
    """Σ over the heads at strides 8, 16 and 32 of the cross entropy of an image's pixels that are hard.

    Hard are those whose class has less than `threshold`, and at least a `least`-th of all (arXiv 2204.02681). Ours
    counts them in each image, the published code in the batch.
    """

    threshold: float = 0.7
    least: int = 16

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs that of each head: `loss_8`, `loss_16` and `loss_32`."""
        heads = {
            f"loss_{stride}": hardest_cross_entropy(out[f"out{stride}"], batch["mask"], self.threshold, self.least)
            for stride in (8, 16, 32)
        }
        return jnp.asarray(sum(heads.values())), heads
