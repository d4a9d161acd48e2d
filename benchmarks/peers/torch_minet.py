"""MINet in PyTorch, written from the layer table: the peer for inference and the stem of the TSCARNet peer.

NCHW. The three `mixing` forms of the per-channel scale mixing compute one function with one set of weights:
`loop` convolves channel by channel (as the published model does), `grouped` is one grouped 1x1 convolution on
interleaved channels, `sum` is four scaled additions. `fold` turns a trained model into its batch-norm-free twin.
"""

import copy
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mixing = Literal["loop", "grouped", "sum"]
ENCODER = ((16, 0), (32, 3), (64, 4), (96, 6), (128, 3))
"""Channels and number of multi-scale blocks of the stages E1..E5."""
DECODER = (16, 16, 32, 64, 96)
"""Channels of D1..D5."""
SCALES = (1, 2, 4, 8)


class ConvBN(nn.Module):
    """Convolution without bias, batch norm, ReLU (optional)."""

    def __init__(self, i: int, o: int, kernel: int = 1, stride: int = 1, dilation: int = 1, groups: int = 1, relu=True):
        super().__init__()
        padding = dilation * (kernel - 1) // 2
        self.conv = nn.Conv2d(i, o, kernel, stride, padding, dilation, groups, bias=False)
        self.bn = nn.BatchNorm2d(o)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x))
        return F.relu(x) if self.relu else x


class DS(nn.Sequential):
    """Depthwise separable: depthwise 3x3 + BN + ReLU, then 1x1 + BN + ReLU."""

    def __init__(self, i: int, o: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.depthwise = ConvBN(i, i, 3, stride, dilation, groups=i)
        self.pointwise = ConvBN(i, o)


class ScaleMix(nn.Module):
    """Per channel a 1x1 over its four scale maps (4 → 1), BN, ReLU. Weight [c, 4, 1, 1]."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(4 * channels, channels, 1, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        self.mixing: Mixing = "loop"

    def forward(self, maps: list[Tensor]) -> Tensor:
        weight, bias = self.conv.weight, self.conv.bias
        if self.mixing == "grouped":
            x = self.conv(torch.stack(maps, 2).flatten(1, 2))
        elif self.mixing == "sum":
            x = sum(m * weight[:, s].unsqueeze(0) for s, m in enumerate(maps))
            x = x if bias is None else x + bias.view(1, -1, 1, 1)
        else:
            biases = [None] * len(weight) if bias is None else bias.split(1)
            x = torch.cat(
                [F.conv2d(torch.cat([m[:, c : c + 1] for m in maps], 1), weight[c : c + 1], b)
                 for c, b in enumerate(biases)], 1
            )  # fmt: skip
        return F.relu(self.bn(x))


class MI(nn.Module):
    """Multi-scale interaction: four depthwise 3x3 of dilation 1, 2, 4, 8, mixed per channel, then 1x1; residual."""

    def __init__(self, channels: int):
        super().__init__()
        self.branches = nn.ModuleList(ConvBN(channels, channels, 3, dilation=d, groups=channels) for d in SCALES)
        self.mix = ScaleMix(channels)
        self.pointwise = ConvBN(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(self.mix([branch(x) for branch in self.branches]))


class Encoder(nn.Module):
    """E1..E5 at strides 2..32; returns all five."""

    def __init__(self, widths: tuple[tuple[int, int], ...] = ENCODER):
        super().__init__()
        stages, before = [], 3
        for k, (channels, blocks) in enumerate(widths):
            first = ConvBN(3, channels, 3, stride=2) if k == 0 else DS(before, channels, stride=2)
            stages.append(nn.Sequential(first, *(MI(channels) for _ in range(blocks))))
            before = channels
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return out


def decoder_stages() -> nn.ModuleList:
    """D1..D5: DS(d=2, same width), DS(d=1) to 16, 16, 32, 64, 96 channels."""
    inputs = [channels for channels, _ in ENCODER]
    return nn.ModuleList(nn.Sequential(DS(i, i, dilation=2), DS(i, o)) for i, o in zip(inputs, DECODER, strict=True))


def upsample(x: Tensor, size: tuple[int, int] | torch.Size, align_corners: bool) -> Tensor:
    """Bilinear to `size` = (h, w)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


class MINet(nn.Module):
    """277,477 parameters. x [n 3 h w], normalised → `final` [n h w] and the side maps `d1`..`d5` [n h w].

    The maps are probabilities upsampled to the input's size, as the baseline defines them (sigmoid, then upsample).
    With `aux=False` only D1's head runs, the one that is the result.
    """

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = decoder_stages()
        self.heads = nn.ModuleList(nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(c, 1, 1)) for c in DECODER)

    def forward(self, x: Tensor, aux: bool = False) -> dict[str, Tensor]:
        features = self.encoder(x)
        out, below = {}, None
        for k in range(5, 0, -1):
            e = features[k - 1]
            d = self.decoder[k - 1](e if below is None else e + upsample(below, e.shape[2:], True))
            below = d
            if aux or k == 1:
                side = torch.sigmoid(self.heads[k - 1](d))
                out[f"d{k}"] = upsample(side, x.shape[2:], True)[:, 0]
        out["final"] = out["d1"]
        return out


def set_mixing(model: nn.Module, mixing: Mixing) -> nn.Module:
    """Chooses the form of the per-channel scale mixing in every MI block, in place."""
    if mixing not in get_args(Mixing):
        raise ValueError(f"mixing {mixing!r}: one of {get_args(Mixing)}")
    for module in model.modules():
        if isinstance(module, ScaleMix):
            module.mixing = mixing
    return model


def fold(model: nn.Module) -> nn.Module:
    """A copy for inference whose batch norms live in the convolutions before them: same outputs, no BN left."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        conv, bn = getattr(module, "conv", None), getattr(module, "bn", None)
        if isinstance(conv, nn.Conv2d) and isinstance(bn, nn.BatchNorm2d):
            module.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, bn)
            module.bn = nn.Identity()
    return model


def count_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
