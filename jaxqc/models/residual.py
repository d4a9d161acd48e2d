"""A plain residual network at one resolution: AST's student (arXiv 2210.07829)."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.conv import Conv, ConvBN, Norm
from jaxqc.types import ArrayLike


class Residual(nn.Module):
    """Grids [n h_l w_l c_l] → grids of `features` channels by `layerN`, from 1, each by a network of its own.

    A 3x3 convolution to `width` channels, `blocks` of two with batch norm and a shortcut around them, and a last one.

    Examples:
      >>> import jax
      >>> network, x = Residual((4,), width=8, blocks=1), (jnp.zeros((1, 3, 3, 6)),)
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), x)
      >>> jax.eval_shape(network.apply, variables, x)["layer1"].shape
      (1, 3, 3, 4)
    """

    features: tuple[int, ...]
    width: int = 1024
    blocks: int = 4
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, layers: tuple[Float[ArrayLike, "n _ _ _"], ...], train: bool = False) -> dict[str, Array]:
        out = {}
        for number, (given, features) in enumerate(zip(layers, self.features, strict=True), 1):
            x = nn.leaky_relu(Conv(self.width, dtype=self.norm.dtype, name=f"first{number}")(jnp.asarray(given)))
            for i in range(self.blocks):
                y = ConvBN(self.width, norm=self.norm, act=nn.leaky_relu, name=f"block{number}_{i}a")(x, train)
                x = x + ConvBN(self.width, norm=self.norm, act=nn.leaky_relu, name=f"block{number}_{i}b")(y, train)
            out[f"layer{number}"] = Conv(features, dtype=self.norm.dtype, name=f"last{number}")(x)
        return out
