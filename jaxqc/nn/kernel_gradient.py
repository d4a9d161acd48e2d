"""Gradients of a dense convolution by its kernel, as few large matrix products."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike

BLOCK = 900
"""Pixels of a block at most: what a product of `by_blocks` reads stays in the cache."""


def by_taps(
    x: Float[ArrayLike, "n h w i"], g: Float[ArrayLike, "n H W o"], taps: int, stride: int, padding: int
) -> Float[Array, "k k i o"]:
    """dL/dkernel from g = dL/doutput: a product for each place in the kernel.

    Examples:
      >>> ones = jnp.ones((1, 3, 3, 1))
      >>> jax.jit(by_taps, static_argnums=(2, 3, 4))(ones, ones[:, :2, :2], 3, 2, 1)[:, :, 0, 0].tolist()
      [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    (_, height, width, o), flat = g.shape, jnp.reshape(g, (-1, g.shape[-1]))
    x = _padded(x, taps, stride, padding)
    down, across = (height - 1) * stride + 1, (width - 1) * stride + 1
    shifted = [x[:, a : a + down : stride, b : b + across : stride] for a in range(taps) for b in range(taps)]
    sums = jnp.stack([part.reshape(-1, part.shape[-1]).T @ flat for part in shifted])
    return sums.reshape(taps, taps, -1, o)


def by_planes(
    x: Float[ArrayLike, "n h w i"], g: Float[ArrayLike, "n H W o"], taps: int, stride: int, padding: int
) -> Float[Array, "k k i o"]:
    """The same for few channels i: a product for each image, with the neighbourhoods copied row by row.

    Channels come first, and every `stride`-th row and column is a plane, so that a row of a plane is one copy.

    Examples:
      >>> ones = jnp.ones((1, 3, 3, 1))
      >>> jax.jit(by_planes, static_argnums=(2, 3, 4))(ones, ones[:, :2, :2], 3, 2, 1)[:, :, 0, 0].tolist()
      [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    (n, height, width, o), i = g.shape, x.shape[-1]
    more = -(-taps // stride) - 1
    x = _padded(x, taps, stride, padding)[:, : (height + more) * stride, : (width + more) * stride]
    planes = x.reshape(n, height + more, stride, width + more, stride, i).transpose(0, 2, 4, 5, 1, 3)

    def add(total: jax.Array, image: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        part, slope = image
        rows = [
            part[a % stride, b % stride, :, a // stride : a // stride + height, b // stride : b // stride + width]
            for a in range(taps)
            for b in range(taps)
        ]
        columns = jnp.concatenate(rows).reshape(taps * taps * i, -1)
        # Held apart, so that the product reads what lies in rows.
        columns, slope = lax.optimization_barrier((columns, slope.reshape(-1, o)))
        return total + columns @ slope, None

    start = jnp.zeros((taps * taps * i, o), jnp.float32)
    total, _ = lax.scan(add, start, (lax.optimization_barrier(planes), jnp.asarray(g)))
    return total.reshape(taps, taps, i, o)


def block_rows(height: int, width: int) -> int:
    """Rows of a block of `by_blocks`: the largest divisor of the height within `BLOCK` pixels; 0 where one row is more.

    Examples:
      >>> block_rows(64, 64), block_rows(4, 1000)
      (8, 0)
    """
    return max((rows for rows in range(1, height + 1) if height % rows == 0 and rows * width <= BLOCK), default=0)


def by_blocks(x: Float[ArrayLike, "n h w i"], g: Float[ArrayLike, "n h w o"], rows: int) -> Float[Array, "3 3 i o"]:
    """The same of a 3x3 convolution padded by one pixel, summed in a compiled loop over blocks of rows of one image.

    rows: of a block, a divisor of h.

    Examples:
      >>> ones = jnp.ones((1, 2, 2, 1))
      >>> jax.jit(by_blocks, static_argnums=2)(ones, ones, 1)[:, :, 0, 0].tolist()
      [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    (n, h, w, i), o = x.shape, g.shape[-1]
    x, g = jnp.pad(jnp.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0))), jnp.asarray(g)

    def add(total: jax.Array, block: jax.Array) -> tuple[jax.Array, None]:
        image, row = block // (h // rows), block % (h // rows) * rows
        xb = lax.dynamic_slice(x, (image, row, 0, 0), (1, rows + 2, w + 2, i))[0]
        gb = lax.dynamic_slice(g, (image, row, 0, 0), (1, rows, w, o))
        shifted = [xb[a : a + rows, b : b + w] for a in range(3) for b in range(3)]
        return total + jnp.concatenate(shifted, -1).reshape(-1, 9 * i).T @ gb.reshape(-1, o), None

    total, _ = lax.scan(add, jnp.zeros((9 * i, o), jnp.float32), jnp.arange(n * h // rows))
    return total.reshape(3, 3, i, o)


def _padded(x: ArrayLike, taps: int, stride: int, padding: int) -> jax.Array:
    """With at least as many zeros after the last pixel as any place of the kernel reads."""
    after = padding + taps + stride
    return jnp.pad(jnp.asarray(x), ((0, 0), (padding, after), (padding, after), (0, 0)))
