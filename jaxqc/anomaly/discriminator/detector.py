"""Heads over the features of one backbone that find where these are disturbed, as a `Trained` detector."""

from typing import Any, cast

import flax.linen as nn
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.discriminator import Heads, SuperSimpleNet
from jaxqc.anomaly.discriminator.network import Discriminator, doubled
from jaxqc.anomaly.discriminator.objective import Discrimination
from jaxqc.anomaly.features import Backbone, by_halves
from jaxqc.anomaly.ops.maps import distance_map
from jaxqc.data.resizing import Size, sides
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables


class Discriminating(OnBackbone[SuperSimpleNet]):
    """The heads over a backbone."""

    states = (Heads,)

    @property
    def labelled(self) -> bool:
        """True where it learns from defective images, too."""
        return self.config.labelled

    def method(self, backbone: Backbone, size: int) -> Discrimination:
        """Their training over `backbone`."""
        return Discrimination(self.config, backbone, size)

    def trained(self, variables: Variables) -> Heads:
        """The heads with their batch norm folded."""
        return Heads(fold_batch_norm(variables)["params"])

    def embed(self, layers: Layers, image: Image) -> Layers:
        """The features."""
        return layers

    def score(self, state: Heads, embedded: Layers, size: Size) -> Scored:
        """Softplus of the logits."""
        network = Discriminator(Norm(folded=True))

        def found(params: Any, layers: Layers) -> tuple[Float[Array, "b h w"], Float[Array, " b"]]:
            cells, score = cast(tuple[Array, Array], network.apply({"params": params}, doubled(layers)))
            return nn.softplus(cells), nn.softplus(score)

        cells, score = by_halves(found)(state.heads, embedded)
        return distance_map(cells, *sides(size), self.config.sigma), score
