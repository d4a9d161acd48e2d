"""Codes of images made normal, as a `Trained` detector of three trainings."""

from typing import TYPE_CHECKING

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.dsr import Dsr, DualNetworks
from jaxqc.anomaly.detectors.stage import Stage
from jaxqc.anomaly.dual.coding import Coding
from jaxqc.anomaly.dual.networks import MULTIPLE
from jaxqc.anomaly.dual.restoring import Restoring
from jaxqc.anomaly.dual.sharpening import Sharpening, scored, shown
from jaxqc.anomaly.features import by_halves, check_pixels
from jaxqc.anomaly.ops.maps import distance_map
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.types import Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features


class DualSubspace(OnBackbone[Dsr]):
    """The networks over images."""

    states = (DualNetworks,)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The codes, then the networks behind them."""
        config = self.config
        return (
            Stage("codebook", config.codebook, lambda pixels, size: Coding(config, self._seen(pixels, size), size)),
            Stage("restore", config.restore, lambda pixels, size: Restoring(config, self._seen(pixels, size), size)),
        )

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> Sharpening:
        """The fine mask's training. Raises UserError for another backbone than pixels, and sides that do not divide."""
        return Sharpening(self.config, self._seen(backbone, size), size)

    def _seen(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> "jaxqc.anomaly.features.Backbone":
        check_pixels(self.backbone.name)
        if size % MULTIPLE:
            raise UserError(f"data.size={size}: this network's levels need a multiple of {MULTIPLE} pixels")
        return backbone

    def trained(self, variables: Variables) -> DualNetworks:
        """All networks; of the codes' training what is used."""
        return DualNetworks(variables["codebook"], variables["restore"], variables["params"])

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """The image."""
        return jnp.asarray(layers[0])

    def rebuilt(self, state: DualNetworks, embedded: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The images of codes made normal."""
        return by_halves(lambda own, x: shown(self.config, own, x))(state._asdict(), embedded)

    def score(self, state: DualNetworks, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
        """The fine mask's probability, and the coarse one's highest mean over a square."""
        maps, scores = by_halves(lambda own, x: scored(self.config, own, x))(state._asdict(), embedded)
        return distance_map(maps, *sides(size), 0.0), scores
