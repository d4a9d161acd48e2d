"""GCRANet's objective: cross entropy, structure and overlap of every map."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.saliency.losses import overlap_loss, probability_cross_entropy, ssim
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class GCRANetObjective:
    """Σ over the five maps of BCE + (1 − SSIM, window 11) + (1 − IoU), with these weights."""

    cross_entropy: float = 1.0
    structure: float = 1.0
    overlap: float = 1.0

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_bce`, `loss_ssim` and `loss_iou`, not weighted."""
        maps, mask = [out["map"], *(out[f"map{k}"] for k in range(2, 6))], batch["mask"]
        cross_entropy = jnp.asarray(sum(probability_cross_entropy(p, mask) for p in maps))
        structure = jnp.asarray(sum(1 - ssim(p, mask) for p in maps))
        overlap = jnp.asarray(sum(overlap_loss(p, mask) for p in maps))
        total = self.cross_entropy * cross_entropy + self.structure * structure + self.overlap * overlap
        return total, {"loss_bce": cross_entropy, "loss_ssim": structure, "loss_iou": overlap}
