"""DenseNet-201 as a feature extractor (arXiv 1608.06993): every layer sees the features of all before it.

Batch norm stands before a convolution here. Where it follows another one it folds into that; where it follows features
of many layers it stays, as a scale and a bias. Sizes and names are torchvision's.
"""

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.arrays import FIELDS, Path
from jaxqc.nn.conv import Conv, ConvBN, Norm, NormAct, Pointwise, PointwiseBN
from jaxqc.nn.pool import max3x3_halved
from jaxqc.types import ArrayLike


@dataclass(frozen=True)
class Dense:
    """The differences between DenseNets. blocks: layers in each of the four blocks. growth: channels a layer adds.

    Examples:
      >>> [DENSENETS["densenet201"].channels(layer) for layer in (1, 2, 3, 4)]
      [256, 512, 1792, 1920]
    """

    blocks: tuple[int, int, int, int]
    growth: int = 32
    stem: int = 64

    def channels(self, layer: int) -> int:
        """Channels at the end of a block (1..4), at stride 2^(layer + 1); half of them enter the next."""
        start = self.stem if layer == 1 else self.channels(layer - 1) // 2
        return start + self.growth * self.blocks[layer - 1]


DENSENETS: dict[str, Dense] = {"densenet201": Dense((6, 12, 48, 32))}
"""Every one by name."""


class DenseLayer(nn.Module):
    """Norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution: [n h w c] → [n h w growth], to be added behind."""

    growth: int
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = NormAct(self.norm, name="norm1")(x, train)
        y = PointwiseBN(4 * self.growth, self.norm, name="conv1")(y, train)
        return Conv(self.growth, dtype=self.norm.dtype, use_bias=False, name="conv2")(y)


class Transition(nn.Module):
    """Norm, ReLU, 1x1 convolution to half the channels, mean of 2x2: [n h w c] → [n h//2 w//2 c/2]."""

    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        y = NormAct(self.norm, name="norm")(x, train)
        y = Pointwise(x.shape[-1] // 2, self.norm.dtype, use_bias=False, name="conv")(y)
        return nn.avg_pool(y, (2, 2), (2, 2))


class DenseNet(nn.Module):
    """Normalised image [n h w 3] → `{"layer1": [n h/4 w/4 c1], ...}`: the ends of the dense blocks asked for.

    layers: any of 1..4. Nothing beyond the deepest is computed, nor has it parameters.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(DenseNet(DENSENETS["densenet201"], (1, 2)), 64, 48)
      {'layer1': (1, 16, 12, 256), 'layer2': (1, 8, 6, 512)}
    """

    spec: Dense
    layers: tuple[int, ...] = (1, 2, 3)
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        x, out = max3x3_halved(ConvBN(self.spec.stem, 2, self.norm, 7, name="conv0")(image, train)), {}
        for block in range(1, max(self.layers) + 1):
            if block > 1:
                x = Transition(self.norm, name=f"transition{block - 1}")(x, train)
            for i in range(1, self.spec.blocks[block - 1] + 1):
                y = DenseLayer(self.spec.growth, self.norm, name=f"denseblock{block}_denselayer{i}")(x, train)
                x = jnp.concatenate([x, y], -1)
            if block in self.layers:
                out[f"layer{block}"] = x
        return out


def torchvision_name(path: Path, old: bool = False) -> str:
    """The array of a variable in a file of torchvision's or timm's. old: with the dot of `norm.1` that published files
    have.

    Examples:
      >>> torchvision_name(("params", "denseblock1_denselayer2", "conv1", "bn", "scale"))
      'features.denseblock1.denselayer2.norm2.weight'
    """
    *modules, field = path[1:]
    if modules[-1] == "bn":
        # A layer's second norm follows its first convolution; every other one has its convolution's number.
        unit = modules[-2].replace("conv1", "norm2").replace("conv", "norm")
        modules = [*modules[:-2], unit]
    if old and len(modules) > 1 and modules[-1][-1].isdigit():
        modules[-1] = f"{modules[-1][:-1]}.{modules[-1][-1]}"
    return ".".join(["features", *(module.replace("_", ".") for module in modules), FIELDS[field]])


STYLES = (torchvision_name, partial(torchvision_name, old=True))
"""The ways to call the arrays."""
