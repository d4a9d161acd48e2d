"""A residual network run backwards from an embedding of a teacher's layers: RD4AD's student (arXiv 2201.10703).

The embedding (OCBE) brings every layer to the deepest one's grid and makes of all of them one of half its side. The
decoder mirrors a ResNet from there up to the finest layer; a stage's first block doubles both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.errors import UserError
from jaxqc.models.resnet import BACKBONES, Block, Spec
from jaxqc.nn.conv import Activation, ConvBN, Norm, PointwiseBN, kernel_init, normalize, pointwise
from jaxqc.types import ArrayLike

PLAIN = Spec((2, 2, 2, 2), False)
"""The mirror of a teacher that is no ResNet: ResNet-18's blocks, at the teacher's own channels."""


@dataclass(frozen=True)
class Levels:
    """The layers that a reverse network takes in and gives back, finest first, and the channels of each.

    Examples:
      >>> levels = Levels((1, 3), (64, 256))
      >>> [levels.width(level) for level in (1, 2, 3, 4)]
      [64, 128, 256, 512]
    """

    layers: tuple[int, ...]
    channels: tuple[int, ...]

    def width(self, level: int) -> int:
        """Channels at a level: those of its layer, or twice those of the level before."""
        known = dict(zip(self.layers, self.channels, strict=True))
        return known.get(level) or 2 * self.width(level - 1)

    @property
    def stride(self) -> int:
        """Pixels of the image a cell of the embedding, of which an image's sides must be multiples."""
        return 2 ** (self.layers[-1] + 2)


class TransposedBN(nn.Module):
    """2 x 2 transposed convolution of stride 2 without bias + batch norm + activation: [n h w i] → [n 2h 2w features].

    The four pixels of a cell are four products with it. 4·i·o + 2·o parameters.

    Examples:
      >>> y, _ = TransposedBN(4).init_with_output(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
      >>> y.shape
      (1, 16, 16, 4)
    """

    features: int
    norm: Norm = Norm()
    act: Activation = nn.relu

    @nn.compact
    def __call__(self, x: ArrayLike, train: bool = False) -> jax.Array:
        n, h, w, c = x.shape
        kernel = self.param("kernel", kernel_init, (2, 2, c, self.features)).astype(self.norm.dtype)
        y = pointwise(x.astype(self.norm.dtype), jnp.moveaxis(kernel, 2, 0).reshape(c, -1))
        y = y.reshape(n, h, w, 2, 2, self.features).swapaxes(2, 3).reshape(n, 2 * h, 2 * w, self.features)
        return normalize(self, y, self.norm, train, self.act)


class RisingBlock(nn.Module):
    """A residual block that doubles both sides: [n h w i] → [n 2h 2w features].

    inner: channels of a bottleneck's middle, 0 for the basic block.
    """

    features: int
    inner: int = 0
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        if self.inner:
            y = PointwiseBN(self.inner, self.norm, name="conv1")(x, train)
            y = TransposedBN(self.inner, self.norm, name="conv2")(y, train)
            y = PointwiseBN(self.features, self.norm, act=None, name="conv3")(y, train)
        else:
            y = TransposedBN(self.features, self.norm, name="conv1")(x, train)
            y = ConvBN(self.features, 1, self.norm, act=None, name="conv2")(y, train)
        shortcut = TransposedBN(self.features, self.norm, act=None, name="upsample")(x, train)
        return nn.relu(shortcut + y)


class Reverse(nn.Module):
    """A teacher's layers [n h_l w_l c_l], finest first → the same layers as it understands them, by `layerL`.

    spec: the ResNet that is mirrored. Nothing that the decoder sees is larger than the embedding.

    Examples:
      >>> network = build_reverse("resnet18", (1, 2), (64, 128))
      >>> layers = jnp.zeros((1, 8, 8, 64)), jnp.zeros((1, 4, 4, 128))
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), layers)
      >>> {name: x.shape for name, x in jax.eval_shape(network.apply, variables, layers).items()}
      {'layer1': (1, 8, 8, 64), 'layer2': (1, 4, 4, 128)}
    """

    spec: Spec
    levels: Levels
    norm: Norm = Norm()

    def inner(self, features: int) -> int:
        """Channels of a block's middle."""
        return features // 4 * self.spec.width if self.spec.bottleneck else 0

    @nn.compact
    def __call__(self, layers: tuple[Float[ArrayLike, "n _ _ _"], ...], train: bool = False) -> dict[str, Array]:
        levels, norm, deepest = self.levels, self.norm, self.levels.layers[-1]
        parts, blocks = [], self.spec.blocks
        for layer, x in zip(levels.layers, layers, strict=True):
            for level in range(layer + 1, deepest + 1):
                x = ConvBN(levels.width(level), 2, norm, name=f"layer{layer}_to{level}")(x, train)
            parts.append(jnp.asarray(x, norm.dtype))
        x, features = jnp.concatenate(parts, -1), 2 * levels.width(deepest)
        for i in range(blocks[3]):
            x = Block(features, self.inner(features), 1 + (i == 0), None, norm, name=f"embedding_{i}")(x, train)
        out: dict[str, Array] = {}
        for level in range(deepest, levels.layers[0] - 1, -1):
            features = levels.width(level)
            x = RisingBlock(features, self.inner(features), norm, name=f"decoder{level}_0")(x, train)
            for i in range(1, blocks[deepest - level]):
                x = Block(features, self.inner(features), 1, None, norm, name=f"decoder{level}_{i}")(x, train)
            if level in levels.layers:
                out[f"layer{level}"] = x
        return out


def build_reverse(
    name: str,
    layers: Sequence[int],
    channels: Sequence[int],
    dtype: str = "float32",
    folded: bool = False,
    axis_name: str | None = None,
) -> Reverse:
    """The reverse network of a teacher.

    Args:
      name: the teacher's; of a ResNet (`jaxqc.models.resnet.BACKBONES`) the blocks are mirrored, without CBAM, of any
        other its channels. layers, channels: the teacher's, finest first.
      dtype, folded, axis_name: as of `jaxqc.models.backbones.build`.

    Examples:
      >>> build_reverse("wide_resnet50_2", (1, 2, 3), (256, 512, 1024)).levels.stride
      32
    """
    norm = Norm(folded, axis_name, jnp.dtype(dtype))
    return Reverse(BACKBONES.get(name, PLAIN), Levels(tuple(layers), tuple(channels)), norm)


def check_side(side: int, levels: Levels, where: str) -> None:
    """Raises UserError where an image's side is no multiple of the embedding's stride.

    Examples:
      >>> check_side(256, Levels((1, 2, 3), (64, 128, 256)), "data.size")
    """
    if side % levels.stride:
        near = max(1, round(side / levels.stride)) * levels.stride
        raise UserError(f"{where}={side} must be a multiple of {levels.stride} for layers up to {levels.layers[-1]};"
                        f" take {near}")  # fmt: skip
