"""Autoencoders with several outputs, as a `Trained` detector."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.several import SettledNetwork, SeveralConfig, SeveralNetwork
from jaxqc.anomaly.features import by_halves, check_pixels
from jaxqc.anomaly.ops.maps import distance_map, top_score
from jaxqc.anomaly.several.objective import SeveralTraining, both_odd, differences, network, seen
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features

State = SeveralNetwork | SettledNetwork


class Several(OnBackbone[SeveralConfig]):
    """A network over images."""

    states = (SeveralNetwork, SettledNetwork)

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> SeveralTraining:
        """Its training. Raises UserError for another backbone than pixels, and sides that do not divide."""
        check_pixels(self.backbone.name)
        if size % self.config.multiple:
            raise UserError(f"data.size={size}: this network takes a multiple of {self.config.multiple} pixels")
        return SeveralTraining(self.config, backbone, size)

    def trained(self, variables: Variables) -> SeveralNetwork:
        """The network with its batch norm folded; its scales have no unit yet."""
        return SeveralNetwork(fold_batch_norm(variables)["params"])

    @property
    def settled(self) -> Callable[[Any, tuple[Float[np.ndarray, "n _ _"], ...]], SettledNetwork] | None:
        """The state with mean and deviation of each scale's differences; None where there are no scales."""
        if self.config.outputs != "scales":
            return None
        of = lambda grids, how: np.array([how(grid) for grid in grids], np.float32)
        return lambda state, grids: SettledNetwork(state.params, of(grids, np.mean), of(grids, np.std))

    def grids(self, state: State, embedded: Float[Array, "b h w c"]) -> tuple[Float[Array, "b _ _"], ...]:
        """The differences, each scale's at its own size."""
        config = self.config

        def found(params: Any, image: Any) -> Any:
            images = seen(config, image)
            out: Any = network(config, folded=True).apply({"params": params}, images)
            return differences(config, out, images)

        return by_halves(found)(state.params, embedded)

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """The image."""
        return jnp.asarray(layers[0])

    def score(self, state: State, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
        """The differences, of scales in their deviations above the mean."""
        grids = self.grids(state, embedded)
        if isinstance(state, SettledNetwork):
            units = zip(grids, jnp.asarray(state.mean), jnp.maximum(jnp.asarray(state.deviation), 1e-9), strict=True)
            grids = tuple(jnp.maximum((grid - mean) / deviation, 0.0) for grid, mean, deviation in units)
        maps = distance_map(both_odd(grids), *sides(size), self.config.sigma)
        return maps, top_score(maps, self.config.top)
