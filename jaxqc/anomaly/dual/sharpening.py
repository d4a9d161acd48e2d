"""The third training of DSR: a fine mask of painted textures."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.base import Scored
from jaxqc.anomaly.detectors.dsr import Dsr
from jaxqc.anomaly.detectors.stage import Known
from jaxqc.anomaly.dual.networks import Map, coded, decoded, finer, restored, scaled, slim
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.learned.corrupt import corrupt, some, textures_for
from jaxqc.anomaly.learned.focal import focal
from jaxqc.anomaly.learned.scored_loss import ScoredLoss
from jaxqc.anomaly.ops.maps import box_mean, image_score
from jaxqc.models.dsr import MASK_WIDTH, MaskNet
from jaxqc.training.method import Logs
from jaxqc.types import Batch, Variables


def masks(config: Dsr, variables: Variables, image: Map) -> tuple[Float[Array, "n s t"], Float[Array, "n s t"]]:
    """The logits of the coarse and of the fine mask of images in [0, 1]. variables: as `DualNetworks` has them."""
    codebook = variables["codebook"]
    codes = coded(config, codebook, image)
    seen = decoded(config, codebook, codes)
    found = restored(config, codebook, variables["restore"], codes, seen)
    return found.logits, finer(config, variables["upsample"], found, seen)


def shown(config: Dsr, variables: Variables, image: Map) -> Float[Array, "n s t 3"]:
    """The images in [0, 1] as good ones look, by their codes. variables: as `DualNetworks` has them."""
    codes = coded(config, variables["codebook"], image)
    seen = decoded(config, variables["codebook"], codes)
    return restored(config, variables["codebook"], variables["restore"], codes, seen).image


def scored(config: Dsr, variables: Variables, image: Map) -> Scored:
    """The fine mask as the map, and the coarse one's highest mean over a square as the score."""
    coarse, fine = map(jax.nn.sigmoid, masks(config, variables, image))
    return fine, image_score(box_mean(coarse, config.window))


@dataclass(frozen=True, eq=False)
class Sharpening(ScoredLoss):
    """The training of the network of the fine mask. codebook, restore: the trained ones; none before `after`."""

    config: Dsr
    pixels: Backbone
    size: int
    codebook: Any = None
    restore: Any = None

    def after(self, known: Known) -> "Sharpening":
        """The same behind trained networks."""
        return replace(self, codebook=slim(known["codebook"]), restore=known["restore"]["params"])

    def init(self, key: jax.Array) -> Variables:
        """A network drawn at random."""
        image, two = (jnp.zeros((1, self.size, self.size, c)) for c in (3, 2))
        return dict(MaskNet(scaled(self.config, MASK_WIDTH)).init(key, (image, image, two)))

    def frozen(self) -> dict[str, Any]:
        """The other networks, and the textures."""
        textures = textures_for("texture", self.size, self.config.pictures)
        return {"codebook": self.codebook, "restore": self.restore, **textures}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The focal loss of images with textures painted into a share of them."""
        painted = corrupt("texture", batch["image"], batch["key"], model_state["textures"])
        image, mask = some(batch["image"], painted, batch["key"], self.config.share)
        return self._focal({"params": params, **model_state}, image, mask).mean(), ({}, {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The loss of the images as they are."""
        return self._focal(variables, batch["image"], jnp.zeros(batch["image"].shape[:3]))

    def scores(self, variables: Variables, images: UInt8[Array, "b s s c"]) -> Float[Array, " b"]:
        """By the coarse mask."""
        return scored(self.config, _named(variables), self.pixels.apply(self.pixels.variables, images)[0])[1]

    def _focal(self, variables: Variables, images: Any, mask: Any) -> Float[Array, " b"]:
        image = self.pixels.apply(self.pixels.variables, images)[0]
        return focal(masks(self.config, _named(variables), image)[1], mask).mean((1, 2))


def _named(variables: Variables) -> Variables:
    """The training's variables by the names of `DualNetworks`."""
    return {"codebook": variables["codebook"], "restore": variables["restore"], "upsample": variables["params"]}
