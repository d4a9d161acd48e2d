"""The dense prediction head of DPT (arXiv 2103.13413) for segmentation: features in, logits of any size out."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxqc.nn.conv import Conv, Pointwise
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.types import ArrayLike

weight_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""PyTorch's for convolutions: the published recipes, whose learning rates we use, start from it."""


def logits_of(x: jax.Array, classes: int, prior: Sequence[float], size: tuple[int, int] | None) -> jax.Array:
    """The end of a head's `__call__`: features [n h w f] → logits [n height width classes], corners aligned.

    float32 from here on: half precision cannot separate probabilities of 0.90 and 0.95. size: None keeps the map's.
    """
    logits = Pointwise(classes, jnp.float32, shares_init(prior), weight_init, name="logits")(x)
    return logits if size is None else resize_align_corners(logits, *size)


def shares_init(prior: Sequence[float]) -> nn.initializers.Initializer:
    """Start of a bias that gives each class its share, by the share's logarithm; () = zeros.

    Examples:
      >>> shares_init((0.5, 0.5))(jax.random.key(0), (2,)).tolist() == [float(np.log(np.float32(0.5)))] * 2
      True
    """
    if not prior:
        return nn.initializers.zeros
    shares = np.maximum(np.asarray(prior, np.float64), 1e-4)
    return lambda key, shape, dtype=jnp.float32: jnp.asarray(np.log(shares / shares.sum()), dtype).reshape(shape)


class Upscale(nn.Module):
    """Transposed convolution whose kernel is its stride: [n h w i] → [n kh kw features]; k²·i·features + features.

    Blocks do not overlap, so that it is one matrix product and a reshape. The kernel is [k k i o].
    """

    features: int
    factor: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        (n, h, w, i), k, o = x.shape, self.factor, self.features
        kernel = self.param("kernel", weight_init, (k, k, i, o)).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (o,)).astype(self.dtype)
        blocks = x.astype(self.dtype).reshape(-1, i) @ kernel.transpose(2, 0, 1, 3).reshape(i, k * k * o)
        y = blocks.reshape(n, h, w, k, k, o) + bias
        return y.swapaxes(2, 3).reshape(n, h * k, w * k, o)


class ResidualUnit(nn.Module):
    """x + conv(relu(conv(relu(x)))), 3x3 with bias; 2(9f² + f) parameters."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = x
        for name in ("conv1", "conv2"):
            y = Conv(x.shape[-1], dtype=self.dtype, kernel_init=weight_init, name=name)(nn.relu(y))
        return x + y


class Fusion(nn.Module):
    """Adds a finer map to what comes from below, mixes, and resizes to `size`, corners aligned.

    The 1x1 convolution stands before the resize, not after it as published: its result is the same, because the
    weights of an interpolation sum to 1, at a quarter of the cost.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, finer: jax.Array | None, size: tuple[int, int]) -> jax.Array:
        if finer is not None:
            x = x + ResidualUnit(self.dtype, name="skip")(finer)
        elif self.is_initializing():
            # Published heads have this unit in the deepest block too, where nothing ever enters it.
            ResidualUnit(self.dtype, name="skip")(x)
        x = ResidualUnit(self.dtype, name="mix")(x)
        x = Pointwise(x.shape[-1], self.dtype, kernel_init=weight_init, name="out")(x)
        return resize_align_corners(x, *size)


class Represent(nn.Module):
    """A vector for each place of a grid of half the resolution: [n h w f] → float32 [n h/2 w/2 width]."""

    width: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for name, stride in (("conv1", 2), ("conv2", 1)):
            conv = Conv(x.shape[-1], dtype=self.dtype, stride=stride, kernel_init=weight_init, name=name)
            x = nn.relu(conv(x))
        return Pointwise(self.width, jnp.float32, kernel_init=weight_init, name="out")(x)


class DPT(nn.Module):
    """Features, shallow to deep → float32 logits [n height width classes], or at the head's own size; with `both`
    also the features of places, if it has them.

    channels: after reassembly, of four. The features of a transformer share one grid [n h w d]; 1x1 convolutions to
    `channels` and resizing by 4, 2, 1 and ½ make a pyramid of them. () where the features are a pyramid already, each
    half the size of the one before, as a ResNet's layers: they enter the 3x3 convolutions to `features` as they are,
    which is where a transformer's pyramid enters too.
    features: hidden width. prior: share of each class, from which the last bias starts as its logarithm; () = zeros.
    represent: length of the features that each place of a grid at half the last map's resolution has with `both`, by
    two 3x3 convolutions and a 1x1 from what the last convolution sees; 0 = none.
    Between encoder and head a caller may multiply each feature by a mask [n 1 1 c] (channel dropout).

    Examples:
      >>> head = DPT(classes=3, features=16, channels=())
      >>> features = [jnp.zeros((1, side, side, 8)) for side in (16, 8, 4)]
      >>> logits, _ = jax.eval_shape(lambda key: head.init_with_output(key, features, (64, 64)), jax.random.key(0))
      >>> logits.shape
      (1, 64, 64, 3)
    """

    classes: int
    features: int = 64
    channels: tuple[int, ...] = (48, 96, 192, 384)
    prior: tuple[float, ...] = ()
    dtype: Any = jnp.float32
    represent: int = 0

    @nn.compact
    def __call__(
        self, features: Sequence[Float[ArrayLike, "n _ _ _"]], size: tuple[int, int] | None = None, both: bool = False
    ) -> Any:
        maps = [jnp.asarray(f, self.dtype) for f in features]
        maps = self._reassembled(maps) if self.channels else maps
        narrow = [
            Conv(self.features, dtype=self.dtype, use_bias=False, kernel_init=weight_init, name=f"narrow{i}")(m)
            for i, m in enumerate(maps, start=1)
        ]
        sizes = [(2 * narrow[0].shape[1], 2 * narrow[0].shape[2]), *(m.shape[1:3] for m in narrow[:-1])]
        x = Fusion(self.dtype, name=f"fuse{len(narrow)}")(narrow[-1], None, sizes[-1])
        for i in range(len(narrow) - 1, 0, -1):
            x = Fusion(self.dtype, name=f"fuse{i}")(x, narrow[i - 1], sizes[i - 1])
        places = None
        if self.represent and (both or self.is_initializing()):
            places = Represent(self.represent, self.dtype, name="represent")(x)
        x = nn.relu(Conv(self.features, dtype=self.dtype, kernel_init=weight_init, name="smooth")(x))
        logits = logits_of(x, self.classes, self.prior, size)
        return (logits, places) if both else logits

    def _reassembled(self, maps: Sequence[jax.Array]) -> list[jax.Array]:
        c, dtype = self.channels, self.dtype
        projected = [
            Pointwise(width, dtype, kernel_init=weight_init, name=f"project{i}")(m)
            for i, (width, m) in enumerate(zip(c, maps, strict=True), start=1)
        ]
        return [
            Upscale(c[0], 4, dtype, name="resize1")(projected[0]),
            Upscale(c[1], 2, dtype, name="resize2")(projected[1]),
            projected[2],
            Conv(c[3], dtype=dtype, stride=2, kernel_init=weight_init, name="resize4")(projected[3]),
        ]
