"""A LeNet without anything by which it could answer every image alike: no biases, batch norm without scale and shift
(Deep SVDD, ICML 2018)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.conv import Conv
from jaxqc.types import ArrayLike

WIDTHS = (32, 64, 128)
"""Channels of the convolutions, each of which is halved by pooling."""
MULTIPLE = 2 ** len(WIDTHS)
"""Pixels of which a side must be a multiple."""
GRID = 4
"""Cells a side of the grid that a code becomes on the way back."""
draw = nn.initializers.glorot_uniform()


def normed(axis_name: str | None) -> Any:
    """Batch norm that neither scales nor shifts, as a builder: train, name → module."""
    plain = partial(nn.BatchNorm, epsilon=1e-4, momentum=0.9, use_bias=False, use_scale=False, axis_name=axis_name)
    return lambda train, name: plain(not train, name=name)


class LeNet(nn.Module):
    """Images [n h w c] → [n features]: three convolutions of 5 x 5 pixels, each pooled by maximum, and one product.

    axis_name: mapped axis over which batch statistics are averaged.

    Examples:
      >>> variables = jax.eval_shape(LeNet().init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
      >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
      520544
    """

    widths: tuple[int, ...] = WIDTHS
    features: int = 128
    axis_name: str | None = None

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n d"]:
        x, norm = jnp.asarray(x), normed(None if self.is_initializing() else self.axis_name)
        for i, width in enumerate(self.widths):
            x = Conv(width, 5, use_bias=False, kernel_init=draw, name=f"conv{i}")(x)
            x = nn.leaky_relu(norm(train, f"norm{i}")(x))
            x = nn.max_pool(x, (2, 2), (2, 2))
        return nn.Dense(self.features, use_bias=False, kernel_init=draw, name="last")(x.reshape(x.shape[0], -1))


class Unfolding(nn.Module):
    """Codes [n d] → images [n h w 3]: `LeNet` mirrored, each convolution before values that are repeated.

    side: of the last pooled map of the network, whose images have eight times that. axis_name: as of `LeNet`.

    Examples:
      >>> code = jnp.zeros((2, 128))
      >>> jax.eval_shape(lambda: Unfolding(WIDTHS, 4).init_with_output(jax.random.key(0), code)[0]).shape
      (2, 32, 32, 3)
    """

    widths: tuple[int, ...]
    side: int
    axis_name: str | None = None

    @nn.compact
    def __call__(self, code: Float[ArrayLike, "n d"], train: bool = False) -> Float[Array, "n _ _ 3"]:
        norm = normed(None if self.is_initializing() else self.axis_name)
        x = nn.leaky_relu(jnp.asarray(code).reshape(code.shape[0], GRID, GRID, -1))
        larger = lambda x, side: jax.image.resize(x, (x.shape[0], side, side, x.shape[-1]), "nearest")
        x = larger(x, self.side)
        for i, width in enumerate(reversed(self.widths)):
            x = Conv(width, 5, use_bias=False, kernel_init=draw, name=f"conv{i}")(x)
            x = nn.leaky_relu(norm(train, f"norm{i}")(x))
            x = larger(x, 2 * x.shape[1])
        return Conv(3, 5, use_bias=False, kernel_init=draw, name="last")(x)
