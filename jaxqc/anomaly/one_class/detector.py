"""Networks that learn what good images have in common, as a `Trained` detector: one entry for each objective."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.one_class import OneClassConfig
from jaxqc.anomaly.detectors.stage import Stage
from jaxqc.anomaly.features import Backbone
from jaxqc.anomaly.one_class import centre, deviation, pieces, position, transforms
from jaxqc.data.resizing import Size
from jaxqc.types import Variables


class Way(NamedTuple):
    """An objective's training and use.

    method: recipe, backbone's settings, loaded backbone, side in pixels → its training. trained: recipe, variables →
    the state. embed: layers and normalised image → what `score` takes. score: recipe, backbone's settings, state,
    embedding, size → maps and scores. stages: recipe, backbone's settings → the trainings before.
    """

    method: Callable[[OneClassConfig, BackboneConfig, Backbone, int], Any]
    trained: Callable[[OneClassConfig, Variables], Any]
    embed: Callable[[Layers, Image], Any]
    score: Callable[[OneClassConfig, BackboneConfig, Any, Any, Size], Scored]
    localises: bool = True
    stages: Callable[[OneClassConfig, BackboneConfig], tuple[Stage, ...]] = lambda config, backbone: ()


WAYS: dict[str, Way] = {
    "deviation": Way(deviation.method, deviation.trained, deviation.embed, deviation.score),
    "pieces": Way(pieces.method, pieces.trained, pieces.embed, pieces.score),
    "position": Way(position.method, position.trained, position.embed, position.score),
    "centre": Way(centre.method, centre.trained, centre.embed, centre.score, False, centre.stages),
    "transforms": Way(transforms.method, transforms.trained, transforms.embed, transforms.score, False),
}
"""By `OneClassConfig.objective`."""


class OneClass(OnBackbone[OneClassConfig]):
    """The networks over one backbone, which may be the image itself."""

    states = OneClassConfig.states

    @property
    def way(self) -> Way:
        """The objective's."""
        return WAYS[self.config.objective]

    @property
    def localises(self) -> bool:
        """False where a map is the image's score at every pixel."""
        return self.way.localises

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The trainings before."""
        return self.way.stages(self.config, self.backbone)

    def method(self, backbone: Backbone, size: int) -> Any:
        """Their training. Raises UserError where the recipe does not go with the backbone or the images' size."""
        return self.way.method(self.config, self.backbone, backbone, size)

    def trained(self, variables: Variables) -> Any:
        """The networks as they are used, and what the good images gave beside them."""
        return self.way.trained(self.config, variables)

    def embed(self, layers: Layers, image: Image) -> Any:
        """The layers or the image."""
        return self.way.embed(layers, image)

    def score(self, state: Any, embedded: Any, size: Size) -> Scored:
        """The distance of an image and of its places from the good ones."""
        return self.way.score(self.config, self.backbone, state, embedded, size)
