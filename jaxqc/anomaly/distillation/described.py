"""EfficientAD in use: a student of descriptions, and an autoencoder whose answer the student's other half predicts."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.distill_config import DistillConfig
from jaxqc.anomaly.distillation.describing import Describing
from jaxqc.anomaly.learned.discrepancy import discrepancy
from jaxqc.anomaly.learned.fuse import fuse
from jaxqc.anomaly.ops.maps import smooth, top_score
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models.pdn import LEAST_SIDE, PDNS, WHOLE, Autoencoder, Pdn
from jaxqc.types import ArrayLike, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features

QUANTILES = (0.9, 0.995)
"""Quantile of a map's pixels on normal images, whose distance becomes 0.1."""


class Describer(NamedTuple):
    """The trained networks: student and autoencoder, the teacher's mean and deviation [c], each map's factor [2]."""

    student: Any
    autoencoder: Any
    mean: Any
    deviation: Any
    factors: Any


class Described(OnBackbone[DistillConfig]):
    """Descriptions of a frozen network, imitated by a student and by an autoencoder (arXiv 2303.14535)."""

    states = (Describer,)

    @property
    def student(self) -> Pdn:
        """The teacher's network with twice the outputs: its own descriptions, and the autoencoder's."""
        return Pdn(PDNS[self.backbone.name].doubled())

    def autoencoder(self, axis_name: str | None = None) -> Autoencoder:
        """The autoencoder."""
        spec = PDNS[self.backbone.name]
        return Autoencoder(spec.channels, spec.width, axis_name=axis_name)

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> Describing:
        """The training beside `backbone`. Raises UserError where it does not go with such images."""
        if (name := self.backbone.name) not in PDNS or PDNS[name].padded:
            names = ", ".join(name for name, spec in PDNS.items() if not spec.padded)
            raise UserError(f"backbone.name={self.backbone.name}: its descriptions come from one of {names}; and set"
                            " --backbone.layers 1")  # fmt: skip
        if size % WHOLE or size < LEAST_SIDE:
            near = max(LEAST_SIDE, round(size / WHOLE) * WHOLE)
            raise UserError(f"data.size={size} must be a multiple of {WHOLE}, {LEAST_SIDE} at least; take {near}")
        return Describing(self, backbone, size)

    def answers(self, params: Any, image: Float[ArrayLike, "b s s 3"]) -> tuple[Array, Array]:
        """The student's two halves [b h w c]: what it takes for the teacher's descriptions and the autoencoder's."""
        found: Any = self.student.apply({"params": params}, image)
        own, others = jnp.split(found["layer1"], 2, -1)
        return own, others

    def trained(self, variables: Variables) -> Describer:
        """Student and autoencoder; maps have no common unit yet."""
        params, statistics = variables["params"], variables["statistics"]
        ones = np.ones(2, np.float32)
        return Describer(params["student"], params["autoencoder"], statistics["mean"], statistics["deviation"], ones)

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Image]:
        """The teacher's descriptions and the image."""
        return layers, image

    def grids(self, state: Describer, embedded: tuple[Layers, Any]) -> tuple[Float[Array, "b h w"], ...]:
        """Both maps in their own units, a cell for four pixels; the rim that no description has is 0."""
        (layer,), image = embedded
        own, others = self.answers(state.student, image)
        rebuilt = self.autoencoder().apply({"params": state.autoencoder}, image)
        standard = (jnp.asarray(layer) - state.mean) / state.deviation
        rim = (image.shape[1] // 4 - own.shape[1]) // 2
        pairs = (standard, own), (jnp.asarray(rebuilt), others)
        return tuple(jnp.pad(discrepancy("mse", t, s), ((0, 0), (rim, rim), (rim, rim))) for t, s in pairs)

    def settled(self, state: Describer, grids: tuple[Float[np.ndarray, "n h w"], ...]) -> Describer:
        """The state whose maps share a unit: the way between two quantiles of normal images' pixels is 0.1 in both.

        The published maps are shifted so that the lower quantile is 0, too; that ranks nothing, and leaves values
        below 0.
        """
        spans = [np.subtract(*np.quantile(grid, QUANTILES[::-1])) for grid in grids]
        return state._replace(factors=np.asarray([0.1 / max(span, 1e-12) for span in spans], np.float32))

    def score(self, state: Describer, embedded: tuple[Layers, Any], size: Size) -> Scored:
        """The mean of both maps."""
        config = self.config
        grids = tuple(factor * grid for factor, grid in zip(state.factors, self.grids(state, embedded), strict=True))
        maps = smooth(fuse(grids, config.fuse, *sides(size), config.aligned), config.sigma)
        return maps, top_score(maps, config.top)
