"""Patch description networks, and the autoencoder beside them: of EfficientAD (arXiv 2303.14535) and of Uninformed
Students (arXiv 1911.02357).

EfficientAD's descriptions see 33 pixels; nothing is padded, so a grid has eight cells fewer than a quarter of the
image's side. Those of Uninformed Students see 17, 30 or 60 pixels; the image is padded with grey, so that a cell stands
for each square of 4 x 4 pixels.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.models.arrays import FIELDS, Path
from jaxqc.nn.conv import dense_conv
from jaxqc.nn.dropout import Dropout
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike

POOL = (0, 2)
"""A step: pooling of 2 x 2; every other one is a convolution's (features, kernel)."""
LEAST_SIDE, WHOLE = 128, 64
"""Least side of an image that the autoencoder takes, and what it must be a multiple of."""


@dataclass(frozen=True)
class PdnSpec:
    """The chain of a description network: convolutions with ReLU but for the last, and poolings.

    steps: (features, kernel) of each. width: of the autoencoder beside it. slope: of the ReLU below 0. pool: of 2 x 2
    values, their mean or maximum. stride: pixels from a cell to the next: the grid is that of descriptions at every
    pixel, thinned out. padded: the image is, so that its descriptions cover it.

    Examples:
      >>> [PDNS[name].field for name in ("pdn_small", "pdn_17", "pdn_33", "pdn_65")]
      [33, 17, 30, 60]
    """

    steps: tuple[tuple[int, int], ...]
    width: int = 64
    slope: float = 0.0
    pool: Literal["mean", "max"] = "mean"
    stride: int = 4
    padded: bool = False

    @property
    def channels(self) -> int:
        """Channels of a description."""
        return self.steps[-1][0]

    @property
    def field(self) -> int:
        """Pixels a side that a description sees."""
        field = step = 1
        for features, kernel in self.steps:
            field, step = field + (kernel - 1) * step, step if features else step * kernel
        return field

    def doubled(self) -> "PdnSpec":
        """The student's: it answers the teacher and the autoencoder, so its last layers are twice as wide."""
        wide = lambda features: 2 * features if features == self.channels else features
        return replace(self, steps=tuple((wide(features), kernel) for features, kernel in self.steps))


_UNINFORMED = partial(PdnSpec, slope=5e-3, pool="max", padded=True)
PDNS = {
    "pdn_small": PdnSpec(((128, 4), POOL, (256, 4), POOL, (256, 3), (384, 4))),
    "pdn_medium": PdnSpec(((256, 4), POOL, (512, 4), POOL, (512, 1), (512, 3), (384, 4), (384, 1))),
    "pdn_tiny": PdnSpec(((32, 4), POOL, (64, 4), POOL, (64, 3), (96, 4))),
    "pdn_17": _UNINFORMED(((128, 6), (256, 5), (256, 5), (128, 4))),
    "pdn_33": _UNINFORMED(((128, 3), POOL, (256, 5), POOL, (256, 2), (128, 4))),
    "pdn_65": _UNINFORMED(((128, 5), POOL, (128, 5), POOL, (128, 5), POOL, (256, 4), (128, 1))),
}
"""By name. `pdn_tiny` is ours, for CPUs: a quarter of the small one's channels. `pdn_17`, `pdn_33` and `pdn_65` are of
Uninformed Students, by their nominal fields; the first has no pooling and takes many times the others' work."""


class PaddedConv(nn.Module):
    """A convolution with bias and so many pixels of zeros on every side: [n h w i] → [n H W features]."""

    features: int
    kernel_size: int
    stride: int = 1
    pad: int = 0
    dtype: Any = jnp.float32
    dilation: int = 1

    @nn.compact
    def __call__(self, x: ArrayLike) -> jax.Array:
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        x = jnp.asarray(x, self.dtype)
        if self.dilation == 1:
            return dense_conv(x, kernel, self.stride, self.pad) + bias
        pad, steps, apart = ((self.pad, self.pad),) * 2, (self.stride,) * 2, (self.dilation,) * 2
        return lax.conv_general_dilated(x, kernel, steps, pad, None, apart, ("NHWC", "HWIO", "NHWC")) + bias


def sliding_pool(x: Float[ArrayLike, "n h w c"], kernel: int, apart: int, how: str) -> Float[Array, "n _ _ c"]:
    """Pooling of stride 1 over `kernel` values that lie `apart`, along both axes: `mean` or `max`.

    Examples:
      >>> sliding_pool(jnp.arange(9.0).reshape(1, 3, 3, 1), 2, 2, "max").ravel().tolist()
      [8.0]
    """
    x = jnp.asarray(x)
    for axis in (1, 2):
        n = x.shape[axis] - (kernel - 1) * apart
        parts = jnp.stack([lax.slice_in_dim(x, i * apart, i * apart + n, axis=axis) for i in range(kernel)])
        x = parts.max(0) if how == "max" else parts.mean(0)
    return x


class Pdn(nn.Module):
    """Normalised image [n s s 3] → `{"layer1": [n s/4-8 s/4-8 c]}`, or [n s/4 s/4 c] of a padded one.

    A pooling whose stride the grid cannot take on has stride 1, and what comes after it is dilated instead.

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
        spec, x, number = self.spec, jnp.asarray(image), 0
        last, left, apart = len(spec.steps) - 1, spec.stride, 1
        if spec.padded:
            around = ((spec.field - spec.stride) // 2, -((spec.stride - spec.field) // 2))
            x = jnp.pad(x, ((0, 0), around, around, (0, 0)))
        for place, (features, kernel) in enumerate(spec.steps):
            if not features and left % kernel:
                x, apart = sliding_pool(x, kernel, apart, spec.pool), apart * kernel
            elif not features:
                pool, left = nn.max_pool if spec.pool == "max" else nn.avg_pool, left // kernel
                x = pool(x, (kernel, kernel), (kernel, kernel))
            else:
                number += 1
                stride = left if place == last else 1
                x = PaddedConv(features, kernel, stride, dtype=self.dtype, dilation=apart, name=f"conv{number}")(x)
                x = x if place == last else nn.leaky_relu(x, spec.slope) if spec.slope else nn.relu(x)
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
