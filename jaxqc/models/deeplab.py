"""DeepLabV3+'s head (arXiv 1802.02611), as UniMatch V1 and PS-MT have it and as U2PL has it.

Both bring the pyramid of dilated views of the deepest map to the first layer's size and set them beside it. Their
dropout is left out: perturbation is the method's business here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from jaxqc.models.dpt import logits_of, weight_init
from jaxqc.nn.conv import ConvBN, Norm, Pointwise, PointwiseBN
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.types import ArrayLike


@dataclass(frozen=True)
class DeepLabSpec:
    """The differences between the two.

    rates: dilations of the pyramid. low: channels that the first layer is narrowed to. mix: side of the kernel that
    puts the pyramid's views together. biased: the convolution of the first layer and the last ones have a bias that
    batch norm takes away again.
    """

    rates: tuple[int, int, int]
    low: int
    mix: int
    biased: bool


DEEPLABS = {
    "deeplabv3plus": DeepLabSpec((6, 12, 18), 48, 1, False),
    "deeplabv3plus_u2pl": DeepLabSpec((12, 24, 36), 256, 3, True),
}
"""By name."""


class Aspp(nn.Module):
    """Five views of a map side by side: 1x1, three dilated 3x3, and its mean; each of `features` channels."""

    features: int
    rates: tuple[int, ...]
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        f, norm = self.features, self.norm
        seen = [PointwiseBN(f, norm, name="point")(x)]
        seen += [ConvBN(f, norm=norm, dilation=rate, name=f"conv{i}")(x) for i, rate in enumerate(self.rates, start=1)]
        mean = PointwiseBN(f, norm, name="pool")(x.mean((1, 2), keepdims=True))
        return jnp.concatenate([*seen, jnp.broadcast_to(mean, seen[0].shape)], -1)


class Last(nn.Module):
    """Two 3x3 with batch norm, and a 1x1 to float32 outputs: [n h w i] → [n h w outputs]."""

    outputs: int
    features: int
    biased: bool
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for name in ("conv1", "conv2"):
            x = ConvBN(self.features, norm=self.norm, use_bias=self.biased, name=name)(x)
        return Pointwise(self.outputs, jnp.float32, kernel_init=weight_init, name="out")(x)


class DeepLabV3Plus(nn.Module):
    """Features, shallow to deep → float32 logits [n height width classes], corners aligned, or at the first map's size;
    with `both` also the features of its places, if the head has them.

    The first and the deepest are used. features: channels of every inner map. prior, represent: as of
    `jaxqc.models.dpt.DPT`, the vectors from what the last convolutions see, by two 3x3 and a 1x1 of their own.
    norm: folded = convolutions with bias and no batch norm.

    Examples:
      >>> head = DeepLabV3Plus(DEEPLABS["deeplabv3plus"], classes=3, features=8)
      >>> features = [jnp.zeros((1, side, side, 8)) for side in (16, 4)]
      >>> logits, _ = jax.eval_shape(lambda key: head.init_with_output(key, features, (64, 64)), jax.random.key(0))
      >>> logits.shape
      (1, 64, 64, 3)
    """

    spec: DeepLabSpec
    classes: int
    features: int = 256
    prior: tuple[float, ...] = ()
    represent: int = 0
    norm: Norm = Norm()

    @nn.compact
    def __call__(
        self, features: Sequence[Float[ArrayLike, "n _ _ _"]], size: tuple[int, int] | None = None, both: bool = False
    ) -> Any:
        spec, f, norm = self.spec, self.features, self.norm
        first, deepest = (jnp.asarray(features[i], norm.dtype) for i in (0, -1))
        x = Aspp(f, spec.rates, norm, name="aspp")(deepest)
        x = ConvBN(f, norm=norm, kernel_size=spec.mix, name="project")(x)
        low = ConvBN(spec.low, norm=norm, kernel_size=1, use_bias=spec.biased, name="reduce")(first)
        x = jnp.concatenate([low, resize_align_corners(x, *first.shape[1:3])], -1)
        places = None
        if self.represent and (both or self.is_initializing()):
            places = Last(self.represent, f, spec.biased, norm, name="represent")(x)
        for name in ("fuse1", "fuse2"):
            x = ConvBN(f, norm=norm, use_bias=spec.biased, name=name)(x)
        logits = logits_of(x, self.classes, self.prior, size)
        return (logits, places) if both else logits
