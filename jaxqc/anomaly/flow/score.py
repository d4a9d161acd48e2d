"""Maps and image scores of a flow: each 0 or above, and a function of its own image alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Scored
from jaxqc.anomaly.detectors.flow import FlowConfig
from jaxqc.anomaly.flow.coupling import Dets, Grids
from jaxqc.anomaly.flow.objective import log_density
from jaxqc.anomaly.ops.maps import image_score, smooth
from jaxqc.data.resizing import Size, sides
from jaxqc.nn.resizing import resize, resize_align_corners


def cell_maps(config: FlowConfig, zs: Grids, dets: Dets) -> tuple[Float[Array, "b _ _"], ...]:
    """The distance of each layer's cells, by `FlowConfig.combine`.

    Examples:
      >>> from jaxqc.anomaly.detectors.flow import MsFlow
      >>> cell_maps(MsFlow(), (2 * jnp.ones((1, 1, 1, 3)),), (jnp.zeros((1, 1, 1)),))[0].tolist()
      [[[2.0]]]
    """
    if config.combine == "softplus":
        return tuple(jax.nn.softplus(-log_density(z, d) / z.shape[-1]) for z, d in zip(zs, dets, strict=True))
    halves = tuple(0.5 * jnp.square(z).mean(-1) for z in zs)
    return tuple(-jnp.expm1(-x) for x in halves) if config.combine == "likelihood" else halves


def scored(config: FlowConfig, zs: Grids, dets: Dets, size: Size) -> Scored:
    """Maps of that size and image scores."""
    bring = resize_align_corners if config.aligned else resize
    large = jnp.stack([bring(x[..., None], *sides(size))[..., 0] for x in cell_maps(config, zs, dets)])
    if config.combine == "product":
        maps = jnp.prod(large, 0) ** (1 / len(large))
    else:
        maps = large.mean(0) if config.combine == "likelihood" else large.sum(0)
    maps = smooth(maps, config.sigma)
    if config.score == "latent":
        squares = jnp.concatenate([jnp.square(z).reshape(len(z), -1) for z in zs], 1)
        return maps, 0.5 * squares.mean(1)
    pixels = maps.shape[1] * maps.shape[2]
    return maps, image_score(maps, max(1, int(pixels * config.top)) if config.top < 1 else min(int(config.top), pixels))
