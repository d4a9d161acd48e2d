"""CorrNet's objective: cross entropy and overlap of every map."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.resizing import resize_align_corners
from jaxqc.saliency.losses import binary_cross_entropy, overlap_loss
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class CorrNetObjective:
    """Σ of BCE + (1 − IoU) over `s1`, `s2`, `s3` and the guide `g`, their logits enlarged to the mask (TGRS 2022).

    1 is added to both parts of an image's IoU, so that an empty mask has one.
    """

    cross_entropy: float = 1.0
    overlap: float = 1.0

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_bce` and `loss_iou`, not weighted."""
        mask = batch["mask"]
        enlarged = [
            resize_align_corners(out[name][..., None], *mask.shape[1:3])[..., 0] for name in ("s1", "s2", "s3", "g")
        ]
        cross_entropy = jnp.asarray(sum(binary_cross_entropy(z, mask) for z in enlarged))
        overlap = jnp.asarray(sum(overlap_loss(jax.nn.sigmoid(z), mask) for z in enlarged))
        total = self.cross_entropy * cross_entropy + self.overlap * overlap
        return total, {"loss_bce": cross_entropy, "loss_iou": overlap}
