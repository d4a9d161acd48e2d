"""Patch description networks and the autoencoder beside them: EfficientAD's networks (arXiv 2303.14535).

A description sees 33 pixels; nothing is padded, so a grid has eight cells fewer than a quarter of the image's side.
"""

from dataclasses import dataclass, replace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.models.arrays import FIELDS, Path
from jaxqc.nn.dropout import Dropout
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike

POOL = (0, 2)
"""A step: average pooling of 2 x 2; every other one is a convolution's (features, kernel)."""
LEAST_SIDE, WHOLE = 128, 64
"""Least side of an image that the autoencoder takes, and what it must be a multiple of."""


@dataclass(frozen=True)
class PdnSpec:
    """The chain of a description network: convolutions with ReLU but for the last, and poolings.

    steps: (features, kernel) of each. width: of the autoencoder beside it.
    """

    steps: tuple[tuple[int, int], ...]
    width: int = 64

    @property
    def channels(self) -> int:
        """Channels of a description."""
        return self.steps[-1][0]

    def doubled(self) -> "PdnSpec":
        """The student's: it answers the teacher and the autoencoder, so its last layers are twice as wide."""
        wide = lambda features: 2 * features if features == self.channels else features
        return replace(self, steps=tuple((wide(features), kernel) for features, kernel in self.steps))


PDNS = {
    "pdn_small": PdnSpec(((128, 4), POOL, (256, 4), POOL, (256, 3), (384, 4))),
    "pdn_medium": PdnSpec(((256, 4), POOL, (512, 4), POOL, (512, 1), (512, 3), (384, 4), (384, 1))),
    "pdn_tiny": PdnSpec(((32, 4), POOL, (64, 4), POOL, (64, 3), (96, 4))),
}
"""By name. `pdn_tiny` is ours, for CPUs: a quarter of the small one's channels."""


class PaddedConv(nn.Module):
    """A convolution with bias and so many pixels of zeros on every side: [n h w i] → [n H W features]."""

    features: int
    kernel_size: int
    stride: int = 1
    pad: int = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        pad, steps = ((self.pad, self.pad),) * 2, (self.stride,) * 2
        dimensions = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(jnp.asarray(x, self.dtype), kernel, steps, pad, None, None, dimensions) + bias


class Pdn(nn.Module):
    """Normalised image [n s s 3] → `{"layer1": [n s/4-8 s/4-8 c]}`.

    Examples:
      >>> network, image = Pdn(PDNS["pdn_small"]), jnp.zeros((1, 256, 256, 3))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), image)
      >>> jax.eval_shape(network.apply, variables, image)["layer1"].shape
      (1, 56, 56, 384)
    """

    spec: PdnSpec
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        x, number, last = jnp.asarray(image), 0, len(self.spec.steps) - 1
        for place, (features, kernel) in enumerate(self.spec.steps):
            if not features:
                x = nn.avg_pool(x, (kernel, kernel), (kernel, kernel))
                continue
            number += 1
            x = PaddedConv(features, kernel, dtype=self.dtype, name=f"conv{number}")(x)
            x = x if place == last else nn.relu(x)
        return {"layer1": x}


class Autoencoder(nn.Module):
    """Normalised image [n s s 3] → its descriptions [n s/4-8 s/4-8 channels], rebuilt from `width` numbers a place.

    A side is a multiple of 64 and at least 128; from 256 on all is as published, where width is 64.
    rate: of dropout.

    Examples:
      >>> network, image = Autoencoder(384), jnp.zeros((1, 256, 256, 3))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), image)
      >>> sum(x.size for x in jax.tree.leaves(variables)), jax.eval_shape(network.apply, variables, image).shape
      (1096320, (1, 56, 56, 384))
    """

    channels: int
    width: int = 64
    rate: float = 0.2
    axis_name: str | None = None

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n s s 3"], train: bool = False) -> Float[Array, "n _ _ _"]:
        x, side, width = jnp.asarray(image), image.shape[1], self.width
        for number, features in enumerate((width // 2, width // 2, width, width, width), 1):
            x = nn.relu(PaddedConv(features, 4, 2, 1, name=f"encoder{number}")(x))
        x = PaddedConv(width, min(8, side // 32), name="encoder6")(x)
        sides = (side // 64 - 1, side // 32, side // 16 - 1, side // 8, side // 4 - 1, side // 2 - 1)
        for number, wide in enumerate(sides, 1):
            x = nn.relu(PaddedConv(width, 4, 1, 2, name=f"decoder{number}")(resize(x, wide, wide)))
            x = Dropout(self.rate, self.axis_name)(x, train)
        x = resize(x, side // 4 - 8, side // 4 - 8)
        x = nn.relu(PaddedConv(width, 3, 1, 1, name="decoder7")(x))
        return PaddedConv(self.channels, 3, 1, 1, name="decoder8")(x)


def anomalib_name(path: Path) -> str:
    """The array of a variable in a file of anomalib's teachers.

    Examples:
      >>> anomalib_name(("params", "conv2", "kernel"))
      'conv2.weight'
    """
    return f"{path[1]}.{FIELDS[path[2]]}"
