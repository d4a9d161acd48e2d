"""Stand-ins for packages that anomalib and timm import and that the works here do not need: torchvision, OmegaConf.

torchvision has no wheel for every build of PyTorch. What is used of it is written here by its definition: a residual
block's constructor, over the blocks of `torch_resnet`, and three changes of an image's colours. All else is a class
that only bears a name: using one raises TypeError or AttributeError.
"""

import sys
import types
from typing import Any

from torch import Tensor, nn
from torch_resnet import Block  # beside this file

MODULES = ("torchvision", "torchvision.models", "torchvision.models.resnet", "torchvision.models.feature_extraction",
           "torchvision.ops", "torchvision.ops.misc", "torchvision.datasets", "torchvision.transforms",
           "torchvision.transforms.functional", "omegaconf")  # fmt: skip


class Named(type):
    """Classes that only bear a name; their attributes are such, too."""

    def __getattr__(cls, name: str) -> "Named":
        if name.startswith("__"):
            raise AttributeError(name)
        return Named(name, (), {})


class Residual(Block):
    """torchvision's signature of a residual block. kernels: of its convolutions."""

    expansion, kernels = 1, (3, 3)

    def __init__(
        self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None, groups: int = 1,
        base_width: int = 64, dilation: int = 1, norm_layer: Any = None,
    ) -> None:  # fmt: skip
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError(f"groups {groups}, base_width {base_width}, dilation {dilation}: plain blocks alone")
        widths = [inplanes, *[planes] * (len(self.kernels) - 1), planes * self.expansion]
        super().__init__(widths, list(self.kernels), stride, False)
        self.downsample = downsample


class BasicBlock(Residual):
    """Two 3x3 convolutions."""


class Bottleneck(Residual):
    """A 3x3 convolution between two of 1x1."""

    expansion, kernels = 4, (1, 3, 1)


def conv3x3(inward: int, out: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inward, out, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(inward: int, out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inward, out, 1, stride, bias=False)


def blend(image: Tensor, other: Tensor | float, factor: float) -> Tensor:
    return (factor * image + (1 - factor) * other).clamp(0, 1)


def grey(image: Tensor) -> Tensor:
    red, green, blue = image.unbind(-3)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)


USED: dict[str, dict[str, Any]] = {
    "torchvision.models.resnet": {
        "BasicBlock": BasicBlock, "Bottleneck": Bottleneck, "conv3x3": conv3x3, "conv1x1": conv1x1,
    },
    "torchvision.transforms.functional": {
        "adjust_brightness": lambda image, factor: blend(image, 0.0, factor),
        "adjust_contrast": lambda image, factor: blend(image, grey(image).mean((-3, -2, -1), keepdim=True), factor),
        "adjust_saturation": lambda image, factor: blend(image, grey(image), factor),
    },
}  # fmt: skip


def put_in_place() -> None:
    """Makes the packages importable, in this process."""
    for name in MODULES:
        module: Any = types.ModuleType(name)
        module.__path__ = []
        module.__getattr__ = lambda attribute: getattr(Named("torchvision", (), {}), attribute)
        module.__dict__.update(USED.get(name, {}))
        sys.modules[name] = module
        before, _, last = name.rpartition(".")
        if before:
            setattr(sys.modules[before], last, module)
