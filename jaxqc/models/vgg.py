"""VGG (arXiv 1409.1556) and AlexNet (arXiv 1404.5997) as feature extractors: plain convolutions with biases.

Sizes and names are torchvision's. Unlike other backbones' layers, whose sides round up, these round down. `Cloner` is a
student of VGG16 (arXiv 2011.11108).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.models.arrays import FIELDS, Path
from jaxqc.models.resnet import checked_layers
from jaxqc.nn.conv import Conv, ConvBN, Norm
from jaxqc.types import ArrayLike


@dataclass(frozen=True)
class Step:
    """A convolution with ReLU, or a pooling by maximum where there are no features.

    padding: None = half the kernel. normed: batch norm between convolution and ReLU.
    """

    features: int = 0
    kernel: int = 3
    stride: int = 1
    padding: int | None = None
    normed: bool = False

    @property
    def places(self) -> int:
        """Places it takes in torchvision's list of modules: batch norm and ReLU have one of their own."""
        return 2 + self.normed if self.features else 1


@dataclass(frozen=True)
class Plain:
    """A chain of steps. ends: of layers 1 to 4, as the number of steps up to there."""

    steps: tuple[Step, ...]
    ends: tuple[int, int, int, int]

    @property
    def places(self) -> tuple[int, ...]:
        """Place of each step in torchvision's list."""
        return tuple(sum(step.places for step in self.steps[:i]) for i in range(len(self.steps)))


_HALVE, _HALVE3 = Step(kernel=2, stride=2), Step(kernel=3, stride=2)
_VGG_WIDTHS = (64, 128, 256, 512, 512)


def _vgg(counts: Sequence[int], normed: bool = False) -> tuple[Step, ...]:
    """So many convolutions before each pooling."""
    parts = zip(_VGG_WIDTHS, counts, strict=True)
    return tuple(step for width, n in parts for step in (*(Step(width, normed=normed),) * n, _HALVE))


_ALEXNET = (
    Step(64, 11, 4, 2), _HALVE3, Step(192, 5), _HALVE3, Step(384), Step(256), Step(256), _HALVE3,
)  # fmt: skip
PLAINS: dict[str, Plain] = {
    # After the second to the fifth pooling.
    "vgg11_bn": Plain(_vgg((1, 1, 2, 2, 2), normed=True), (4, 7, 10, 13)),
    "vgg16": Plain(_vgg((2, 2, 3, 3, 3)), (6, 10, 14, 18)),
    # After the first, the second and the fifth convolution, and after the last pooling.
    "alexnet": Plain(_ALEXNET, (1, 3, 7, 8)),
}
"""Every one by name. Layers 1 to 4 of VGG lie after its poolings 2 to 5. Those of AlexNet lie after its first, second
and fifth convolution (each with ReLU), and after the pooling of the fifth."""


class PlainNetwork(nn.Module):
    """Normalised image [n h w 3] → `{"layer1": [n h/4 w/4 c1], ...}` for the layers asked for; sides round down.

    layers: any of 1..4. Nothing beyond the deepest is computed, nor has it parameters. `norm` gives the compute dtype,
    and the rest to the steps that have batch norm.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(PlainNetwork(PLAINS["vgg16"], (1, 4)), 64, 48)
      {'layer1': (1, 16, 12, 128), 'layer4': (1, 2, 1, 512)}
    """

    spec: Plain
    layers: tuple[int, ...] = (1, 2, 3)
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        x, out = jnp.asarray(image), {}
        ends = {self.spec.ends[layer - 1]: layer for layer in self.layers}
        for i, (step, place) in enumerate(zip(self.spec.steps, self.spec.places, strict=True)):
            if i == max(ends):
                break
            size, stride = (step.kernel, step.kernel), (step.stride, step.stride)
            if step.normed:
                unit = ConvBN(step.features, step.stride, self.norm, step.kernel, use_bias=True, name=f"conv{place}")
                x = unit(x, train)
            elif step.features:
                conv = Conv(
                    step.features, step.kernel, self.norm.dtype, step.stride, padding=step.padding, name=f"conv{place}"
                )
                x = nn.relu(conv(x))
            else:
                x = nn.max_pool(x, size, stride)
            if i + 1 in ends:
                out[f"layer{ends[i + 1]}"] = x
        return out


CLONERS: dict[str, tuple[tuple[int, ...], ...]] = {
    "thin": ((16, 16), (16, 128), (16, 16, 256), (16, 16, 512), (16, 16, 512)),
    "full": ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
}
"""Channels of each convolution of a student of VGG16, up to each of its poolings."""


class Cloner(nn.Module):
    """Normalised image [n h w 3] → the layers of VGG16 after its poolings 2 to 5, as `PlainNetwork` has them.

    Convolutions have no bias, and those before a pooling no batch norm, so that a layer's range is free.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(build_cloner("thin", (1, 4)), 64, 48)
      {'layer1': (1, 16, 12, 128), 'layer4': (1, 2, 1, 512)}
    """

    widths: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...] = (1, 2, 3, 4)
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        x, out = jnp.asarray(image), {}
        for block, widths in enumerate(self.widths[: max(self.layers) + 1]):
            for i, width in enumerate(widths[:-1]):
                x = ConvBN(width, norm=self.norm, name=f"conv{block}_{i}")(x, train)
            last = Conv(widths[-1], dtype=self.norm.dtype, use_bias=False, name=f"conv{block}_{len(widths) - 1}")
            x = nn.max_pool(nn.relu(last(x)), (2, 2), (2, 2))
            if block in self.layers:
                out[f"layer{block}"] = x
        return out


def build_cloner(
    name: str, layers: Sequence[int], dtype: str = "float32", folded: bool = False, axis_name: str | None = None
) -> Cloner:
    """A student of VGG16 by name (`CLONERS`); the rest as of `jaxqc.models.backbones.build`.

    Examples:
      >>> build_cloner("full", (2, 1)).layers
      (1, 2)
    """
    return Cloner(CLONERS[name], checked_layers(layers), Norm(folded, axis_name, jnp.dtype(dtype)))


def torchvision_name(path: Path) -> str:
    """The array of a variable in a file of torchvision's or timm's; batch norm stands one place after its convolution.

    Examples:
      >>> torchvision_name(("params", "conv10", "kernel")), torchvision_name(("batch_stats", "conv4", "bn", "mean"))
      ('features.10.weight', 'features.5.running_mean')
    """
    place = int(path[1].removeprefix("conv")) + ("bn" in path)
    return f"features.{place}.{FIELDS[path[-1]]}"
