"""MINet's objective: cross entropy and structural similarity of every map."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.saliency.losses import probability_cross_entropy, ssim
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class MINetObjective:
    """Σ over the five maps of BCE + (1 − SSIM, window 11) (arXiv 2405.16096), with these weights."""

    cross_entropy: float = 1.0
    structure: float = 1.0

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_bce` and `loss_ssim`, not weighted."""
        maps, mask = [out["map"], *(out[f"map{k}"] for k in range(2, 6))], batch["mask"]
        cross_entropy = sum(probability_cross_entropy(p, mask) for p in maps)
        structure = sum(1 - ssim(p, mask) for p in maps)
        return jnp.asarray(self.cross_entropy * cross_entropy + self.structure * structure), {
            "loss_bce": jnp.asarray(cross_entropy),
            "loss_ssim": jnp.asarray(structure),
        }
