"""The objective of our reading of FFRNet: defect and ground, each by its own head, made to agree."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.resizing import resize
from jaxqc.saliency.losses import binary_cross_entropy, overlap_loss
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class FFRNetObjective:
    """Σ over three scales of BCE + (1 − IoU) of the defect p and of 1 − q, + half of mean |p + q − 1|.

    Our reading; no code or layer figures are public. Logits are enlarged to the mask.
    """

    mask: float = 1.0
    """Weight of BCE + (1 − IoU)."""
    agreement: float = 0.5
    """Weight of mean |p + q − 1|."""

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_mask` and `loss_agreement`, not weighted."""
        target, masks, agreement = batch["mask"], jnp.zeros(()), jnp.zeros(())
        for stride in (4, 8, 16):
            defect, ground = (resize(out[f"{name}{stride}"][..., None], *target.shape[1:3])[..., 0] for name in "pq")
            for logits in (defect, -ground):
                masks += binary_cross_entropy(logits, target) + overlap_loss(jax.nn.sigmoid(logits), target)
            agreement += jnp.abs(jax.nn.sigmoid(defect) + jax.nn.sigmoid(ground) - 1).mean()
        total = self.mask * masks + self.agreement * agreement
        return total, {"loss_mask": masks, "loss_agreement": agreement}
