"""DCGAN's networks (arXiv 1511.06434): images in [-1, 1] down to numbers, and back. Sides are powers of two."""

import math
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.autoencoder import leaky
from jaxqc.nn.conv import Conv, Norm, normalize
from jaxqc.nn.transposed import ConvUnit
from jaxqc.nn.whole import to_map, to_numbers
from jaxqc.types import ArrayLike

SMALLEST = 4
"""Side of the last map before the numbers."""
start = nn.initializers.normal(0.02)
"""Start of all kernels."""
down4 = partial(Conv, kernel_size=4, stride=2, padding=1, use_bias=False, kernel_init=start)
unit4 = partial(ConvUnit, kernel_size=4, stride=2, kernel_init=start)


def powers(side: int, smallest: int = SMALLEST) -> int:
    """Halvings from an image's side to the smallest map.

    Examples:
      >>> powers(64), powers(64, 1)
      (4, 6)
    """
    return round(math.log2(side // smallest))


class Whole(nn.Module):
    """A map [n h w c] → numbers [n features], without bias: each sees the whole map.

    Examples:
      >>> import jax
      >>> jax.eval_shape(lambda: Whole(5).init_with_output(jax.random.key(0), jnp.ones((2, 4, 4, 3)))[0]).shape
      (2, 5)
    """

    features: int

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n features"]:
        kernel = self.param("kernel", start, (*x.shape[1:], self.features))
        return to_numbers(x, kernel)


class Narrowing(nn.Module):
    """Images in [-1, 1] [n s s c] → `features` [n 4 4 d], and of them `numbers` [n numbers], or none of 0.

    Convolutions 4x4 of stride 2 without biases, from `width` channels on twice as many each, batch norm behind all but
    the first. padding: of the first; anomalib's is 4.

    Examples:
      >>> import jax
      >>> network, x = Narrowing(8, 5), jnp.zeros((2, 16, 16, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'features': (2, 4, 4, 16), 'numbers': (2, 5)}
    """

    width: int = 64
    numbers: int = 0
    norm: Norm = Norm()
    padding: int = 1

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n s s c"], train: bool = False) -> dict[str, Array]:
        x = leaky(down4(self.width, padding=self.padding, name="down1")(jnp.asarray(x)))
        for number in range(2, powers(_even(x.shape[1])) + 2):
            x = unit4(self.width * 2 ** (number - 1), norm=self.norm, act=leaky, name=f"down{number}")(x, train)
        return {"features": x, **({"numbers": Whole(self.numbers, name="out")(x)} if self.numbers else {})}


def _even(side: int) -> int:
    """The power of two that a side is, or is just above where a wide padding made it so."""
    return 2 ** int(math.log2(side))


class Spreading(nn.Module):
    """Numbers [n z] → a map [n 4 4 features] + batch norm + ReLU: a transposed convolution of one pixel.

    Examples:
      >>> import jax
      >>> jax.eval_shape(lambda: Spreading(3).init_with_output(jax.random.key(0), jnp.ones((2, 5)))[0]).shape
      (2, 4, 4, 3)
    """

    features: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, z: Float[ArrayLike, "n z"], train: bool = False) -> Float[Array, "n 4 4 features"]:
        kernel = self.param("kernel", start, (z.shape[-1], SMALLEST, SMALLEST, self.features))
        return normalize(self, to_map(z, kernel), self.norm, train)


class Widening(nn.Module):
    """Numbers [n z] → images in [-1, 1] [n side side channels]: `Narrowing` backwards, with ReLUs and a tanh.

    Examples:
      >>> import jax
      >>> network, z = Widening(16, 8), jnp.zeros((2, 5))
      >>> jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), z)[0]).shape
      (2, 16, 16, 3)
    """

    side: int
    width: int = 64
    channels: int = 3
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, z: Float[ArrayLike, "n z"], train: bool = False) -> Float[Array, "n side side channels"]:
        steps = powers(self.side)
        y: Any = Spreading(self.width * 2 ** (steps - 1), self.norm, name="spread")(z, train)
        for number in range(steps - 1, 0, -1):
            y = unit4(self.width * 2 ** (number - 1), up="transposed", norm=self.norm, name=f"up{number}")(y, train)
        last = unit4(self.channels, up="transposed", norm=None, use_bias=False, act=jnp.tanh, name="out")
        return last(y, train)


class Coder(nn.Module):
    """Images in [-1, 1] [n s s c] → `code` [n latent], `rebuilt` [n s s c] of it, and the `again` code of that.

    The latter is of a second encoder, where `second`. drawn: codes [n latent]; then it gives `made`, images of these,
    in place of `rebuilt`.

    Examples:
      >>> import jax
      >>> network, x = Coder(5, 8, second=True), jnp.zeros((2, 16, 16, 3))
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x)[0])
      >>> {name: value.shape for name, value in out.items()}
      {'again': (2, 5), 'code': (2, 5), 'rebuilt': (2, 16, 16, 3)}
    """

    latent: int
    width: int = 64
    second: bool = False
    norm: Norm = Norm()
    padding: int = 1

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "n s s c"], train: bool = False, drawn: Float[ArrayLike, "n latent"] | None = None
    ) -> dict[str, Array]:
        encoder = partial(Narrowing, self.width, self.latent, self.norm, self.padding)
        code = encoder(name="encode")(x, train)["numbers"]
        decode = Widening(x.shape[1], self.width, x.shape[-1], self.norm, name="decode")
        if drawn is not None:
            return {"code": code, "made": decode(drawn, train)}
        out = {"code": code, "rebuilt": decode(code, train)}
        return out | ({"again": encoder(name="again")(out["rebuilt"], train)["numbers"]} if self.second else {})
