"""Products of whole maps: all values of a map to numbers, and numbers to a map. Plain matrix products.

Written as sums over several axes, XLA's CPU backend copies the kernel into another order first, both ways: five to ten
times the time where a batch is small.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike


def to_numbers(x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "h w i o"]) -> Float[Array, "n o"]:
    """Each number sees the whole map.

    Examples:
      >>> to_numbers(jnp.ones((1, 2, 2, 3)), jnp.ones((2, 2, 3, 1))).tolist()
      [[12.0]]
    """
    return jnp.reshape(x, (x.shape[0], -1)) @ jnp.reshape(kernel, (-1, kernel.shape[-1]))


def to_map(z: Float[ArrayLike, "n z"], kernel: Float[ArrayLike, "z h w o"]) -> Float[Array, "n h w o"]:
    """Each value of the map sees all numbers; the kernel has the numbers first.

    Examples:
      >>> to_map(jnp.ones((1, 3)), jnp.ones((3, 1, 1, 2))).tolist()
      [[[[3.0, 3.0]]]]
    """
    y = jnp.asarray(z) @ jnp.reshape(kernel, (kernel.shape[0], -1))
    return y.reshape(z.shape[0], *kernel.shape[1:])


def back_to_map(z: Float[ArrayLike, "n z"], kernel: Float[ArrayLike, "h w o z"]) -> Float[Array, "n h w o"]:
    """The same by a kernel that has the numbers last, as `to_numbers` has them.

    Examples:
      >>> back_to_map(jnp.ones((1, 3)), jnp.ones((1, 1, 2, 3))).tolist()
      [[[[3.0, 3.0]]]]
    """
    flat = jnp.reshape(kernel, (-1, kernel.shape[-1]))
    y = lax.dot_general(flat, jnp.asarray(z), (((1,), (1,)), ((), ())))
    return y.T.reshape(z.shape[0], *kernel.shape[:-1])
