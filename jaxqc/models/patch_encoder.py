"""The encoders of patches of 32 and of 64 pixels, one within the other, and the net that says how two patches lie
(arXiv 2006.16067). No convolution pads, so that a whole image is seen in one pass as its patches are one by one."""

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.nn.conv import Conv
from jaxqc.types import ArrayLike

SMALL, LARGE = 32, 64
"""Sides of the patches in pixels."""
STRIDE = 2
"""Pixels from one small patch of a whole image to the next."""
WIDTHS = (32, 64, 128, 128, 64, 32, 32)
"""Channels of the small patches' convolutions; the last one gives the features."""
start = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


def leaky(x: Float[ArrayLike, "*shape"]) -> Float[Array, "*shape"]:
    """ReLU with a slope of 0.1 below 0.

    Examples:
      >>> leaky(jnp.array([-1.0, 2.0])).round(1).tolist()
      [-0.10000000149011612, 2.0]
    """
    return nn.leaky_relu(jnp.asarray(x), 0.1)


class PatchEncoder(nn.Module):
    """Images [n h w 3] → features in (-1, 1) of patches: `small` of 32 pixels, `large` of 64, which has four small.

    width: factor on the channels between. features: numbers of a patch.

    Examples:
      >>> import jax
      >>> net, image = PatchEncoder(), jnp.zeros((1, 96, 64, 3))
      >>> variables = jax.eval_shape(net.init, jax.random.key(0), image)
      >>> [sum(x.size for x in jax.tree.leaves(part)) for part in (variables["params"], variables["params"]["small"])]
      [401984, 360832]
      >>> [x.shape for x in jax.eval_shape(net.apply, variables, image)]
      [(1, 33, 17, 64), (1, 3, 1, 64)]
    """

    width: float = 1.0
    features: int = 64

    def setup(self) -> None:
        self.small = SmallPatches(self.width, self.features)
        self.joining = Joining(max(1, round(128 * self.width)), self.features)

    def __call__(self, image: Float[ArrayLike, "n h w 3"]) -> tuple[Float[Array, "n _ _ d"], Float[Array, "n _ _ d"]]:
        """Features of small patches at every second pixel, and of large ones at every sixteenth."""
        small = self.small(image)
        return small, self.joining(small[:, :: LARGE // 4 // STRIDE, :: LARGE // 4 // STRIDE], 2)

    def of_small(self, patches: Float[ArrayLike, "n 32 32 3"]) -> Float[Array, "n d"]:
        """Features of patches of 32 pixels."""
        return self.small(patches)[:, 0, 0]

    def of_large(self, patches: Float[ArrayLike, "n 64 64 3"]) -> Float[Array, "n d"]:
        """Features of patches of 64 pixels."""
        n = patches.shape[0]
        parts = jnp.asarray(patches).reshape(n, 2, SMALL, 2, SMALL, 3).transpose(0, 1, 3, 2, 4, 5)
        each = self.small(parts.reshape(4 * n, SMALL, SMALL, 3))
        return self.joining(each.reshape(n, 2, 2, -1), 1)[:, 0, 0]


class SmallPatches(nn.Module):
    """Images [n h w 3] → features of patches of 32 pixels, two pixels apart.

    Examples:
      >>> import jax
      >>> x = jnp.zeros((1, 64, 32, 3))
      >>> jax.eval_shape(lambda: SmallPatches(0.25, 8).init_with_output(jax.random.key(0), x)[0]).shape
      (1, 17, 1, 8)
    """

    width: float
    features: int

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w 3"]) -> Float[Array, "n _ _ d"]:
        for i, channels in enumerate(WIDTHS):
            wide = max(1, round(channels * self.width))
            stride = STRIDE if i == 0 else 1
            x = leaky(Conv(wide, 3, stride=stride, padding=0, kernel_init=start, name=f"conv{i + 1}")(jnp.asarray(x)))
        return jnp.tanh(Conv(self.features, 3, padding=0, kernel_init=start, name=f"conv{len(WIDTHS) + 1}")(x))


class Joining(nn.Module):
    """Features of small patches [n h w d] → of large ones, each of four that are `apart` cells from one another.

    Examples:
      >>> import jax
      >>> x = jnp.zeros((1, 5, 3, 8))
      >>> jax.eval_shape(lambda: Joining(4, 8).init_with_output(jax.random.key(0), x, 2)[0]).shape
      (1, 3, 1, 8)
    """

    hidden: int
    features: int

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w d"], apart: int) -> Float[Array, "n _ _ d"]:
        kernel = self.param("kernel", start, (2, 2, x.shape[-1], self.hidden))
        bias = self.param("bias", nn.initializers.zeros, (self.hidden,))
        numbers = ("NHWC", "HWIO", "NHWC")
        x = lax.conv_general_dilated(
            jnp.asarray(x), kernel, (1, 1), "VALID", rhs_dilation=(apart, apart), dimension_numbers=numbers
        )
        return jnp.tanh(nn.Dense(self.features, name="last")(leaky(x + bias)))


class PositionNet(nn.Module):
    """Differences of two patches' features [n d] → logits [n 8] of the places that one may have beside the other.

    The authors' last layer keeps its drawn weights, since its gradient is cut off; here it is trained.

    Examples:
      >>> import jax
      >>> variables = jax.eval_shape(PositionNet().init, jax.random.key(0), jnp.zeros((1, 64)))
      >>> sum(x.size for x in jax.tree.leaves(variables))
      25864
    """

    hidden: int = 128

    @nn.compact
    def __call__(self, difference: Float[ArrayLike, "n d"]) -> Float[Array, "n 8"]:
        x = jnp.asarray(difference)
        for name in ("first", "second"):
            x = leaky(nn.Dense(self.hidden, kernel_init=start, name=name)(x))
        return nn.Dense(8, name="last")(x)
