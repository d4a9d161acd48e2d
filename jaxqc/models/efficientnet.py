"""EfficientNets as feature extractors: mobile blocks with gates and swish, or the Lite ones without, with ReLU6.

Sizes and names are those of Google's releases (arXiv 1905.11946; Lite: March 2020), whose padding is TensorFlow's. In
Lite the stem, the first and the last stage keep their depth at every size. torchvision pads both sides alike instead.
"""

import math
from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD
from jaxqc.nn.conv import Activation, DepthwiseBN, Norm, Pointwise, PointwiseBN, kernel_init, normalize
from jaxqc.nn.depthwise import Padding
from jaxqc.types import ArrayLike

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


@dataclass(frozen=True)
class Stage:
    """Blocks of one width. expand: factor of the channels between the two pointwise convolutions."""

    kernel: int
    stride: int
    expand: int
    channels: int
    blocks: int


@dataclass(frozen=True)
class Sizes:
    """The differences between EfficientNets: factors on channels and on blocks, and whose they are.

    lite: no gates, ReLU6, stem and ends of one depth, pixels in [-1, 1]. padding, epsilon: of its convolutions and of
    its batch norms.

    Examples:
      >>> [Sizes(1.1, 1.2, lite=True).channels(layer) for layer in (1, 2, 3, 4)]
      [24, 48, 120, 352]
      >>> [stage.blocks for stage in Sizes(1.6, 2.2).stages]
      [3, 5, 5, 7, 7, 9, 3]
    """

    width: float
    depth: float
    lite: bool = False
    padding: Padding = "same"
    epsilon: float = 1e-3

    @property
    def stem(self) -> int:
        """Channels of the first convolution."""
        return STEM if self.lite else _rounded(STEM * self.width)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All seven, from the one after the stem."""
        kept = (0, len(_STAGES) - 1) if self.lite else ()
        return tuple(
            Stage(kernel, stride, expand, _rounded(channels * self.width),
                  blocks if i in kept else math.ceil(blocks * self.depth))
            for i, (kernel, stride, expand, channels, blocks) in enumerate(_STAGES)
        )  # fmt: skip

    @property
    def ends(self) -> tuple[int, int, int, int]:
        """The stages at whose end layers 1 to 4 lie: the last of its stride, but for the sixth stage with gates.

        CS-Flow (arXiv 2110.02855) and AST (2210.07829) use that one of size 5: 304 channels.
        """
        return (1, 2, 4, 6 if self.lite else 5)

    def channels(self, layer: int) -> int:
        """Channels of a layer's output (1..4), at stride 2^(layer + 1)."""
        return self.stages[self.ends[layer - 1]].channels


_GOOGLES = {
    "tf_efficientnet_b0": Sizes(1.0, 1.0),
    "tf_efficientnet_b4": Sizes(1.4, 1.8),
    "tf_efficientnet_b5": Sizes(1.6, 2.2),
}
# torchvision's batch norms have its usual epsilon up to size 4.
_TORCHVISIONS = {
    name.removeprefix("tf_"): replace(sizes, padding="symmetric", epsilon=1e-5 if sizes.width < 1.6 else 1e-3)
    for name, sizes in _GOOGLES.items()
}
EFFICIENTNETS: dict[str, Sizes] = {
    "efficientnet_lite0": Sizes(1.0, 1.0, lite=True),
    "efficientnet_lite1": Sizes(1.0, 1.1, lite=True),
    "efficientnet_lite2": Sizes(1.1, 1.2, lite=True),
    **_GOOGLES,
    **_TORCHVISIONS,
}
"""Every one by name; `tf_` is timm's word for Google's padding, which Lite has too."""


def _rounded(channels: float) -> int:
    """To a multiple of 8, never more than a tenth below."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


class Stem(nn.Module):
    """3x3 convolution of stride 2 + batch norm + activation: [n h w 3] → [n h/2 w/2 features]."""

    features: int
    norm: Norm = Norm()
    act: Activation = nn.relu6
    padding: Padding = "same"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        kernel = self.param("kernel", kernel_init, (3, 3, x.shape[-1], self.features)).astype(self.norm.dtype)
        padding = "SAME" if self.padding == "same" else ((1, 1), (1, 1))
        y = lax.conv_general_dilated(
            x.astype(self.norm.dtype), kernel, (2, 2), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return normalize(self, y, self.norm, train, self.act)


class Gate(nn.Module):
    """Squeeze and excitation: [n h w c] times a sigmoid a channel, of the image's mean (arXiv 1709.01507).

    hidden: channels between its two products.
    """

    hidden: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = nn.silu(Pointwise(self.hidden, self.norm.dtype, name="reduce")(x.mean((1, 2))))
        y = nn.sigmoid(Pointwise(x.shape[-1], self.norm.dtype, name="expand")(y))
        return x * y[:, None, None]


class MobileBlock(nn.Module):
    """Expansion, depthwise convolution, gate, projection: [n h w i] → [n h/stride w/stride features].

    The input is added where it has the output's shape. expand: 1 = no expansion. gated: the gate has a quarter of the
    input's channels inside.
    """

    features: int
    kernel: int = 3
    stride: int = 1
    expand: int = 6
    norm: Norm = Norm()
    act: Activation = nn.relu6
    gated: bool = False
    padding: Padding = "same"

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y, inner = x, x.shape[-1] * self.expand
        if self.expand > 1:
            y = PointwiseBN(inner, self.norm, self.act, name="expand")(y, train)
        y = DepthwiseBN(self.stride, 1, self.norm, self.act, self.kernel, self.padding, name="depthwise")(y, train)
        if self.gated:
            y = Gate(max(1, x.shape[-1] // 4), self.norm, name="gate")(y)
        y = PointwiseBN(self.features, self.norm, None, name="project")(y, train)
        return x + y if x.shape == y.shape else y


class EfficientNet(nn.Module):
    """Image [n h w 3], normalised as every backbone's → `{"layer1": [n h/4 w/4 c1], ...}` for the layers asked for.

    layers: any of 1..4. Nothing beyond the deepest is computed, nor has it parameters. The range of [-1, 1] of Lite's
    publishers is restored inside.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(EfficientNet(EFFICIENTNETS["efficientnet_lite0"], (1, 2)), 64, 48)
      {'layer1': (1, 16, 12, 24), 'layer2': (1, 8, 6, 40)}
    """

    spec: Sizes
    layers: tuple[int, ...] = (1, 2, 3)
    norm: Norm = Norm(epsilon=1e-3)

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        spec, norm, out = self.spec, self.norm, {}
        act, gated, padding = nn.relu6 if spec.lite else nn.silu, not spec.lite, spec.padding
        x = jnp.asarray(image)
        if spec.lite:
            x = 2 * (x * jnp.array(IMAGENET_STD) + jnp.array(IMAGENET_MEAN)) - 1
        x = Stem(spec.stem, norm, act, padding, name="stem")(x, train)
        ends = {spec.ends[layer - 1]: layer for layer in self.layers}
        for number, stage in enumerate(spec.stages[: max(ends) + 1]):
            for i in range(stage.blocks):
                stride, name = stage.stride if i == 0 else 1, f"stage{number}_{i}"
                how = (stage.channels, stage.kernel, stride, stage.expand, norm, act, gated, padding)
                x = MobileBlock(*how, name=name)(x, train)
            if number in ends:
                out[f"layer{ends[number]}"] = x
        return out
