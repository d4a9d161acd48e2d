"""EfficientNet-Lite 0, 1 and 2 as feature extractors: mobile blocks without gates, ReLU6, padding as in TensorFlow.

Sizes and names are those of Google's release of March 2020 (the EfficientNet of arXiv 1905.11946, without squeeze and
excitation and with ReLU6 for swish); the stem, the first and the last stage keep their depth at every size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.errors import UserError, suggest
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD, checked_layers
from jaxqc.nn.conv import DepthwiseBN, Norm, PointwiseBN, kernel_init, normalize
from jaxqc.types import ArrayLike

EPSILON = 1e-3
"""Epsilon of its batch norms."""
STEM = 32
# Kernel, stride, expansion, channels and blocks of each stage of size 0.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
ENDS = {1: 1, 2: 2, 3: 4, 4: 6}
"""The stage at whose end a layer lies: the last one of its stride, 2^(layer + 1)."""


@dataclass(frozen=True)
class Stage:
    """Blocks of one width. expand: factor of the channels between the two pointwise convolutions."""

    kernel: int
    stride: int
    expand: int
    channels: int
    blocks: int


@dataclass(frozen=True)
class Lite:
    """The differences between the sizes: factors on channels and on blocks.

    Examples:
      >>> [Lite(1.1, 1.2).channels(layer) for layer in (1, 2, 3, 4)]
      [24, 48, 120, 352]
      >>> [stage.blocks for stage in Lite(1.0, 1.1).stages]
      [1, 3, 3, 4, 4, 5, 1]
    """

    width: float
    depth: float

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All seven, from the one after the stem."""
        ends = (0, len(_STAGES) - 1)
        return tuple(
            Stage(kernel, stride, expand, _rounded(channels * self.width),
                  blocks if i in ends else math.ceil(blocks * self.depth))
            for i, (kernel, stride, expand, channels, blocks) in enumerate(_STAGES)
        )  # fmt: skip

    def channels(self, layer: int) -> int:
        """Channels of a layer's output (1..4), at stride 2^(layer + 1)."""
        return self.stages[ENDS[layer]].channels


LITES: dict[str, Lite] = {
    "efficientnet_lite0": Lite(1.0, 1.0),
    "efficientnet_lite1": Lite(1.0, 1.1),
    "efficientnet_lite2": Lite(1.1, 1.2),
}
"""Every size by name."""


def _rounded(channels: float) -> int:
    """To a multiple of 8, never more than a tenth below."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


class Stem(nn.Module):
    """3x3 convolution of stride 2, padded as in TensorFlow, + batch norm + ReLU6: [n h w 3] → [n h/2 w/2 features]."""

    features: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (3, 3, x.shape[-1], self.features)).astype(self.norm.dtype)
        y = lax.conv_general_dilated(
            x.astype(self.norm.dtype), kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return normalize(self, y, self.norm, train, nn.relu6)


class MobileBlock(nn.Module):
    """Expansion, depthwise convolution, projection: [n h w i] → [n h/stride w/stride features].

    The input is added where it has the output's shape. expand: 1 = no expansion.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    expand: int = 6
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y, inner = x, x.shape[-1] * self.expand
        if self.expand > 1:
            y = PointwiseBN(inner, self.norm, nn.relu6, name="expand")(y, train)
        y = DepthwiseBN(self.stride, 1, self.norm, nn.relu6, self.kernel, "same", name="depthwise")(y, train)
        y = PointwiseBN(self.features, self.norm, None, name="project")(y, train)
        return x + y if x.shape == y.shape else y


class EfficientNetLite(nn.Module):
    """Image [n h w 3], normalised as every backbone's → `{"layer1": [n h/4 w/4 c1], ...}` for the layers asked for.

    layers: any of 1..4. Nothing beyond the deepest is computed, nor has it parameters. Its publishers' own range of
    [-1, 1] is restored inside.

    Examples:
      >>> network, image = build_lite("efficientnet_lite0", (1, 2)), jnp.zeros((1, 64, 48, 3))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), image)
      >>> {name: value.shape for name, value in jax.eval_shape(network.apply, variables, image).items()}
      {'layer1': (1, 16, 12, 24), 'layer2': (1, 8, 6, 40)}
    """

    spec: Lite
    layers: tuple[int, ...] = (1, 2, 3)
    norm: Norm = Norm(epsilon=EPSILON)

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        pixels = jnp.asarray(image) * jnp.array(IMAGENET_STD) + jnp.array(IMAGENET_MEAN)
        x, out = Stem(STEM, self.norm, name="stem")(2 * pixels - 1, train), {}
        ends = {ENDS[layer]: layer for layer in self.layers}
        for number, stage in enumerate(self.spec.stages[: max(ends) + 1]):
            for i in range(stage.blocks):
                stride, name = stage.stride if i == 0 else 1, f"stage{number}_{i}"
                x = MobileBlock(stage.channels, stage.kernel, stride, stage.expand, self.norm, name=name)(x, train)
            if number in ends:
                out[f"layer{ends[number]}"] = x
        return out


def build_lite(
    name: str,
    layers: Sequence[int] = (1, 2, 3),
    dtype: str = "float32",
    folded: bool = False,
    axis_name: str | None = None,
) -> EfficientNetLite:
    """A network by name (`LITES`).

    Args:
      layers: which of 1..4 come out. dtype: compute dtype; parameters stay float32.
      folded: build for `jaxqc.nn.fold.fold_batch_norm` variables (inference only).
      axis_name: mapped axis for synchronised batch norm.

    Raises:
      UserError: unknown name or dtype, layers that are none or not in 1..4.
    """
    if name not in LITES:
        raise UserError(f"backbone: {name!r} is not one{suggest(name, LITES)}")
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"backbone: dtype {dtype!r} is neither 'float32' nor 'bfloat16'")
    norm = Norm(folded, axis_name, jnp.dtype(dtype), epsilon=EPSILON)
    return EfficientNetLite(LITES[name], checked_layers(layers), norm)
