"""Networks that rebuild an image or its features, as a `Trained` detector."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.reconstruction import Networks, Rebuilder, ReconstructionConfig
from jaxqc.anomaly.features import PIXELS, Backbone, by_halves
from jaxqc.anomaly.reconstruction.networks import ENCODINGS, network, with_code
from jaxqc.anomaly.reconstruction.objective import Rebuilding
from jaxqc.anomaly.reconstruction.score import differences, scored, usual
from jaxqc.anomaly.reconstruction.target import target
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables


class Reconstructed(OnBackbone[ReconstructionConfig]):
    """The networks over one backbone, which may be the image itself."""

    states = (Networks, Rebuilder)

    def method(self, backbone: Backbone, size: int) -> Rebuilding:
        """Their training. Raises UserError where the recipe does not go with the backbone or the images' size."""
        encoding = ENCODINGS[self.config.encoder]
        if encoding.pixels and self.backbone.name != PIXELS:
            raise UserError(
                f"backbone.name={self.backbone.name}: this detector rebuilds the image itself; take --backbone.name"
                f" {PIXELS} --backbone.layers 1"
            )
        whole = encoding.multiple(self.config)
        if size % whole:
            raise UserError(f"data.size={size}: this network's levels need a multiple of {whole} pixels")
        encoding.check(self.config, backbone.shapes(size))
        return Rebuilding(self.config, backbone, size)

    def trained(self, variables: Variables) -> Rebuilder:
        """The networks with their batch norm folded."""
        return Rebuilder(fold_batch_norm(variables)["params"], np.ones((1, 1), np.float32))

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """The thing that is rebuilt."""
        return target(layers, self.config.grid)

    @property
    def placed(self) -> Callable[[Rebuilder, tuple[Float[np.ndarray, "h w"], ...]], Rebuilder] | None:
        """The state with the usual difference of each cell; None where maps are not relative."""
        return (lambda state, means: state._replace(usual=usual(means[0]))) if self.config.relative else None

    def grids(self, state: Networks | Rebuilder, embedded: Float[Array, "b h w c"]) -> tuple[Float[Array, "b h w"]]:
        """The difference of each cell, or the head's probability."""
        config = with_code(self.config, state.params)
        networks = network(config, folded=True)

        def apart(params: Any, seen: Float[Array, "b h w c"]) -> Float[Array, "b h w"]:
            return differences(config, lambda x: networks.apply({"params": params}, x), seen)

        return (by_halves(apart)(state.params, embedded),)

    def score(self, state: Networks | Rebuilder, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
        """Map of the difference, or of the head's probability."""
        (grid,) = self.grids(state, embedded)
        return scored(self.config, grid / state.usual if isinstance(state, Rebuilder) else grid, size)
