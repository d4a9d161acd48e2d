"""Networks that rebuild an image or its features, as a `Trained` detector."""

from typing import Any

from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.reconstruction import Networks, ReconstructionConfig
from jaxqc.anomaly.features import Backbone, by_halves, check_pixels
from jaxqc.anomaly.reconstruction.adversary import Playing
from jaxqc.anomaly.reconstruction.networks import ENCODINGS, network, with_code
from jaxqc.anomaly.reconstruction.objective import DENSITY, Rebuilding
from jaxqc.anomaly.reconstruction.players import CRITIC, MAKERS, answering
from jaxqc.anomaly.reconstruction.score import judged, scored
from jaxqc.anomaly.reconstruction.target import target
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.models.dcgan import SMALLEST
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables


class Reconstructed(OnBackbone[ReconstructionConfig]):
    """The networks over one backbone, which may be the image itself."""

    states = (Networks,)

    @property
    def refuses_onnx(self) -> str:
        """The reason where an image is scored by descent."""
        if self.config.encoder == "search" or self.config.map == "projection":
            return f"{self.config.descent.steps} steps of descent score an image, whose gradients ONNX does not have"
        return ""

    def method(self, backbone: Backbone, size: int) -> Rebuilding:
        """Their training. Raises UserError where the recipe does not go with the backbone or the images' size."""
        played = self.config.adversary.game != "none"
        encoding: Any = (MAKERS if played else ENCODINGS)[self.config.encoder]
        if encoding.pixels:
            check_pixels(self.backbone.name)
        whole = encoding.multiple(self.config)
        if size % whole:
            raise UserError(f"data.size={size}: this network's levels need a multiple of {whole} pixels")
        if played and (size & (size - 1) or size < 2 * SMALLEST):
            raise UserError(f"data.size={size}: this network and its critic halve down; take a power of two from"
                            f" {2 * SMALLEST} pixels, such as 64")  # fmt: skip
        return (Playing if played else Rebuilding)(self.config, backbone, size)

    def trained(self, variables: Variables) -> Networks:
        """The networks with their batch norm folded; without a critic that has no part in a score."""
        params = fold_batch_norm(variables)["params"]
        if self.config.adversary.game != "none" and self.config.image not in CRITIC:
            params = {name: value for name, value in params.items() if name != "critic"}
        return Networks(params | {name: value for name, value in variables.items() if name == DENSITY})

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """The thing that is rebuilt."""
        return target(layers)

    def score(self, state: Networks, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
        """Map of the difference, or of the head's probability."""
        config = with_code(self.config, state.params)

        def apart(params: Any, seen: Float[Array, "b h w c"]) -> Any:
            if config.adversary.game != "none":
                return judged(config, answering(config, {"params": params}, seen.shape[1], folded=True), seen)
            networks = network(config, folded=True)
            own = {name: value for name, value in params.items() if name != DENSITY}
            fitted = {name: value for name, value in params.items() if name == DENSITY}
            return judged(config, lambda x, **more: networks.apply({"params": own}, x, **more) | fitted, seen)

        return scored(config, *by_halves(apart)(state.params, embedded), size)
