"""Maps and scores of a network that rebuilds, whether it still trains or is in use."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Scored
from jaxqc.anomaly.detectors.reconstruction import ReconstructionConfig
from jaxqc.anomaly.learned.grid import CELLS
from jaxqc.anomaly.ops.maps import box_mean, distance_map, top_score
from jaxqc.anomaly.reconstruction.attention import attention
from jaxqc.anomaly.reconstruction.density import described, improbable
from jaxqc.anomaly.reconstruction.hiding import rebuilt_by_sets
from jaxqc.anomaly.reconstruction.networks import chain_spec
from jaxqc.anomaly.reconstruction.search import projected
from jaxqc.anomaly.reconstruction.terms import DIFFERENCES
from jaxqc.data.resizing import Size, sides
from jaxqc.types import ArrayLike

FLOOR = 0.01
"""Least usual difference of a cell, as a share of the mean over all cells."""
Answer = Callable[..., Any]
"""Images or features → `rebuilt`, and of a head `logits`."""


def _projection(config: ReconstructionConfig, answer: Answer, x: Float[Array, "b h w c"]) -> Float[Array, "b h w"]:
    return jnp.abs(projected(lambda y: answer(y)["rebuilt"], x, config.descent) - x).mean(-1)


def _attention(config: ReconstructionConfig, answer: Answer, x: Float[Array, "b h w c"]) -> Float[Array, "b _ _"]:
    layer = config.descent.layer
    return attention(answer, x, layer, chain_spec(config).widths[layer - 1])


WAYS: dict[str, Callable[[ReconstructionConfig, Answer, Any], Float[Array, "b _ _"]]] = {
    "projection": _projection,
    "attention": _attention,
    "head": lambda config, answer, x: nn.sigmoid(answer(x)["logits"]),
}
"""Maps that are no difference of an image and its rebuilt one."""


def differences(
    config: ReconstructionConfig, answer: Answer, seen: Float[ArrayLike, "b h w c"]
) -> Float[Array, "b _ _"]:
    """The difference of each cell, or what else the map is of, perhaps on a coarser grid.

    Examples:
      >>> x = jnp.zeros((1, 4, 4, 1))
      >>> differences(ReconstructionConfig(), lambda x: {"rebuilt": x + 0.5}, x).max().item()
      0.25
    """
    x = jnp.asarray(seen)
    if config.corrupt == "grid":
        each = (rebuilt_by_sets(lambda part: answer(part)["rebuilt"], x, i) for i in range(len(CELLS)))
        return jnp.stack([DIFFERENCES[config.map](x, rebuilt) for rebuilt in each]).mean(0)
    if way := WAYS.get(config.map):
        return way(config, answer, x)
    return DIFFERENCES[config.map](x, answer(x)["rebuilt"])


def usual(mean: Float[ArrayLike, "h w"]) -> Float[Array, "h w"]:
    """The mean difference of each cell, and at least a hundredth of all cells' mean, so that none is divided by 0.

    Examples:
      >>> usual(jnp.array([[0.0, 50.0]])).tolist()
      [[0.25, 50.0]]
    """
    mean = jnp.asarray(mean, jnp.float32)
    return jnp.maximum(mean, jnp.maximum(FLOOR * mean.mean(), 1e-12))


def _mixed(config: ReconstructionConfig, out: Any, grid: Float[Array, "b h w"]) -> Float[Array, " b"]:
    """Sums over pixels and channels of images in [-1, 1], and over the critic's features: as published."""
    apart = out["features"] - out["features_rebuilt"]
    apart, factor = (jnp.abs(apart), 2) if config.map == "l1" else (jnp.square(apart), 4)
    whole, share = factor * grid.sum((1, 2)) * out["rebuilt"].shape[-1], config.adversary.share
    return (1 - share) * whole + share * apart.reshape(apart.shape[0], -1).sum(1)


IMAGES: dict[str, Callable[[ReconstructionConfig, Any, Float[Array, "b h w"]], Float[Array, " b"] | None]] = {
    "map": lambda config, out, grid: None,
    "latent": lambda config, out, grid: jnp.square(out["code"] - out["again"]).mean(-1),
    "critic": lambda config, out, grid: nn.sigmoid(-out["logit"]),
    "mixed": _mixed,
    "density": lambda config, out, grid: improbable(out["density"], described(out["mean"], grid)),
}
"""By `ReconstructionConfig.image`: an image's score that is no value of its map."""


def judged(
    config: ReconstructionConfig, answer: Answer, seen: Float[ArrayLike, "b h w c"]
) -> tuple[Float[Array, "b _ _"], Float[Array, " b"] | None]:
    """The cells' differences, and the images' scores where these are not values of the map.

    Examples:
      >>> x = jnp.zeros((1, 4, 4, 1))
      >>> critic = ReconstructionConfig(image="critic")
      >>> judged(critic, lambda x: {"rebuilt": x, "logit": jnp.zeros(1)}, x)[1].tolist()
      [0.5]
    """
    if config.image == "map":
        return differences(config, answer, seen), None
    out = answer(jnp.asarray(seen))
    grid = DIFFERENCES[config.map](seen, out["rebuilt"])
    return grid, IMAGES[config.image](config, out, grid)


def scored(
    config: ReconstructionConfig, grid: Float[ArrayLike, "b h w"], own: Float[ArrayLike, " b"] | None, size: Size
) -> Scored:
    """Maps of that size and image scores, of the cells' differences. own: scores that are not of the map.

    Examples:
      >>> maps, scores = scored(ReconstructionConfig(window=3), jnp.zeros((1, 4, 4)).at[0, 1, 1].set(9.0), None, 4)
      >>> maps.max().item(), scores.round(3).tolist()
      (9.0, [1.0])
    """
    maps = distance_map(grid, *sides(size), config.sigma)
    if own is not None:
        return maps, jnp.asarray(own)
    return maps, top_score(box_mean(maps, config.window) if config.window > 1 else maps, config.top)
