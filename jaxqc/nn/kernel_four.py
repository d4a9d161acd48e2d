"""Convolutions of kernel 4, stride 2 and padding 1, and their transposes, as they are fast on CPU.

Where few pixels meet many channels the kernel is far larger than what it is applied to: 134 MB from 1,024 to 2,048
channels. Other ways write it anew in another order, forward and backward. `strided` and `transposed` are a batch of
products, one for each of its 16 places, which read it as it lies.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike


def few(pixels: int, inputs: int, outputs: int) -> bool:
    """True where maps of so many pixels on the coarser side are smaller than the kernel's 16th part.

    Examples:
      >>> few(32, 1024, 2048), few(8192, 64, 128)
      (True, False)
    """
    return pixels * (inputs + outputs) <= inputs * outputs


def strided(x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "4 4 i o"]) -> Float[Array, "n h//2 w//2 o"]:
    """The convolution; sides are even.

    Examples:
      >>> strided(jnp.ones((1, 4, 4, 1)), jnp.ones((4, 4, 1, 1)))[0, :, :, 0].tolist()
      [[9.0, 9.0], [9.0, 9.0]]
    """
    (n, h, w, i), o = x.shape, kernel.shape[-1]
    x = jnp.pad(jnp.asarray(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
    seen = jnp.stack([x[:, a : a + h - 1 : 2, b : b + w - 1 : 2] for a in range(4) for b in range(4)])
    y = jnp.einsum("tpi,tio->tpo", seen.reshape(16, -1, i), jnp.reshape(kernel, (16, i, o)))
    return y.sum(0).reshape(n, h // 2, w // 2, o)


def transposed(x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "4 4 i o"]) -> Float[Array, "n 2*h 2*w o"]:
    """The transposed convolution (torch's `ConvTranspose2d`, kernel [i o 4 4]).

    Examples:
      >>> transposed(jnp.ones((1, 2, 2, 1)), jnp.ones((4, 4, 1, 1)))[0, :, :, 0].tolist()
      [[1.0, 2.0, 2.0, 1.0], [2.0, 4.0, 4.0, 2.0], [2.0, 4.0, 4.0, 2.0], [1.0, 2.0, 2.0, 1.0]]
    """
    (n, h, w, i), o = x.shape, kernel.shape[-1]
    every = jnp.broadcast_to(jnp.reshape(x, (1, -1, i)), (16, n * h * w, i))
    y = jnp.einsum("tpi,tio->tpo", every, jnp.reshape(kernel, (16, i, o)))
    # A place of the kernel is 2 A + a: the pixel's own row or the next one, and which of its two.
    y = y.reshape(2, 2, 2, 2, n, h, w, o).transpose(0, 2, 4, 5, 1, 6, 3, 7)
    beside = lambda k: (k, 1 - k)
    parts = [jnp.pad(y[a, b], ((0, 0), beside(a), (0, 0), beside(b), (0, 0), (0, 0))) for a in (0, 1) for b in (0, 1)]
    return sum(parts[1:], parts[0]).reshape(n, 2 * h + 2, 2 * w + 2, o)[:, 1:-1, 1:-1]


def by_kinds(x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "4 4 i o"]) -> Float[Array, "n 2*h 2*w o"]:
    """The transposed convolution by one 2x2 convolution, whose channels are the four kinds of outputs.

    Examples:
      >>> by_kinds(jnp.ones((1, 1, 1, 1)), jnp.arange(16.0).reshape(4, 4, 1, 1))[0, :, :, 0].tolist()
      [[5.0, 6.0], [9.0, 10.0]]
    """
    (n, h, w, i), o = x.shape, kernel.shape[-1]
    # Rows 3 and 1 of the kernel meet two neighbouring inputs for an even row of the output, 2 and 0 for an odd one.
    turned = jnp.flip(jnp.reshape(kernel, (2, 2, 2, 2, i, o)), (0, 1, 2, 3))
    kinds = turned.transpose(0, 2, 4, 1, 3, 5).reshape(2, 2, i, 4 * o)
    names = ("NHWC", "HWIO", "NHWC")
    y = lax.conv_general_dilated(jnp.asarray(x), kinds, (1, 1), ((1, 1), (1, 1)), dimension_numbers=names)
    y = y.reshape(n, h + 1, w + 1, 2, 2, o)
    rows = [jnp.stack([y[:, a : a + h, b : b + w, a, b] for b in (0, 1)], 3) for a in (0, 1)]
    return jnp.stack(rows, 2).reshape(n, 2 * h, 2 * w, o)
