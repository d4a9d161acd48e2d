"""SuperSimpleNet's trained part: an adaptor of features, a head for each cell, a head for the image (arXiv 2408.03143).

The published layers have a bias in front of each batch norm, which that takes away again; here there is none.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.nn.conv import ConvBN, Norm, Pointwise, PointwiseBN
from jaxqc.nn.pool import avg3x3
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike

weight_init = nn.initializers.glorot_normal()


def doubled(layers: tuple[Float[ArrayLike, "b _ _ _"], ...]) -> Float[Array, "b h w c"]:
    """All layers' channels on a grid of twice the finest one's sides, each cell the mean of its neighbourhood.

    At the rim that has fewer than nine cells; the published one counts zeros beyond it.

    Examples:
      >>> import jax
      >>> jax.eval_shape(doubled, (jnp.zeros((1, 4, 4, 8)), jnp.zeros((1, 2, 2, 16)))).shape
      (1, 8, 8, 24)
    """
    height, width = (2 * side for side in layers[0].shape[1:3])
    return avg3x3(jnp.concatenate([resize(jnp.asarray(x), height, width) for x in layers], -1))


class Discriminator(nn.Module):
    """Features [n h w c] → logits of cells [n h w] and of images [n] that they are disturbed.

    noise: added to the features and to what the adaptor makes of them, or None.

    Examples:
      >>> import jax
      >>> network, x = Discriminator(), jnp.zeros((2, 8, 8, 6))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), x)
      >>> [y.shape for y in jax.eval_shape(network.apply, variables, x)]
      [(2, 8, 8), (2,)]
    """

    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self, x: Float[ArrayLike, "n h w c"], noise: Float[ArrayLike, "n h w c"] | None = None, train: bool = False
    ) -> tuple[Float[Array, "n h w"], Float[Array, " n"]]:
        disturbed = lambda y: y if noise is None else y + noise
        leaky = lambda y: nn.leaky_relu(y, 0.2)
        adapted = disturbed(Pointwise(x.shape[-1], kernel_init=weight_init, name="adaptor")(x))
        hidden = PointwiseBN(1024, self.norm, leaky, name="cell")(adapted, train)
        cells = self.param("cell_out", weight_init, (1024, 1))
        logits = (hidden @ cells).astype(jnp.float32)
        fixed = lax.stop_gradient(logits)  # the image's head does not teach the cells'
        seen = jnp.concatenate([disturbed(jnp.asarray(x)), fixed], -1)
        whole = ConvBN(128, 1, self.norm, 5, name="image")(seen, train)
        pooled = [y.max((1, 2)) if most else y.mean((1, 2)) for y in (whole, fixed) for most in (True, False)]
        score: Any = Pointwise(1, kernel_init=weight_init, name="image_out")(jnp.concatenate(pooled, -1))
        return logits[..., 0], score[:, 0]
