"""A flow over one backbone as a `Trained` detector."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.flow import SETTLED, FlowAndBackbone, FlowConfig, FlowInUnits, FlowInWhite, FlowWeights
from jaxqc.anomaly.features import Backbone, apply_function, by_halves, plain, seeing
from jaxqc.anomaly.flow.network import Flow, conditions, entering, flow_of
from jaxqc.anomaly.flow.objective import Likelihood
from jaxqc.anomaly.flow.score import attributed, constants_of, latent_score, own_units, placed, scored
from jaxqc.anomaly.flow.white import whitened
from jaxqc.anomaly.ops.maps import smooth
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike, Variables


class FlowDetector(OnBackbone[FlowConfig]):
    """A flow by its settings, over the features of a backbone."""

    states = (FlowWeights, FlowInUnits, FlowInWhite, FlowAndBackbone)

    @property
    def views(self) -> Callable[[Float[Array, "b h w 3"]], tuple[Float[Array, "b _ _ 3"], ...]] | None:
        """The image in each of its turns at each of its sizes; None where there is but one."""
        config = self.config
        return None if (config.scales, config.turns) == ((1,), 1) else lambda image: seen(config, image)

    @property
    def any_scale(self) -> bool:
        """True where it sees the backbone's layers alone, as they come."""
        return self.views is None and self.config.pool != "mean"

    def method(self, backbone: Backbone, size: int) -> Likelihood:
        """The flow's training over the backbone's features.

        Raises:
          UserError: settings that do not go with the backbone's layers.
        """
        if (self.views is not None or self.config.place == "pixels") and len(self.backbone.parts) > 1:
            raise UserError(
                f"backbone.name={self.backbone.name!r}: detector.scales, turns and place=pixels go with one network"
            )
        if self.views is not None:
            backbone = replace(backbone, apply=apply_function(self.backbone, views=self.views))
        shapes = backbone.shapes(size)
        flow_of(self.config, shapes)
        return Likelihood(self.config, backbone, shapes, size)

    def trained(self, variables: Variables) -> FlowWeights | FlowInUnits | FlowInWhite | FlowAndBackbone:
        """The flow's parameters, with what its maps need beside; they have no common unit yet."""
        params = variables["params"]
        if self.config.place == "pixels":
            return FlowAndBackbone(params, variables["backbone"])
        if self.config.whiten:
            whitening = variables["whitening"]
            return FlowInWhite(params, np.ones(len(whitening), np.float32), whitening)
        return FlowInUnits(params, np.zeros(0, np.float32)) if self.config.combine in SETTLED else FlowWeights(params)

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Layers]:
        """The layers as the flow takes them and, of one that takes means alone, the first view's finest layer, or the
        image."""
        beside = layers[:1] if self.config.pool == "mean" else ()
        if self.config.place == "pixels" and image is not None:
            beside = (image,)
        return entering(self.config, layers), beside

    def start(self, state: Any, xs: Layers) -> Layers:
        """The flow's input of what enters it: the same, or whitened."""
        return whitened(state.whitening, xs) if self.config.whiten else xs

    def run(self, params: Any, xs: Layers) -> Any:
        """The flow's z and ln|det| of what enters it."""
        flow = Flow(self.config, tuple(x.shape[-1] for x in xs))
        return flow.apply({"params": params}, xs, conditions(self.config, xs))

    def score(self, state: Any, embedded: tuple[Layers, Layers], size: Size) -> Scored:
        """Maps and scores, by a state of `states`."""
        if not embedded[1]:
            zs, dets = by_halves(self.run)(state.params, self.start(state, embedded[0]))
            return scored(self.config, zs, dets, size, getattr(state, "constants", ()))
        scores, cells = by_halves(self.shares)(state._asdict(), embedded)
        return smooth(placed(self.config, cells, size), self.config.sigma), scores

    def shares(
        self, variables: Variables, embedded: tuple[Layers, Layers]
    ) -> tuple[Float[Array, " b"], Float[Array, "b _ _"]]:
        """Scores, and the share of each cell or pixel in them."""
        (xs, beside), value = embedded, lambda xs: latent_score(self.run(variables["params"], xs)[0])
        if self.config.place == "cells":
            return value(xs), attributed(value, xs, beside)
        see = seeing(self.backbone, self.views)
        of = lambda image: value(entering(self.config, see(variables["backbone"], plain(image)))).sum()
        return value(xs), jnp.abs(jax.grad(of)(jnp.asarray(beside[0]))).mean(-1)

    @property
    def settled(self) -> Callable[[Any, tuple[Float[np.ndarray, "n _ _"], ...]], FlowInUnits | FlowInWhite] | None:
        """The state with a constant of each layer, by the layers' grids of normal images; None where it takes none."""
        if self.config.combine not in SETTLED:
            return None
        return lambda state, grids: state._replace(constants=constants_of(self.config, grids))

    def grids(
        self, state: FlowInUnits | FlowInWhite, embedded: tuple[Layers, Layers]
    ) -> tuple[Float[Array, "b _ _"], ...]:
        """Each layer's cells in their own unit."""
        return own_units(self.config, *self.run(state.params, self.start(state, embedded[0])))


def seen(config: FlowConfig, image: Float[ArrayLike, "b h w 3"]) -> tuple[Float[Array, "b _ _ 3"], ...]:
    """An image turned `config.turns` times, each time at the sizes of `config.scales`.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import DifferNet
      >>> [x.shape[1:3] for x in seen(DifferNet(scales=(1, 2), turns=2), jnp.zeros((1, 8, 8, 3)))]
      [(8, 8), (4, 4), (8, 8), (4, 4)]
    """
    turned = (jnp.rot90(jnp.asarray(image), turn * (4 // config.turns), (1, 2)) for turn in range(config.turns))
    return tuple(resize(x, x.shape[1] // scale, x.shape[2] // scale) for x in turned for scale in config.scales)
