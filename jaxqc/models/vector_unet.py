"""U-Nets down to one pixel and back, of one image or of its two frequency bands (Skip-GANomaly, OCR-GAN)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.autoencoder import leaky
from jaxqc.models.dcgan import powers, start
from jaxqc.nn.conv import Norm, Pointwise
from jaxqc.nn.pyramid import along_both, doubling, halving
from jaxqc.nn.transposed import ConvUnit
from jaxqc.types import ArrayLike

WIDEST = 8
"""Most channels, in units of the first map's."""
SQUEEZE, LEAST = 16, 8
"""By which `Attention` divides channels, and the least that it keeps."""


def bands(x: Float[ArrayLike, "n h w c"]) -> tuple[Float[Array, "n h w c"], Float[Array, "n h w c"]]:
    """The low band, halved and doubled again by a Gaussian pyramid, and the rest; they add up to the image.

    Examples:
      >>> import jax
      >>> low, high = jax.jit(bands)(jnp.ones((1, 8, 8, 1)))
      >>> low.min().round(5).item(), high.max().round(5).item()
      (1.0, 0.0)
    """
    x = jnp.asarray(x)
    low = along_both(x, *(doubling(side) @ halving(side, "reflect") for side in x.shape[1:3]))
    return low, x - low


class Attention(nn.Module):
    """Maps of two bands [n h w c] → the same, each channel times a share; the two shares of a channel sum to 2.

    The shares are of the channels' means over both bands, through a layer of few numbers (as 1903.06586). They are 1 at
    the start.

    Examples:
      >>> import jax
      >>> maps = jnp.ones((1, 2, 2, 16)), jnp.zeros((1, 2, 2, 16))
      >>> low, high = jax.jit(lambda: Attention().init_with_output(jax.random.key(0), maps)[0])()
      >>> low.max().item(), high.max().item()
      (1.0, 0.0)
    """

    @nn.compact
    def __call__(
        self, maps: tuple[Float[ArrayLike, "n h w c"], Float[ArrayLike, "n h w c"]]
    ) -> tuple[Float[Array, "n h w c"], Float[Array, "n h w c"]]:
        low, high = map(jnp.asarray, maps)
        channels = low.shape[-1]
        mean = (low + high).mean((1, 2))
        few = nn.relu(Pointwise(max(channels // SQUEEZE, LEAST), name="squeeze")(mean))
        share = 2 * nn.sigmoid(Pointwise(channels, kernel_init=nn.initializers.zeros, name="share")(few))
        return low * share[:, None, None], high * (2 - share[:, None, None])


class VectorUNets(nn.Module):
    """An image in [-1, 1] [n s s c], or its two `bands`, → as many such images within -1 and 1.

    Of pix2pix (arXiv 1611.07004) without dropout: convolutions 4x4 of stride 2 down to one pixel, of `width` to eight
    times as many channels; each map goes past to the decoder. Two networks attend to each other's maps on the way down.

    Examples:
      >>> import jax
      >>> network, x = VectorUNets(8), jnp.zeros((2, 16, 16, 3))
      >>> [y.shape for y in jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), (x, x))[0])]
      [(2, 16, 16, 3), (2, 16, 16, 3)]
    """

    width: int = 64
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, images: tuple[Float[ArrayLike, "n s s c"], ...], train: bool = False) -> tuple[Array, ...]:
        levels, given = powers(images[0].shape[1], 1), images[0].shape[-1]
        widths = [given, *(self.width * min(WIDEST, 2**number) for number in range(levels))]
        unit = partial(ConvUnit, kernel_size=4, stride=2, act=None, kernel_init=start)
        plain: Any = {"norm": None, "use_bias": False}
        xs, seen = [jnp.asarray(x) for x in images], []
        for number in range(1, levels + 1):
            bare: Any = plain if number in (1, levels) else {"norm": self.norm}
            xs = [x if number == 1 else leaky(x) for x in xs]
            xs = [unit(widths[number], name=f"down{number}_{i}", **bare)(x, train) for i, x in enumerate(xs)]
            if len(xs) == 2:
                xs = list(Attention(name=f"attend{number}")((xs[0], xs[1])))
            seen.append(xs)
        for number in range(levels, 0, -1):
            norm = None if number == 1 else self.norm
            back = partial(unit, widths[number - 1], up="transposed", norm=norm)
            xs = [back(name=f"up{number}_{i}")(nn.relu(x), train) for i, x in enumerate(xs)]
            if number > 1:
                xs = [jnp.concatenate(pair, -1) for pair in zip(seen[number - 2], xs, strict=True)]
        return tuple(jnp.tanh(x) for x in xs)
