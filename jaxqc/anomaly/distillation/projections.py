"""RD++'s loss of projected features: the same with noise in the image as without, and apart from the noisy ones."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Layers
from jaxqc.anomaly.learned.discrepancy import discrepancy
from jaxqc.types import Variables

WEIGHT = 0.2
"""Weight of this loss beside that of the imitation."""
KEPT, APART = 0.01 / 1.11, 0.1 / 1.11
"""Weights of both parts; the rest of 1.11 belonged to a part that is 0."""
MARGIN = 0.5
"""The cosine from which on projected features count as near to noisy ones."""


def projection_loss(noisy: Layers, projected_noisy: Layers, projected: Layers) -> Float[Array, " b"]:
    """The loss of each image, summed over layers: 0.01 times the cells' mean of 1 - cos of both projections, and 0.1
    times what the cosine of the teacher's noisy features and the projected ones, a layer as one vector, exceeds 0.5 by.

    Examples:
      >>> import jax
      >>> same = (jnp.ones((1, 2, 2, 3)),)
      >>> jax.jit(projection_loss)(same, same, same).round(4).tolist()  # 0.1 · 0.5 / 1.11
      [0.04500000178813934]
    """
    total = jnp.zeros(())
    for t, s, p in zip(noisy, projected_noisy, projected, strict=True):
        kept = discrepancy("cosine_cell", s, p).mean((1, 2))
        near = 1.0 - discrepancy("cosine_flat", t, p)[:, 0, 0]
        total = total + KEPT * kept + APART * jnp.maximum(near - MARGIN, 0.0)
    return jnp.asarray(total)


def projections_apart(network: Any, variables: Variables, layers: Layers, noisy: Layers) -> Float[Array, " b"]:
    """`WEIGHT` times `projection_loss` of a network with projections, by a teacher's layers without and with noise."""
    project = lambda x: network.apply({"params": variables["params"]}, x, method="project")
    return WEIGHT * projection_loss(noisy, project(noisy), project(layers))
