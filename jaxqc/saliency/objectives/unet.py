"""The objective of the U-Net over a pretrained encoder: class of each pixel, overlap and structure of the map."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.saliency.losses import overlap_loss, pixel_class_loss, ssim
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class UNetObjective:
    """Cross entropy over background and classes + (1 − IoU) + (1 − SSIM, window 11), with these weights.

    The last two are of the map of any defect, as BASNet's (CVPR 2019).
    """

    cross_entropy: float = 1.0
    overlap: float = 1.0
    structure: float = 0.5

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_ce`, `loss_iou` and `loss_ssim`, not weighted."""
        mask = batch["mask"]
        cross_entropy = pixel_class_loss(out["logits"], mask, batch["label"])
        overlap, structure = overlap_loss(out["map"], mask), 1 - ssim(out["map"], mask)
        total = self.cross_entropy * cross_entropy + self.overlap * overlap + self.structure * structure
        return jnp.asarray(total), {"loss_ce": cross_entropy, "loss_iou": overlap, "loss_ssim": structure}
