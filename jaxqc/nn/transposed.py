"""Convolutions that double a map's sides, and the unit of an autoencoder that is made of them."""

from functools import partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float

from jaxqc.nn import kernel_four
from jaxqc.nn.conv import Activation, Norm, dense_conv, kernel_init, normalize
from jaxqc.nn.convolution import library
from jaxqc.nn.plain import operation
from jaxqc.types import ArrayLike

Up = Literal["transposed", "nearest"]


def transposed4x4(x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "4 4 i o"]) -> Float[Array, "n 2*h 2*w o"]:
    """Transposed convolution of kernel 4, stride 2 and padding 1 (torch's `ConvTranspose2d`, kernel [i o 4 4]).

    Each output sees four inputs. The four kinds of outputs are channels of one 2x2 convolution, without a zero between
    inputs; of few pixels and many channels on CPU, another way (`jaxqc.nn.kernel_four`). The gradient by x is the
    strided convolution.

    Examples:
      >>> jax.jit(transposed4x4)(jnp.ones((1, 2, 2, 1)), jnp.ones((4, 4, 1, 1)))[0, :, :, 0].tolist()
      [[1.0, 2.0, 2.0, 1.0], [2.0, 4.0, 4.0, 2.0], [2.0, 4.0, 4.0, 2.0], [1.0, 2.0, 2.0, 1.0]]
    """
    return operation("transposed4x4", _up, jnp.asarray(x), jnp.asarray(kernel))


@jax.custom_vjp
def _up(x: jax.Array, kernel: jax.Array) -> jax.Array:
    if not _few(x, kernel):
        return kernel_four.by_kinds(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=kernel_four.transposed, default=kernel_four.by_kinds)


def _few(x: jax.Array, kernel: jax.Array) -> bool:
    known = not any(map(is_symbolic_dim, x.shape)) and x.dtype == jnp.float32
    return known and kernel_four.few(x.size // x.shape[-1], *kernel.shape[2:])


def _up_forward(x: jax.Array, kernel: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _up(x, kernel), (x, kernel)


def _up_backward(residuals: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    if _few(*residuals):
        gradient = lambda way: lambda x, kernel, g: jax.vjp(way, x, kernel)[1](g)
        ways = {"cpu": gradient(kernel_four.transposed), "default": gradient(kernel_four.by_kinds)}
        return lax.platform_dependent(*residuals, g, **ways)
    x, kernel = residuals
    strided = lambda g, kernel: library(g, kernel.swapaxes(2, 3), 2, 1)
    return strided(g, kernel), jax.vjp(partial(strided, g), kernel)[1](x)[0]


_up.defvjp(_up_forward, _up_backward)


def doubled(x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n 2*h 2*w c"]:
    """Each value four times (nearest neighbour).

    Examples:
      >>> jax.jit(doubled)(jnp.array([1.0, 2.0]).reshape(1, 1, 2, 1))[0, :, :, 0].tolist()
      [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]
    """
    return operation("resize_nearest", _repeated, jnp.asarray(x))


def _repeated(x: jax.Array) -> jax.Array:
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)


class ConvUnit(nn.Module):
    """Convolution padded by (k - 1) // 2, + batch norm or bias + activation: [n h w i] → [n H W features].

    stride: 1 or 2, by which sides are divided; with `up` they are multiplied by it. `transposed`: kernel 4 where they
    are. `nearest`: each value is repeated first. norm: None has a bias in place of batch norm, or with `use_bias` False
    neither.

    Examples:
      >>> unit = ConvUnit(4, 4, 2, up="transposed", norm=None)
      >>> y, variables = jax.jit(unit.init_with_output)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape, sorted(variables["params"])
      ((1, 16, 16, 4), ['bias', 'kernel'])
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    up: Up | None = None
    norm: Norm | None = Norm()
    act: Activation = nn.relu
    kernel_init: nn.initializers.Initializer = kernel_init
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        dtype = jnp.float32 if self.norm is None else self.norm.dtype
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        x, kernel = jnp.asarray(x, dtype), self.param("kernel", self.kernel_init, shape).astype(dtype)
        wider = self.up is not None and self.stride == 2
        if wider and self.up == "transposed":
            y = transposed4x4(x, kernel)
        else:
            x = doubled(x) if wider else x
            y = dense_conv(x, kernel, 1 if self.up else self.stride, (self.kernel_size - 1) // 2)
        if self.norm is not None:
            return normalize(self, y, self.norm, train, self.act)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,))
        return y if self.act is None else self.act(y)
