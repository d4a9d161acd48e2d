"""UCTransNet's objective: Dice and balanced cross entropy."""

from dataclasses import dataclass

import jax
from jaxtyping import Array, Float

from jaxqc.saliency.losses import balanced_cross_entropy, dice_loss
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class UCTransNetObjective:
    """Half of Dice + half of the cross entropy that is balanced between defect and ground (AAAI 2022).

    Ours balances it in each image, the published code in the batch.
    """

    dice: float = 0.5
    cross_entropy: float = 0.5
    smooth: float = 4e-5

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_dice` and `loss_bce`, not weighted."""
        mask = batch["mask"]
        dice, cross_entropy = dice_loss(out["map"], mask, self.smooth), balanced_cross_entropy(out["logits"], mask)
        return self.dice * dice + self.cross_entropy * cross_entropy, {"loss_dice": dice, "loss_bce": cross_entropy}
