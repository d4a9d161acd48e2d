"""RIAD's network (Zavrtanik et al., Pattern Recognition 2021): a U-Net that fills what is hidden of an image.

Each level halves the sides by a strided convolution; the way back is by transposed ones. Published convolutions have a
bias in front of each batch norm, which that takes away again; here there is none.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.levels import convolved
from jaxqc.nn.conv import Conv, Norm
from jaxqc.nn.transposed import ConvUnit
from jaxqc.types import ArrayLike

WIDTH = 64
"""Channels of the first level, as published."""
LEVELS = (1, 2, 4, 8, 8)
"""Channels of the levels, in units of it."""
MULTIPLE = 16
"""Pixels of which a side must be a multiple."""


class Inpainting(nn.Module):
    """Image with hidden places [n h w c] in [0, 1] → the whole image [n h w c] in [0, 1].

    It works on 2 x - 1 and ends in a hyperbolic tangent, as published; hidden places are 0 in [0, 1].

    Examples:
      >>> import jax
      >>> x = jnp.zeros((2, 32, 32, 3))
      >>> jax.eval_shape(lambda: Inpainting(4).init_with_output(jax.random.key(0), x)[0]).shape
      (2, 32, 32, 3)
    """

    width: int = WIDTH
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n h w c"]:
        x: Any = 2 * jnp.asarray(image) - 1
        levels, seen = [self.width * factor for factor in LEVELS], []
        for level, width in enumerate(levels, 1):
            kernel, stride = (3, 1) if level == 1 else (4, 2)
            x = ConvUnit(width, kernel, stride, norm=self.norm, name=f"encode{level}_1")(x, train)
            x = convolved(x, (width,), f"encode{level}", self.norm, train, first=2)
            seen.append(x)
        for level in range(len(levels) - 1, 0, -1):
            width = levels[level - 1]
            x = ConvUnit(width, 4, 2, up="transposed", norm=None, act=None, name=f"decode{level}_0")(x)
            x = jnp.concatenate([x, seen[level - 1]], -1)
            x = convolved(x, (width, width), f"decode{level}", self.norm, train)
        return 0.5 * (1 + jnp.tanh(Conv(image.shape[-1], name="out")(x)))
