"""Transformers over patches, as a `Trained` detector."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.patches import CentredNetwork, PatchesConfig, PatchNetwork
from jaxqc.anomaly.features import by_halves, check_pixels
from jaxqc.anomaly.ops.maps import distance_map, top_score
from jaxqc.anomaly.patches.networks import KINDS, network
from jaxqc.anomaly.patches.objective import Patching, differences
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features


class Patched(OnBackbone[PatchesConfig]):
    """A network over images."""

    states = (PatchNetwork, CentredNetwork)

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> Patching:
        """Its training. Raises UserError for another backbone than pixels, and sides that it does not take."""
        check_pixels(self.backbone.name)
        kind, side = KINDS[self.config.network], self.config.side
        least = kind.least(self.config)
        if size % side or size < least or (kind.alone and size != least):
            most = f"{least} pixels" if kind.alone else f"a multiple of {side} pixels, {least} at least"
            raise UserError(f"data.size={size}: this network takes {most}")
        return Patching(self.config, backbone, size)

    def trained(self, variables: Variables) -> PatchNetwork:
        """The network with its batch norm folded; its maps have no mean yet."""
        return PatchNetwork(fold_batch_norm(variables)["params"])

    @property
    def placed(self) -> Callable[[Any, tuple[Float[np.ndarray, "h w"], ...]], CentredNetwork] | None:
        """The state with the mean map of the fitted images, where maps are centred; else None."""
        return (lambda state, means: CentredNetwork(state.params, means[0])) if self.config.centred else None

    def grids(
        self, state: PatchNetwork | CentredNetwork, embedded: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b h w"], ...]:
        """Each pixel's difference."""
        return (differences(self.config, self.answer(state, embedded), embedded),)

    def answer(self, state: PatchNetwork | CentredNetwork, embedded: Float[Array, "b h w c"]) -> Any:
        """All that the network gives."""
        apply = by_halves(lambda params, x: network(self.config, folded=True).apply({"params": params}, x))
        return apply(state.params, embedded)

    def rebuilt(
        self, state: PatchNetwork | CentredNetwork, embedded: Float[Array, "b h w c"]
    ) -> Float[Array, "b h w c"]:
        """The images as the network rebuilds them."""
        return self.answer(state, embedded)["rebuilt"]

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """The image."""
        return jnp.asarray(layers[0])

    def score(self, state: PatchNetwork | CentredNetwork, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
        """The differences, from their mean where that is known."""
        (grid,) = self.grids(state, embedded)
        if isinstance(state, CentredNetwork):
            grid = jnp.square(grid - jnp.asarray(state.mean))
        maps = distance_map(grid, *sides(size), self.config.sigma)
        return maps, top_score(maps, self.config.top)
