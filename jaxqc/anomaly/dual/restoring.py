"""The second training of DSR: codes with defects are made normal again, and the defects found."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxqc.anomaly.detectors.dsr import Dsr
from jaxqc.anomaly.detectors.stage import Known
from jaxqc.anomaly.dual.latent import spoilt
from jaxqc.anomaly.dual.networks import Coded, coded, decoded, drawn_restore, restored, slim
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.focal import focal
from jaxqc.anomaly.learned.perlin import perlin_mask
from jaxqc.anomaly.learned.scored_loss import KeyedLoss
from jaxqc.training.method import Logs
from jaxqc.types import Batch, Variables

IMAGE = 10.0
"""Weight of the image's squared error; the other terms have 1."""
THRESHOLD = 0.5
"""Value of the Perlin noise above which a defect is."""


def planned(keys: Key[Array, " b"], size: int, share: float) -> tuple[Float[Array, "b s s"], Key[Array, " b"]]:
    """The mask of each image's defects, empty but in this share of the images, and a key for their codes.

    Examples:
      >>> masks, own = planned(jax.random.split(jax.random.key(0), 2), 32, share=0.0)
      >>> masks.shape, float(masks.max()), own.shape
      ((2, 32, 32), 0.0, (2,))
    """

    def one(key: Key[Array, ""]) -> tuple[Float[Array, "s s"], Key[Array, ""]]:
        # Not by numbers folded in: the noise splits its key, which folds in 0, 1 and 2.
        first, second, third = jax.random.split(key, 3)
        mask = perlin_mask(first, size, size, THRESHOLD, turned=True)
        return jnp.where(jax.random.uniform(second) < share, mask, 0.0), third

    return jax.vmap(one)(keys)


@dataclass(frozen=True, eq=False)
class Restoring(KeyedLoss):
    """The training of the networks behind the codes. codebook: the trained VQ-VAE; none before `after`."""

    config: Dsr
    pixels: Backbone
    size: int
    codebook: Any = None

    def after(self, known: Known) -> "Restoring":
        """The same over trained codes."""
        return replace(self, codebook=slim(known["codebook"]))

    def init(self, key: jax.Array) -> Variables:
        """Networks drawn at random."""
        return {"params": drawn_restore(self.config, key, self.size)}

    def frozen(self) -> dict[str, Any]:
        """The VQ-VAE."""
        return {"codebook": self.codebook}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The loss of images whose codes have defects, in a share of them; each term is logged by its name."""
        config, codebook, keys = self.config, model_state["codebook"], batch["key"]
        image = self.pixels.apply(self.pixels.variables, batch["image"])[0]
        clean, bad, mask = spoilt(config, codebook, image, *planned(keys, self.size, config.share))
        clean, bad = jax.lax.stop_gradient((clean, bad))
        parts = self._parts(params, codebook, image, clean, bad, mask)
        return sum(parts.values(), jnp.zeros(())).mean(), ({}, {name: value.mean() for name, value in parts.items()})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """Those of the images as they are."""
        image = self.pixels.apply(self.pixels.variables, batch["image"])[0]
        codes = coded(self.config, variables["codebook"], image)
        parts = self._parts(variables["params"], variables["codebook"], image, codes, codes, jnp.zeros(image.shape[:3]))
        return sum(parts.values(), jnp.zeros(len(image)))

    def _parts(
        self, params: Any, codebook: Any, image: Any, clean: Coded, bad: Coded, mask: Any
    ) -> dict[str, Float[Array, " b"]]:
        """The terms of each image, as they are weighed."""
        found = restored(self.config, codebook, params, bad, decoded(self.config, codebook, bad))
        apart = lambda a, b: jnp.square(a - b).mean((1, 2, 3))
        codes = {name: apart(a, b) for name, a, b in zip(Coded._fields, found.vectors, clean, strict=True)}
        shown = IMAGE * apart(image, found.image)
        return {**codes, "l2": shown, "focal": focal(found.logits, mask).mean((1, 2))}
