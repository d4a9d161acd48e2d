"""Residual players (1704.00028, appendix): a maker with batch norm, and a critic that may be differentiated twice.

A gradient penalty differentiates a critic's gradient. So the critic has layer norm, which keeps images apart, and plain
convolutions: no operation whose gradient is written out. Sides are powers of two from 8; the published one is 64.
"""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.models.dcgan import SMALLEST, powers
from jaxqc.nn.conv import Norm, NormAct, Pointwise
from jaxqc.nn.convolution import library
from jaxqc.nn.transposed import doubled
from jaxqc.types import ArrayLike

WIDEST = 8
"""Most channels, in units of the widest map's."""
EPSILON = 1e-5
"""Added to a layer norm's variance."""
start = nn.initializers.he_uniform()


class Plain(nn.Module):
    """Convolution 3x3 or 1x1 by the library: [n h w i] → [n h w features].

    Examples:
      >>> import jax
      >>> jax.eval_shape(lambda: Plain(4).init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))[0]).shape
      (1, 8, 8, 4)
    """

    features: int
    kernel_size: int = 3
    use_bias: bool = True

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w i"]) -> Float[Array, "n h w features"]:
        side = self.kernel_size
        kernel = self.param("kernel", start, (side, side, x.shape[-1], self.features))
        y = library(x, kernel, 1, 1) if side == 3 else jnp.einsum("nhwi,io->nhwo", x, kernel[0, 0])
        return y + self.param("bias", nn.initializers.zeros, (self.features,)) if self.use_bias else y


class LayerNorm(nn.Module):
    """An image's values less their mean, over their deviation; scale and bias a channel, then a ReLU.

    Examples:
      >>> import jax
      >>> x = jnp.array([0.0, 2.0]).reshape(1, 1, 2, 1)
      >>> jax.jit(LayerNorm().init_with_output)(jax.random.key(0), x)[0].round(2).ravel().tolist()
      [0.0, 1.0]
    """

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n h w c"]:
        x, ones = jnp.asarray(x), nn.initializers.ones
        apart = x - x.mean((1, 2, 3), keepdims=True)
        y = apart * lax.rsqrt(jnp.square(apart).mean((1, 2, 3), keepdims=True) + EPSILON)
        channels = (x.shape[-1],)
        return nn.relu(y * self.param("scale", ones, channels) + self.param("bias", nn.initializers.zeros, channels))


def halved(x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n h/2 w/2 c"]:
    """Means of squares of four.

    Examples:
      >>> halved(jnp.arange(4.0).reshape(1, 2, 2, 1)).tolist()
      [[[[1.5]]]]
    """
    n, h, w, c = x.shape
    return jnp.asarray(x).reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


class Block(nn.Module):
    """Two norms with ReLUs and convolutions, and a shortcut: [n h w i] → sides halved (`down`) or doubled (`up`).

    Examples:
      >>> import jax
      >>> jax.eval_shape(lambda: Block(4, "down").init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))[0]).shape
      (1, 4, 4, 4)
    """

    features: int
    way: Literal["down", "up"]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w i"], train: bool = False) -> Float[Array, "n _ _ features"]:
        x, up = jnp.asarray(x), self.way == "up"
        normed: Any = (
            (lambda name: lambda y: NormAct(self.norm, name=name)(y, train))
            if up
            else lambda name: LayerNorm(name=name)
        )
        wide = doubled if up else lambda y: y
        beside = Plain(self.features, 1, name="beside")(wide(x) if up else halved(x))
        y = wide(normed("norm1")(x))
        y = Plain(self.features if up else x.shape[-1], use_bias=False, name="conv1")(y)
        y = Plain(self.features, name="conv2")(normed("norm2")(y))
        return beside + (y if up else halved(y))


def channels(width: int, side: int) -> list[int]:
    """Channels of the maps from an image's side down, by halvings.

    Examples:
      >>> channels(64, 64)
      [64, 128, 256, 512, 512]
    """
    return [width * min(WIDEST, 2**number) for number in range(powers(side) + 1)]


class ResidualDown(nn.Module):
    """Images in [-1, 1] [n s s c] → `features` [n 4 4 d], and linear `numbers` of them [n numbers].

    Examples:
      >>> import jax
      >>> network, x = ResidualDown(5, 8), jnp.zeros((2, 16, 16, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'features': (2, 4, 4, 32), 'numbers': (2, 5)}
    """

    numbers: int
    width: int = 64

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n s s c"], train: bool = False) -> dict[str, Array]:
        widths = channels(self.width, x.shape[1])
        y = Plain(widths[0], name="first")(jnp.asarray(x))
        for number, width in enumerate(widths[1:], 1):
            y = Block(width, "down", name=f"block{number}")(y)
        kernel = self.param("kernel", start, (y.shape[1] * y.shape[2] * y.shape[3], self.numbers))
        flat = y.reshape(y.shape[0], -1) @ kernel
        return {"features": y, "numbers": flat + self.param("bias", nn.initializers.zeros, (self.numbers,))}


class ResidualUp(nn.Module):
    """Numbers [n z] → images in [-1, 1] [n side side channels].

    Examples:
      >>> import jax
      >>> network, z = ResidualUp(16, 8), jnp.zeros((2, 5))
      >>> jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), z)[0]).shape
      (2, 16, 16, 3)
    """

    side: int
    width: int = 64
    channels: int = 3
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, z: Float[ArrayLike, "n z"], train: bool = False) -> Float[Array, "n side side channels"]:
        widths = channels(self.width, self.side)
        first = Pointwise(SMALLEST * SMALLEST * widths[-1], kernel_init=start, name="first")(jnp.asarray(z))
        y: Any = first.reshape(-1, SMALLEST, SMALLEST, widths[-1])
        for number in range(len(widths) - 1, 0, -1):
            y = Block(widths[number - 1], "up", self.norm, name=f"block{number}")(y, train)
        return jnp.tanh(Plain(self.channels, name="out")(NormAct(self.norm, name="norm")(y, train)))
