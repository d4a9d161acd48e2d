"""Networks that learn what good images have in common, as a `Trained` detector: one entry for each objective."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.one_class import OneClassConfig
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.one_class import deviation
from jaxqc.data.resizing import Size
from jaxqc.types import Variables


class Way(NamedTuple):
    """An objective's training and use.

    method: recipe, loaded backbone, side in pixels → its training. trained: recipe, variables → the state. embed:
    layers and normalised image → what `score` takes. score: recipe, state, embedding, size → maps and scores.
    """

    method: Callable[[OneClassConfig, Backbone, int], Any]
    trained: Callable[[OneClassConfig, Variables], Any]
    embed: Callable[[Layers, Image], Any]
    score: Callable[[OneClassConfig, Any, Any, Size], Scored]
    localises: bool = True


WAYS: dict[str, Way] = {
    "deviation": Way(deviation.Deviation, deviation.trained, deviation.embed, deviation.score),
}
"""By `OneClassConfig.objective`."""


class OneClass(OnBackbone[OneClassConfig]):
    """The networks over one backbone, which may be the image itself."""

    states = OneClassConfig.states

    @property
    def localises(self) -> bool:
        """False where a map is the image's score at every pixel."""
        return WAYS[self.config.objective].localises

    def method(self, backbone: Backbone, size: int) -> Any:
        """Their training. Raises UserError where the recipe does not go with the backbone or the images' size."""
        return WAYS[self.config.objective].method(self.config, backbone, size)

    def trained(self, variables: Variables) -> Any:
        """The networks as they are used."""
        return WAYS[self.config.objective].trained(self.config, variables)

    def embed(self, layers: Layers, image: Image) -> Any:
        """The layers or the image."""
        return WAYS[self.config.objective].embed(layers, image)

    def score(self, state: Any, embedded: Any, size: Size) -> Scored:
        """How far an image and its places are from the good ones."""
        return WAYS[self.config.objective].score(self.config, state, embedded, size)
