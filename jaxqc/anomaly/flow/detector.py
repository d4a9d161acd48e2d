"""A flow over one backbone as a `Trained` detector."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.flow import FlowConfig, FlowWeights
from jaxqc.anomaly.features import Backbone, apply_function, by_halves
from jaxqc.anomaly.flow.network import Flow, conditions, entering, flow_of
from jaxqc.anomaly.flow.objective import Likelihood
from jaxqc.anomaly.flow.score import attributed, latent_score, placed, scored
from jaxqc.anomaly.ops.maps import smooth
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike, Variables


class FlowDetector(OnBackbone[FlowConfig]):
    """A flow by its settings, over the features of a backbone."""

    states = (FlowWeights,)

    @property
    def views(self) -> Callable[[Float[Array, "b h w 3"]], tuple[Float[Array, "b _ _ 3"], ...]] | None:
        """The image in each of its turns at each of its sizes; None where there is but one."""
        config = self.config
        return None if (config.scales, config.turns) == ((1,), 1) else lambda image: seen(config, image)

    def method(self, backbone: Backbone, size: int) -> Likelihood:
        """The flow's training over the backbone's features.

        Raises:
          UserError: settings that do not go with the backbone's layers.
        """
        if self.views is not None:
            if len(self.backbone.parts) > 1:
                raise UserError(f"backbone.name={self.backbone.name!r}: detector.scales and turns go with one network")
            backbone = replace(backbone, apply=apply_function(self.backbone, views=self.views))
        shapes = backbone.shapes(size)
        flow_of(self.config, shapes)
        return Likelihood(self.config, backbone, shapes)

    def trained(self, variables: Variables) -> FlowWeights:
        """The flow's parameters."""
        return FlowWeights(variables["params"])

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Layers]:
        """The layers as the flow takes them and, of one that takes means alone, the first view's finest layer."""
        return entering(self.config, layers), layers[:1] if self.config.pool == "mean" else ()

    def score(self, state: FlowWeights, embedded: tuple[Layers, Layers], size: Size) -> Scored:
        flow = Flow(self.config, tuple(x.shape[-1] for x in embedded[0]))
        run: Any = lambda params, xs: flow.apply({"params": params}, xs, conditions(self.config, xs))
        if not embedded[1]:
            zs, dets = by_halves(run)(state.params, embedded[0])
            return scored(self.config, zs, dets, size)
        value = lambda params, xs: latent_score(run(params, xs)[0])

        def alone(params: Any, pair: tuple[Layers, Layers]) -> tuple[Any, Any]:
            return value(params, pair[0]), attributed(lambda xs: value(params, xs), pair[0], pair[1])

        scores, cells = by_halves(alone)(state.params, embedded)
        return smooth(placed(self.config, cells, size), self.config.sigma), scores


def seen(config: FlowConfig, image: Float[ArrayLike, "b h w 3"]) -> tuple[Float[Array, "b _ _ 3"], ...]:
    """An image turned `config.turns` times, each time at the sizes of `config.scales`.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import DifferNet
      >>> [x.shape[1:3] for x in seen(DifferNet(scales=(1, 2), turns=2), jnp.zeros((1, 8, 8, 3)))]
      [(8, 8), (4, 4), (8, 8), (4, 4)]
    """
    turned = (jnp.rot90(jnp.asarray(image), turn * (4 // config.turns), (1, 2)) for turn in range(config.turns))
    return tuple(resize(x, x.shape[1] // scale, x.shape[2] // scale) for x in turned for scale in config.scales)
