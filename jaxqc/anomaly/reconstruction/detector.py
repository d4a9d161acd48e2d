"""Networks that rebuild an image or its features, as a `Trained` detector."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.reconstruction import Networks, Rebuilder, ReconstructionConfig
from jaxqc.anomaly.features import Backbone, by_halves, check_pixels
from jaxqc.anomaly.reconstruction.adversary import Playing
from jaxqc.anomaly.reconstruction.hiding import HELD_OUT, rebuilt_by_sets
from jaxqc.anomaly.reconstruction.networks import ENCODINGS, HEAD_MULTIPLES, network, with_code
from jaxqc.anomaly.reconstruction.objective import DENSITY, Rebuilding
from jaxqc.anomaly.reconstruction.players import CRITIC, MAKERS, answering
from jaxqc.anomaly.reconstruction.score import Answer, judged, scored, usual
from jaxqc.anomaly.reconstruction.target import target
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.models.dcgan import SMALLEST
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables


def answer_of(config: ReconstructionConfig, params: Any, side: int) -> Answer:
    """The networks of a fit as a function of images of this side, or of features."""
    own = {"params": {name: value for name, value in params.items() if name != DENSITY}}
    fitted = {name: value for name, value in params.items() if name == DENSITY}
    if config.adversary.game != "none":
        ask: Any = answering(config, own, side, folded=True)
    else:
        ask = partial(network(config, folded=True).apply, own)

    def answer(x: Float[Array, "n h w c"], **more: Any) -> dict[str, Array]:
        found: Any = ask(x, **more)
        return found | fitted

    return answer


class Reconstructed(OnBackbone[ReconstructionConfig]):
    """The networks over one backbone, which may be the image itself."""

    states = (Networks, Rebuilder)

    @property
    def refuses_onnx(self) -> str:
        """The reason where an image is scored by descent, or mapped by a gradient."""
        if self.config.encoder == "search" or self.config.map == "projection":
            return f"{self.config.descent.steps} steps of descent score an image, whose gradients ONNX does not have"
        if self.config.map == "attention":
            return "map=attention weighs a map by a gradient, whose convolutions the converter does not have"
        return ""

    def method(self, backbone: Backbone, size: int) -> Rebuilding:
        """Their training. Raises UserError where the recipe does not go with the backbone or the images' size."""
        played = self.config.adversary.game != "none"
        encoding: Any = (MAKERS if played else ENCODINGS)[self.config.encoder]
        if encoding.pixels:
            check_pixels(self.backbone.name)
        whole = math.lcm(encoding.multiple(self.config), HEAD_MULTIPLES[self.config.head])
        if size % whole:
            raise UserError(f"data.size={size}: this network's levels need a multiple of {whole} pixels")
        if played:
            if size & (size - 1) or size < 2 * SMALLEST:
                raise UserError(f"data.size={size}: this network and its critic halve down; take a power of two from"
                                f" {2 * SMALLEST} pixels, such as 64")  # fmt: skip
            return Playing(self.config, backbone, size)
        encoding.check(self.config, backbone.shapes(size))
        return Rebuilding(self.config, backbone, size)

    def trained(self, variables: Variables) -> Rebuilder:
        """The networks with their batch norm folded; without a critic that has no part in a score or in a code."""
        params, played = fold_batch_norm(variables)["params"], self.config.adversary.game != "none"
        # Where codes are sought, the critic's features say which image is like another.
        if played and self.config.image not in CRITIC and not MAKERS[self.config.encoder].codes:
            params = {name: value for name, value in params.items() if name != "critic"}
        density = {name: value for name, value in variables.items() if name == DENSITY}
        return Rebuilder(params | density, np.ones((1, 1), np.float32))

    def embed(self, layers: Layers, image: Image) -> Float[Array, "b h w c"]:
        """The thing that is rebuilt."""
        return target(layers, self.config.grid)

    @property
    def placed(self) -> Callable[[Rebuilder, tuple[Float[np.ndarray, "h w"], ...]], Rebuilder] | None:
        """The state with the usual difference of each cell; None where maps are not relative."""
        return (lambda state, means: state._replace(usual=usual(means[0]))) if self.config.relative else None

    def judged(
        self, state: Networks | Rebuilder, embedded: Float[Array, "b h w c"]
    ) -> tuple[Float[Array, "b _ _"], Float[Array, " b"] | None]:
        """The difference of each cell, or what else the map is of, and image scores that are not of the map."""
        config = with_code(self.config, state.params)
        apart = lambda params, seen: judged(config, answer_of(config, params, seen.shape[1]), seen)
        return by_halves(apart)(state.params, embedded)

    def rebuilt(self, state: Networks | Rebuilder, embedded: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        """The images, or features, as the networks rebuild them; of a hidden `grid` each part from the others."""
        config = with_code(self.config, state.params)
        answer = answer_of(config, state.params, embedded.shape[1])
        if config.corrupt == "grid":
            return rebuilt_by_sets(lambda part: answer(part)["rebuilt"], embedded, HELD_OUT)
        return answer(embedded)["rebuilt"]

    def grids(self, state: Networks | Rebuilder, embedded: Float[Array, "b h w c"]) -> tuple[Float[Array, "b _ _"]]:
        """The map of each image, in the network's own unit."""
        return (self.judged(state, embedded)[0],)

    def score(self, state: Networks | Rebuilder, embedded: Float[Array, "b h w c"], size: Size) -> Scored:
        """Map of the difference, or of the head's probability."""
        grid, own = self.judged(state, embedded)
        return scored(self.config, grid / state.usual if isinstance(state, Rebuilder) else grid, own, size)
