"""Projections of a teacher's layers before a reverse network sees them (RD++, CVPR 2023)."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.models.reverse import Reverse
from jaxqc.nn.conv import Conv
from jaxqc.types import ArrayLike

SLOPE = 0.01
"""Slope of the leaky ReLU below 0."""


def instance_normalised(x: Float[ArrayLike, "n h w c"], epsilon: float = 1e-5) -> Float[Array, "n h w c"]:
    """Each channel of each image less its mean over cells, divided by its deviation.

    Examples:
      >>> jax.jit(instance_normalised)(jnp.array([1.0, 3.0]).reshape(1, 1, 2, 1)).round(3).ravel().tolist()
      [-1.0, 1.0]
    """
    x = jnp.asarray(x, jnp.promote_types(x.dtype, jnp.float32))
    return (x - x.mean((1, 2), keepdims=True)) * lax.rsqrt(x.var((1, 2), keepdims=True) + epsilon)


class Projector(nn.Module):
    """Four 3x3 convolutions that narrow c channels to c/4 and widen them again: [n h w c] → [n h w c].

    After each an instance norm without parameters and a leaky ReLU. 11.25 c² + 2.25 c parameters.

    Examples:
      >>> x = jnp.zeros((1, 4, 4, 8))
      >>> jax.eval_shape(lambda: Projector().init_with_output(jax.random.key(0), x)[0]).shape
      (1, 4, 4, 8)
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "n h w c"]) -> Float[Array, "n h w c"]:
        c = x.shape[-1]
        for i, width in enumerate((c // 2, c // 4, c // 2, c)):
            y = instance_normalised(Conv(width, dtype=self.dtype, name=f"conv{i}")(x))
            x = nn.leaky_relu(y, SLOPE).astype(self.dtype)
        return jnp.asarray(x)


class Projected(nn.Module):
    """A reverse network that sees the projections of a teacher's layers: as `jaxqc.models.reverse.Reverse`.

    Examples:
      >>> from jaxqc.models.reverse import build_reverse
      >>> network = Projected(build_reverse("resnet18", (1,), (64,)))
      >>> layers = (jnp.zeros((1, 8, 8, 64)),)
      >>> out, variables = jax.eval_shape(lambda: network.init_with_output(jax.random.key(0), layers))
      >>> out["layer1"].shape, sorted(variables["params"])
      ((1, 8, 8, 64), ['projector0', 'reverse'])
    """

    reverse: Reverse

    @nn.compact
    def __call__(self, layers: tuple[Float[ArrayLike, "n _ _ _"], ...], train: bool = False) -> dict[str, Array]:
        return self.reverse(self.project(layers), train)

    @nn.compact
    def project(self, layers: tuple[Float[ArrayLike, "n _ _ _"], ...]) -> tuple[Float[Array, "n _ _ _"], ...]:
        """The projections alone."""
        dtype = self.reverse.norm.dtype
        return tuple(Projector(dtype, name=f"projector{i}")(x) for i, x in enumerate(layers))
