"""CKLNet's objective: the map of the image's own class, and the class."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.saliency.losses import class_loss, probability_cross_entropy, ssim
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class CKLNetObjective:
    """BCE + (1 − SSIM, window 11) of the own class's decoder + cross entropy of the class, with these weights.

    An image without a class teaches the decoder that the network takes for it.
    """

    cross_entropy: float = 1.0
    structure: float = 1.0
    kind: float = 1.0
    """Weight of the class."""

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_bce`, `loss_ssim` and `loss_class`, not weighted."""
        mask, label = batch["mask"], batch["label"]
        own = jnp.where(label >= 0, label, out["class"].argmax(-1))
        found = jnp.take_along_axis(out["maps"], own[:, None, None, None], -1)[..., 0]
        cross_entropy, structure = probability_cross_entropy(found, mask), 1 - ssim(found, mask)
        kind = class_loss(out["class"], label)
        total = self.cross_entropy * cross_entropy + self.structure * structure + self.kind * kind
        return total, {"loss_bce": cross_entropy, "loss_ssim": structure, "loss_class": kind}
