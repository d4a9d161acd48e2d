"""An autoencoder through two maps of codes, a fine and a coarse one (VQ-VAE-2, arXiv 1906.00446), as DSR has it."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.codes import quantised
from jaxqc.nn.conv import Conv
from jaxqc.nn.transposed import ConvUnit
from jaxqc.types import ArrayLike

WIDTH = 128
"""Channels of codes and maps, as published."""
RESIDUALS = 2
"""Residual layers of a stack."""
FINE, COARSE = 4, 8
"""Pixels along a side of a cell of the fine and of the coarse map."""
Map = Float[ArrayLike, "n _ _ _"]


def wider(features: int, name: str | None = None) -> Any:
    """A transposed convolution that doubles a map's sides, and nothing behind it.

    Examples:
      >>> wider(4, "up").features
      4
    """
    return ConvUnit(features, 4, 2, up="transposed", norm=None, act=None, name=name)


class Residuals(nn.Module):
    """Layers y + conv1x1(relu(conv3x3(y))) with y = relu(x), without biases, then a ReLU: [n h w c] → same.

    That y is added, and not x, is what the published code does, whose ReLU overwrites its input. inner: channels
    between the convolutions.
    """

    inner: int

    @nn.compact
    def __call__(self, x: Map) -> Float[Array, "n _ _ _"]:
        x = jnp.asarray(x)
        for i in range(1, RESIDUALS + 1):
            x = nn.relu(x)
            y = Conv(self.inner, use_bias=False, name=f"wide{i}")(x)
            x = x + Conv(x.shape[-1], 1, use_bias=False, name=f"back{i}")(nn.relu(y))
        return nn.relu(x)


class VqVae(nn.Module):
    """Image [n s s 3] in [0, 1] → the same through codes; sides are multiples of 8. `code`: [m d] by `lo` and `hi`.

    Beside it the vectors `z`, before they are coded, and the codes `q`, through which a gradient passes to them.
    The coarse map, `lo`, comes of the fine one, `hi`, which is coded beside what the coarse one holds already.

    Examples:
      >>> import jax
      >>> network, x = VqVae(8), jnp.zeros((1, 16, 16, 3))
      >>> code = {name: jnp.zeros((5, 8)) for name in ("lo", "hi")}
      >>> out = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), x, code)[0])
      >>> sorted(out), out["rebuilt"].shape, out["z_hi"].shape, out["z_lo"].shape
      (['q_hi', 'q_lo', 'rebuilt', 'z_hi', 'z_lo'], (1, 16, 16, 3), (1, 4, 4, 8), (1, 2, 2, 8))
    """

    width: int = WIDTH

    def setup(self) -> None:
        """The layers."""
        half, inner = max(1, self.width // 2), max(1, self.width // 2)
        self.fine1 = Conv(half, 4, stride=2, padding=1)
        self.fine2 = Conv(self.width, 4, stride=2, padding=1)
        self.fine3 = Conv(self.width)
        self.fine = Residuals(inner)
        self.coarse1 = Conv(self.width, 4, stride=2, padding=1)
        self.coarse2 = Conv(self.width)
        self.coarse = Residuals(inner)
        self.into_lo = Conv(self.width, 1)
        self.into_hi = Conv(self.width, 1)
        self.up_lo = wider(self.width)
        self.decode1 = Conv(self.width)
        self.decode = Residuals(inner)
        self.decode2 = wider(half)
        self.decode3 = wider(3)

    def encoded(self, image: Map) -> tuple[Float[Array, "n _ _ d"], Float[Array, "n _ _ d"]]:
        """The fine map, and the coarse vectors that are to be coded."""
        x = nn.relu(self.fine2(nn.relu(self.fine1(image))))
        fine = self.fine(self.fine3(x))
        coarse = nn.relu(self.coarse2(nn.relu(self.coarse1(fine))))
        return fine, self.into_lo(self.coarse(coarse))

    def beside(self, fine: Map, lo: Map) -> Float[Array, "n _ _ _"]:
        """The fine vectors that are to be coded, beside coarse codes."""
        return self.into_hi(jnp.concatenate([jnp.asarray(fine), self.up_lo(lo)], -1))

    def joined(self, lo: Map, hi: Map) -> Float[Array, "n _ _ _"]:
        """Codes of both maps on the fine grid, as decoders take them."""
        return jnp.concatenate([self.up_lo(lo), jnp.asarray(hi)], -1)

    def decoded(self, lo: Map, hi: Map) -> Float[Array, "n _ _ 3"]:
        """The image of codes."""
        x = self.decode(self.decode1(self.joined(lo, hi)))
        return self.decode3(nn.relu(self.decode2(x)))

    def __call__(self, image: Map, code: dict[str, Any]) -> dict[str, Array]:
        fine, z_lo = self.encoded(image)
        lo = quantised(z_lo, code["lo"])
        z_hi = self.beside(fine, lo)
        hi = quantised(z_hi, code["hi"])
        return {"q_hi": hi, "q_lo": lo, "rebuilt": self.decoded(lo, hi), "z_hi": z_hi, "z_lo": z_lo}
