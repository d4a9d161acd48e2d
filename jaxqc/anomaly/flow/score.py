"""Maps and image scores of a flow: each 0 or above, and a function of its own image alone."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Scored
from jaxqc.anomaly.detectors.flow import SETTLED, FlowConfig
from jaxqc.anomaly.flow.coupling import Dets, Grids
from jaxqc.anomaly.flow.objective import log_density
from jaxqc.anomaly.ops.maps import smooth, top_score
from jaxqc.data.resizing import Size, sides
from jaxqc.nn.resizing import resize, resize_align_corners
from jaxqc.types import ArrayLike


def cell_maps(config: FlowConfig, zs: Grids, dets: Dets, constants: Any = ()) -> tuple[Float[Array, "b _ _"], ...]:
    """The distance of each layer's cells, by `FlowConfig.combine`.

    constants: of each layer, where that takes such (`constants_of`).

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import MsFlow
      >>> cell_maps(MsFlow(), (2 * jnp.ones((1, 1, 1, 3)),), (jnp.zeros((1, 1, 1)),))[0].tolist()
      [[[2.0]]]
      >>> cell_maps(MsFlow(), (2 * jnp.ones((1, 1, 1, 3)),), (jnp.zeros((1, 1, 1)),), (4.0,))[0].tolist()
      [[[0.5]]]
    """
    if config.combine in SETTLED:
        units = constants if len(constants) else [0.0 if config.combine == "probability" else 1.0] * len(zs)
        each = zip(own_units(config, zs, dets), units, strict=True)
        if config.combine == "standard":
            return tuple(x / unit for x, unit in each)
        return tuple(-jnp.expm1(jnp.minimum(x - most, 0.0)) for x, most in each)
    if config.combine == "softplus":
        return tuple(jax.nn.softplus(-log_density(z, d) / z.shape[-1]) for z, d in zip(zs, dets, strict=True))
    halves = tuple(0.5 * jnp.square(z).mean(-1) for z in zs)
    return tuple(-jnp.expm1(-x) for x in halves) if config.combine == "likelihood" else halves


def own_units(config: FlowConfig, zs: Grids, dets: Dets) -> tuple[Float[Array, "b _ _"], ...]:
    """For each layer that of which a map is made by its constant: ½ mean z², or ln p of a cell over its channels.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import MsFlow
      >>> own_units(MsFlow(), (2 * jnp.ones((1, 1, 1, 3)),), (jnp.zeros((1, 1, 1)),))[0].item()
      2.0
    """
    if config.combine == "probability":
        return tuple(log_density(z, d) / z.shape[-1] for z, d in zip(zs, dets, strict=True))
    return tuple(0.5 * jnp.square(z).mean(-1) for z in zs)


def constants_of(config: FlowConfig, grids: Sequence[Float[ArrayLike, "n _ _"]]) -> Float[np.ndarray, " layers"]:
    """A constant of each layer, by what `own_units` gives of normal images: its deviation, or the largest.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import MsFlow
      >>> constants_of(MsFlow(), [np.array([[[1.0, 3.0]]])]).tolist()
      [1.0]
    """
    of: Callable[[Any], Any] = np.max if config.combine == "probability" else lambda x: max(x.std(), 1e-12)
    return np.asarray([of(np.asarray(grid, np.float64)) for grid in grids], np.float32)


def attributed(score: Callable[[Grids], Float[Array, " b"]], xs: Grids, layers: Grids) -> Float[Array, "b h w"]:
    """The share of each cell of a layer in a score of its mean: |features x the score's gradient by it|, in its unit.

    xs: what the score is a function of: an image's mean features, of which the layer's own channels come first.

    Examples:
      >>> layer = jnp.array([[[[1.0], [3.0]]]])
      >>> attributed(lambda xs: 5 * xs[0].sum((1, 2, 3)), (layer.mean((1, 2), keepdims=True),), (layer,)).tolist()
      [[[5.0, 15.0]]]
    """
    (layer,) = layers
    slope = jax.grad(lambda xs: score(xs).sum())(xs)[0]
    return jnp.abs((layer * slope[:, :, :1, : layer.shape[-1]]).sum(-1))


def placed(config: FlowConfig, cells: Float[ArrayLike, "b h w"], size: Size) -> Float[Array, "b _ _"]:
    """A layer's cells brought to pixels, not yet smoothed.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import Cflow
      >>> placed(Cflow(), jnp.array([[[0.0, 2.0]]]), (1, 3)).tolist()
      [[[0.0, 1.0, 2.0]]]
    """
    bring = resize_align_corners if config.aligned else resize
    return bring(jnp.asarray(cells)[..., None], *sides(size))[..., 0]


def scored(config: FlowConfig, zs: Grids, dets: Dets, size: Size, constants: Any = ()) -> Scored:
    """Maps of that size and image scores."""
    large = jnp.stack([placed(config, x, size) for x in cell_maps(config, zs, dets, constants)])
    if config.combine == "product":
        maps = jnp.prod(large, 0) ** (1 / len(large))
    else:
        maps = large.mean(0) if config.combine == "likelihood" else large.sum(0)
    maps = smooth(maps, config.sigma)
    if config.score == "latent":
        return maps, latent_score(zs)
    return maps, top_score(maps, config.top)


def latent_score(zs: Grids) -> Float[Array, " b"]:
    """½ mean z² of each image, over everything.

    Examples:
      >>> latent_score((jnp.ones((1, 2, 2, 3)),)).tolist()
      [0.5]
    """
    squares = [jnp.square(z).reshape(z.shape[0], -1) for z in map(jnp.asarray, zs)]
    return 0.5 * jnp.concatenate(squares, 1).mean(1)
