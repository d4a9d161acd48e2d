"""Wide residual networks for small images (arXiv 1605.07146), with batch norm before each convolution."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.conv import Conv, ConvBN, Norm, NormAct, Pointwise
from jaxqc.types import ArrayLike

STEM, WIDTHS = 16, (64, 128, 256)
"""Channels of the first convolution, and of the three groups of WRN-10-4."""
draw = nn.initializers.he_normal()


class Block(nn.Module):
    """Norm, 3 x 3, norm, 3 x 3, beside the input or a 1 x 1 convolution of it normalised: [n h w c] → [n h' w' width].

    Examples:
      >>> import jax
      >>> jax.eval_shape(lambda: Block(8, 2).init_with_output(jax.random.key(0), jnp.zeros((1, 4, 4, 4)))[0]).shape
      (1, 2, 2, 8)
    """

    width: int
    stride: int = 1
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n _ _ width"]:
        dtype, seen = self.norm.dtype, NormAct(self.norm, name="before")(x, train)
        y = ConvBN(self.width, self.stride, self.norm, name="first")(seen, train)
        y = Conv(self.width, dtype=dtype, use_bias=False, kernel_init=draw, name="second")(y)
        if x.shape[-1] == self.width and self.stride == 1:
            return jnp.asarray(x, dtype) + y
        return Conv(self.width, 1, dtype, self.stride, False, draw, name="shortcut")(seen) + y


class WideResNet(nn.Module):
    """Images [n h w c] → mean features [n d] and logits [n classes]. Of 72 classes 1,214,744 parameters.

    Examples:
      >>> import jax
      >>> network, x = WideResNet(72), jnp.zeros((1, 32, 32, 3))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), x)
      >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
      1214744
    """

    classes: int
    widths: tuple[int, ...] = WIDTHS
    stem: int = STEM
    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "n h w c"], train: bool = False
    ) -> tuple[Float[Array, "n d"], Float[Array, "n classes"]]:
        y = Conv(self.stem, dtype=self.norm.dtype, use_bias=False, kernel_init=draw, name="stem")(jnp.asarray(x))
        for i, width in enumerate(self.widths):
            y = Block(width, 1 if i == 0 else 2, self.norm, name=f"group{i}")(y, train)
        features = jnp.asarray(NormAct(self.norm, name="after")(y, train).mean((1, 2)), jnp.float32)
        return features, Pointwise(self.classes, name="last")(features)
