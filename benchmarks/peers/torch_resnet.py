"""ResNets in PyTorch, written from the papers' layer tables: the peer of `jaxqc.models.resnet`, plain, with CBAM or a
deep stem (`resnet101s`), and dilated.

State dicts carry torchvision's names (`layer1.0.downsample.1.weight`) and, for CBAM, those of the authors' published
code (`layer1.0.cbam.ChannelGate.mlp.1.weight`, `layer1.0.cbam.SpatialGate.spatial.bn.weight`). NCHW.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = {
    "resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3), "wide_resnet50_2": (3, 4, 6, 3), "wide_resnet101_2": (3, 4, 23, 3),
}  # fmt: skip


class ChannelGate(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        hidden = channels // 16
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        return x * torch.sigmoid(logits)[:, :, None, None]


class ConvNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class SpatialGate(nn.Module):
    def __init__(self):
        super().__init__()
        self.spatial = ConvNorm()

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack([x.amax(1), x.mean(1)], 1)
        return x * torch.sigmoid(self.spatial(pooled))


class CBAM(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.ChannelGate = ChannelGate(channels)
        self.SpatialGate = SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        return self.SpatialGate(self.ChannelGate(x))


class Block(nn.Module):
    """`kernels`: sizes of the convolutions, 3-3 (basic) or 1-3-1 (bottleneck); the stride is the first 3x3's. `apart`:
    dilation of the first 3x3 and of the one behind it."""

    def __init__(self, widths: list[int], kernels: list[int], stride: int, cbam: bool, apart: tuple[int, int] = (1, 1)):
        super().__init__()
        self.count = len(kernels)
        strided = kernels.index(3)
        for k, size in enumerate(kernels):
            step = stride if k == strided else 1
            gap = 1 if size == 1 else apart[k - strided]
            conv = nn.Conv2d(widths[k], widths[k + 1], size, step, gap * (size // 2), gap, bias=False)
            self.add_module(f"conv{k + 1}", conv)
            self.add_module(f"bn{k + 1}", nn.BatchNorm2d(widths[k + 1]))
        self.downsample = None
        if stride != 1 or widths[0] != widths[-1]:
            conv = nn.Conv2d(widths[0], widths[-1], 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(widths[-1]))
        self.cbam = CBAM(widths[-1]) if cbam else None

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for k in range(1, self.count + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            y = F.relu(y) if k < self.count else y
        y = y if self.cbam is None else self.cbam(y)
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def deep_stem() -> nn.Sequential:
    conv = lambda i, o, stride: nn.Conv2d(i, o, 3, stride, 1, bias=False)
    act = lambda: (nn.BatchNorm2d(64), nn.ReLU())
    return nn.Sequential(conv(3, 64, 2), *act(), conv(64, 64, 1), *act(), conv(64, 128, 1))


class ResNet(nn.Module):
    def __init__(self, name: str, classes: int = 1000, stride: int = 32, grids: tuple[int, ...] = ()):
        super().__init__()
        gated, deep = name.endswith("_cbam"), name.endswith("s")
        plain = name.removesuffix("_cbam").removesuffix("s")
        bottleneck, wide = plain not in ("resnet18", "resnet34"), 2 if plain.startswith("wide") else 1
        channels = 128 if deep else 64
        self.conv1 = deep_stem() if deep else nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1, gap, whole = nn.BatchNorm2d(channels), 1, stride
        for layer, blocks in enumerate(BLOCKS[plain], start=1):
            before = gap
            if 2 ** (layer + 1) > whole:
                gap *= 2
            base = 32 * 2**layer
            out = 4 * base if bottleneck else base
            kernels, inner = ([1, 3, 1], [base * wide] * 2) if bottleneck else ([3, 3], [base])
            stack = []
            for i in range(blocks):
                stride = 2 if i == 0 and layer > 1 and gap == 1 else 1
                grid = grids[i] if grids and layer == 4 else 1
                apart = (grid * (before if i == 0 else gap), grid * gap)
                stack.append(Block([channels, *inner, out], kernels, stride, gated, apart))
                channels = out
            self.add_module(f"layer{layer}", nn.Sequential(*stack))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`layer1`..`layer4` and `logits`."""
        out = {}
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for layer in range(1, 5):
            x = out[f"layer{layer}"] = getattr(self, f"layer{layer}")(x)
        return out | {"logits": self.fc(x.mean((2, 3)))}


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every weight and statistic away from its start, signals of order one through all layers; evaluation mode."""
    g = torch.Generator().manual_seed(seed)
    uniform = lambda t, low, high: t.uniform_(low, high, generator=g)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                uniform(module.weight, 0.4, 0.8)
                uniform(module.running_var, 0.5, 1.5)
                for t in (module.bias, module.running_mean):
                    uniform(t, -0.2, 0.2)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, math.sqrt(2 / fan_in), generator=g)
                if module.bias is not None:
                    uniform(module.bias, -0.5, 0.5)
    return model.eval()


def fold(model: nn.Module) -> nn.Module:
    """Multiplies every batch norm into the convolution before it, in place: the peer's form for inference."""
    fuse = torch.nn.utils.fuse_conv_bn_eval
    for module in list(model.modules()):
        if isinstance(module, ResNet) and isinstance(module.conv1, nn.Sequential):
            stem, last = module.conv1, fuse(module.conv1[6], module.bn1)
            first, second = (fuse(stem[i], stem[i + 1]) for i in (0, 3))
            module.conv1 = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
            module.bn1 = nn.Identity()
        elif isinstance(module, ResNet | Block):
            for k in range(1, 4):
                if hasattr(module, f"bn{k}"):
                    conv = fuse(getattr(module, f"conv{k}"), getattr(module, f"bn{k}"))
                    setattr(module, f"conv{k}", conv)
                    setattr(module, f"bn{k}", nn.Identity())
            if isinstance(module, Block) and module.downsample is not None:
                module.downsample = nn.Sequential(fuse(module.downsample[0], module.downsample[1]), nn.Identity())
        elif isinstance(module, ConvNorm):
            module.conv, module.bn = fuse(module.conv, module.bn), nn.Identity()
    return model
