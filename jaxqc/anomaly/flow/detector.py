"""A flow over one backbone as a `Trained` detector."""

from dataclasses import dataclass
from typing import Any

from jaxqc.anomaly.detectors.base import Image, Layers, Scored, TrainingConfig
from jaxqc.anomaly.detectors.flow import FlowConfig, FlowWeights
from jaxqc.anomaly.features import Backbone, by_halves
from jaxqc.anomaly.flow.network import Flow, conditions, entering, flow_of
from jaxqc.anomaly.flow.objective import Likelihood
from jaxqc.anomaly.flow.score import scored
from jaxqc.data.resizing import Size
from jaxqc.types import Variables


@dataclass(frozen=True)
class FlowDetector:
    """A flow by its settings; the backbone comes with the features."""

    config: FlowConfig

    states = (FlowWeights,)

    @property
    def training(self) -> TrainingConfig:
        return self.config.training

    def method(self, backbone: Backbone, size: int) -> Likelihood:
        """The flow's training over the backbone's features.

        Raises:
          UserError: settings that do not go with the backbone's layers.
        """
        shapes = backbone.shapes(size)
        flow_of(self.config, shapes)
        return Likelihood(self.config, backbone, shapes)

    def trained(self, variables: Variables) -> FlowWeights:
        """The flow's parameters."""
        return FlowWeights(variables["params"])

    def embed(self, layers: Layers, image: Image) -> Layers:
        """The layers as the flow takes them."""
        return entering(self.config, layers)

    def score(self, state: FlowWeights, embedded: Layers, size: Size) -> Scored:
        flow = Flow(self.config, tuple(x.shape[-1] for x in embedded))
        run: Any = lambda variables, xs: flow.apply(variables, xs, conditions(self.config, xs))
        return scored(self.config, *by_halves(run)({"params": state.params}, embedded), size)
