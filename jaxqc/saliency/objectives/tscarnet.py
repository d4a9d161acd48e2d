"""TSCARNet's objective: cross entropy at every scale, boundaries, and the class."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.pool import block_max, block_mean
from jaxqc.saliency.losses import binary_cross_entropy, boundary_loss, class_loss, dice_loss, edges, overlap_loss, ssim
from jaxqc.saliency.objectives import Logs
from jaxqc.types import Batch


@dataclass(frozen=True)
class TSCARNetObjective:
    """Cross entropy + boundary-aware loss (paper 4.2) over the network's `aux` outputs, summed with these weights.

    L = BCE(final) + 0.5 Σ BCE(m1..m3, r2, r3) + 0.25 Σ BCE(d4, d5) + 0.5 [Σ L_bnd(b1..b3) + Dice_edge(final)]
    + 0.1 CE(class). Coarse masks are compared with mean-pooled soft targets, coarse boundaries with max-pooled ones (a
    thin edge would vanish in an average). Overlap and structure of the final map, which the other networks learn by,
    have no weight unless a recipe gives one.
    """

    final: float = 1.0
    coarse: float = 0.5
    """Weight of the coarse masks `m1`..`m3` and the refined `r2`, `r3`."""
    deep: float = 0.25
    """Weight of the deepest decoder stages' masks, `d4` and `d5`."""
    boundary: float = 0.5
    kind: float = 0.1
    """Weight of the class."""
    overlap: float = 0.0
    """Weight of the final map's 1 − IoU."""
    structure: float = 0.0
    """Weight of the final map's 1 − SSIM, window 11."""

    def __call__(self, out: dict[str, jax.Array], batch: Batch) -> tuple[Float[Array, ""], Logs]:
        """The loss; logs `loss_final`, `loss_coarse`, `loss_deep`, `loss_boundary` and `loss_class`, not weighted, and
        `loss_overlap` and `loss_structure` where they have a weight."""
        mask = batch["mask"]
        side = mask.shape[1]
        coarse = lambda name: binary_cross_entropy(out[name], block_mean(mask, side // out[name].shape[1]))
        edge = edges(mask)
        border = lambda name: boundary_loss(out[name], block_max(edge, side // out[name].shape[1]))
        parts = {
            "final": (self.final, binary_cross_entropy(out["final"], mask)),
            "coarse": (self.coarse, sum(coarse(name) for name in ("m1", "m2", "m3", "r2", "r3"))),
            "deep": (self.deep, sum(coarse(name) for name in ("d4", "d5"))),
            "boundary": (
                self.boundary,
                sum(border(name) for name in ("b1", "b2", "b3")) + dice_loss(edges(out["map"]), edge),
            ),
            "class": (self.kind, class_loss(out["class"], batch["label"])),
        }
        if self.overlap:
            parts["overlap"] = (self.overlap, overlap_loss(out["map"], mask))
        if self.structure:
            parts["structure"] = (self.structure, 1 - ssim(out["map"], mask))
        total = sum(weight * value for weight, value in parts.values())
        return jnp.asarray(total), {f"loss_{name}": jnp.asarray(value) for name, (_, value) in parts.items()}
