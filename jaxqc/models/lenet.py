"""A LeNet without anything by which it could answer every image alike: no biases, batch norm without scale and shift
(Deep SVDD, ICML 2018)."""

from functools import partial

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.conv import Conv
from jaxqc.types import ArrayLike

WIDTHS = (32, 64, 128)
"""Channels of the convolutions, each of which is halved by pooling."""
MULTIPLE = 2 ** len(WIDTHS)
"""Pixels of which a side must be a multiple."""


class LeNet(nn.Module):
    """Images [n h w c] → [n features]: three convolutions of 5 x 5 pixels, each pooled by maximum, and one product.

    axis_name: mapped axis over which batch statistics are averaged.

    Examples:
      >>> import jax
      >>> variables = jax.eval_shape(LeNet().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
      >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
      520544
    """

    widths: tuple[int, ...] = WIDTHS
    features: int = 128
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n d"]:
        x, draw = jnp.asarray(x), nn.initializers.glorot_uniform()
        axis = None if self.is_initializing() else self.axis_name
        norm = partial(nn.BatchNorm, not train, epsilon=1e-4, momentum=0.9, use_bias=False, use_scale=False)
        for i, width in enumerate(self.widths):
            x = Conv(width, 5, use_bias=False, kernel_init=draw, name=f"conv{i}")(x)
            x = nn.leaky_relu(norm(axis_name=axis, name=f"norm{i}")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.features, use_bias=False, kernel_init=draw, name="last")(x.reshape(x.shape[0], -1))
