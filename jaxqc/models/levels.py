"""Pieces of networks of levels that halve the sides, called within the `@nn.compact` method that owns their layers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.conv import ConvBN, Norm
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.types import ArrayLike


def halved_max(x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """The largest of each 2x2 values.

    Examples:
      >>> jax.jit(halved_max)(jnp.arange(8.0).reshape(1, 2, 4, 1)).ravel().tolist()
      [5.0, 7.0]
    """
    n, h, w, c = x.shape
    x = jnp.asarray(x).reshape(n, h // 2, 2, w // 2, 2, c)
    x = jnp.maximum(x[:, :, 0], x[:, :, 1])
    return jnp.maximum(x[:, :, :, 0], x[:, :, :, 1])


def enlarged(x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Twice the sides, bilinear with corner pixels aligned.

    Examples:
      >>> enlarged(jnp.ones((1, 2, 3, 1))).shape
      (1, 4, 6, 1)
    """
    return resize_align_corners(jnp.asarray(x), 2 * x.shape[1], 2 * x.shape[2])


def convolved(
    x: Float[ArrayLike, "n h w c"], widths: Sequence[int], name: str, norm: Norm, train: bool, first: int = 1
) -> Float[Array, "n h w d"]:
    """3x3 convolutions with batch norm and ReLU, one of each width; layers are `name`_1 and so on, or from `first`.

    Examples:
      >>> import flax.linen as nn
      >>> class Pair(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return convolved(x, (4, 8), "a", Norm(), False)
      >>> y, variables = jax.jit(Pair().init_with_output)(jax.random.key(0), jnp.ones((1, 4, 4, 3)))
      >>> y.shape, sorted(variables["params"])
      ((1, 4, 4, 8), ['a_1', 'a_2'])
    """
    for number, width in enumerate(widths, first):
        x = ConvBN(width, norm=norm, name=f"{name}_{number}")(x, train)
    return jnp.asarray(x)


def halving(
    x: Float[ArrayLike, "n h w c"], widths: Sequence[int], norm: Norm, train: bool
) -> list[Float[Array, "n _ _ _"]]:
    """Levels of two convolutions `encode1_1` and so on, with the largest of 2x2 taken between them; the maps of each.

    Examples:
      >>> import flax.linen as nn
      >>> class Levels(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x):
      ...         return halving(x, (4, 8), Norm(), False)
      >>> maps = jax.eval_shape(lambda: Levels().init_with_output(jax.random.key(0), jnp.ones((1, 4, 4, 3)))[0])
      >>> [x.shape for x in maps]
      [(1, 4, 4, 4), (1, 2, 2, 8)]
    """
    maps: list[jax.Array] = []
    for level, width in enumerate(widths, 1):
        x = halved_max(x) if maps else jnp.asarray(x)
        x = convolved(x, (width, width), f"encode{level}", norm, train)
        maps.append(x)
    return maps
