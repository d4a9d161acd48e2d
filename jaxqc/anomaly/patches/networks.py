"""The networks over patches by their settings."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn

from jaxqc.anomaly.detectors.patches import PatchesConfig
from jaxqc.models.capsule_autoencoder import GRID, SIZE, CapsuleAutoencoder
from jaxqc.models.patch_transformer import PatchSpec, VitAutoencoder, WindowFilling
from jaxqc.nn.conv import Norm


class Kind(NamedTuple):
    """(recipe, norm) → a network; the standard normal numbers of an image that its training draws; the sides it takes.

    least, whole: the smallest side in pixels, and a number of which it is a multiple. alone: it takes `least` only.
    """

    build: Callable[[PatchesConfig, Norm], nn.Module]
    draws: Callable[[PatchesConfig], int]
    least: Callable[[PatchesConfig], int]
    alone: bool = False


def spec(config: PatchesConfig, **more: Any) -> PatchSpec:
    """The transformer of a recipe.

    Examples:
      >>> spec(PatchesConfig(dim=64)).dim
      64
    """
    own = (config.side, config.dim, config.heads, config.layers, config.hidden)
    return PatchSpec(*own, dropout=config.dropout, **more)


KINDS: dict[str, Kind] = {
    "windows": Kind(
        lambda config, norm: WindowFilling(spec(config, features=True), config.near, norm.axis_name),
        lambda config: 3,
        lambda config: config.near * config.side,
    ),
    "vit": Kind(
        lambda config, norm: VitAutoencoder(spec(config, epsilon=1e-6), norm),
        lambda config: 0,
        lambda config: config.side,
    ),
    "capsule": Kind(
        lambda config, norm: CapsuleAutoencoder(
            spec(config, biases=False, whole=True), config.components, config.noise, norm=norm
        ),
        lambda config: GRID * GRID * config.dim,
        lambda config: SIZE,
        alone=True,
    ),
}
"""By `PatchesConfig.network`."""


def network(config: PatchesConfig, folded: bool = False, axis_name: str | None = None) -> nn.Module:
    """The network of a recipe.

    Examples:
      >>> from jaxqc.anomaly.detectors.patches import InTra
      >>> type(network(InTra())).__name__
      'WindowFilling'
    """
    return KINDS[config.network].build(config, Norm(folded, axis_name))
