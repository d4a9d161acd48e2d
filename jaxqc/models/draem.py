"""DRAEM's two networks (arXiv 2108.07610): one rebuilds an image without defects, one sees both and finds them.

The published layers have a bias in front of each batch norm, which that takes away again; here there is none.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxqc.models.levels import convolved, enlarged, halving
from jaxqc.nn.conv import Conv, Norm
from jaxqc.types import ArrayLike

WIDTH, HEAD_WIDTH = 128, 64
"""Channels of the first levels, as published."""
REBUILDING = (1, 2, 4, 8, 8)
"""Channels of the first network's levels, in units of its width."""
FINDING = (1, 2, 4, 8, 8, 8)
"""Those of the second one's."""
MULTIPLE = 32
"""Pixels of which a side must be a multiple, for the second one's levels."""
DEVIATION = 0.02
"""Standard deviation of the authors' start."""


class Rebuilding(nn.Module):
    """Image [n h w 3] in [0, 1] → the image without defects [n h w 3], unbounded; through a sixteenth of its sides.

    Examples:
      >>> x = jnp.zeros((2, 32, 32, 3))
      >>> jax.eval_shape(lambda: Rebuilding(4).init_with_output(jax.random.key(0), x)[0]).shape
      (2, 32, 32, 3)
    """

    width: int = WIDTH
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n h w c"]:
        levels = [self.width * factor for factor in REBUILDING]
        x = halving(image, levels, self.norm, train)[-1]
        for level in range(len(levels) - 1, 0, -1):
            own, then = levels[level - 1], levels[max(level - 2, 0)]
            x = convolved(enlarged(x), (own, own, then), f"decode{level}", self.norm, train, first=0)
        return Conv(image.shape[-1], name="out")(x)


class Finding(nn.Module):
    """Image and rebuilt image, their channels side by side [n h w c] → logits that a pixel is normal, or not [n h w 2].

    Examples:
      >>> x = jnp.zeros((2, 32, 32, 6))
      >>> jax.eval_shape(lambda: Finding(4).init_with_output(jax.random.key(0), x)[0]).shape
      (2, 32, 32, 2)
    """

    width: int = HEAD_WIDTH
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, pair: Float[ArrayLike, "n h w c"], train: bool = False) -> Float[Array, "n h w 2"]:
        levels = [self.width * factor for factor in FINDING]
        seen = halving(pair, levels, self.norm, train)
        x = seen[-1]
        for level in range(len(levels) - 1, 0, -1):
            width = levels[max(level - 2, 0)] if level < len(levels) - 1 else levels[level - 1]
            x = convolved(enlarged(x), (width,), f"decode{level}", self.norm, train, first=0)
            x = jnp.concatenate([x, seen[level - 1]], -1)
            x = convolved(x, (width, width), f"decode{level}", self.norm, train)
        return Conv(2, name="out")(x)


def drawn_small(params: Any, key: Key[Array, ""]) -> Any:
    """The authors' start of parameters: kernels from N(0, 0.02), the norms' scales from N(1, 0.02), biases 0.

    Examples:
      >>> params = {"kernel": jnp.zeros((3, 3, 32, 32)), "bn": {"scale": jnp.zeros(8), "bias": jnp.ones(8)}}
      >>> drawn = jax.jit(drawn_small)(params, jax.random.key(0))
      >>> round(float(drawn["kernel"].std()), 3), abs(float(drawn["bn"]["scale"].mean()) - 1) < 0.05
      (0.02, True)
    """
    leaves, tree = jax.tree_util.tree_flatten_with_path(params)
    means = {"kernel": 0.0, "scale": 1.0}

    def one(number: int, name: str, x: Array) -> Array:
        if name not in means:
            return jnp.zeros_like(x)
        return means[name] + DEVIATION * jax.random.normal(jax.random.fold_in(key, number), x.shape)

    return jax.tree.unflatten(tree, [one(i, path[-1].key, x) for i, (path, x) in enumerate(leaves)])
