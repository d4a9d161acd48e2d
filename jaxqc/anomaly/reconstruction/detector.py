"""Networks that rebuild an image or its features, as a `Trained` detector."""

from typing import Any

from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.reconstruction import Networks, ReconstructionConfig
from jaxqc.anomaly.features import PIXELS, Backbone, by_halves
from jaxqc.anomaly.reconstruction.networks import ENCODINGS, network, with_code
from jaxqc.anomaly.reconstruction.objective import Rebuilding
from jaxqc.anomaly.reconstruction.score import differences, scored
from jaxqc.anomaly.reconstruction.target import target
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables


class Reconstructed(OnBackbone[ReconstructionConfig]):
    """The networks over one backbone, which may be the image itself."""

    states = (Networks,)

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
        return Rebuilding(self.config, backbone, size)

    def trained(self, variables: Variables) -> Networks:
        """The networks with their batch norm folded."""
        return Networks(fold_batch_norm(variables)["params"])

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """The thing that is rebuilt."""
        return target(layers)

    def score(self, state: Networks, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
        """Map of the difference, or of the head's probability."""
        config = with_code(self.config, state.params)
        networks = network(config, folded=True)

        def apart(params: Any, seen: Float[Array, "b h w c"]) -> tuple[Float[Array, "b _ _"], Float[Array, " b"] | None]:
            if config.adversary.game != "none":
                return judged(config, answering(config, {"params": params}, seen.shape[1], folded=True), seen)
            return judged(config, lambda x, **more: networks.apply({"params": params}, x, **more), seen)

        return scored(config, *by_halves(apart)(state.params, embedded), size)
