"""MINet in PyTorch, written from the layer table: the peer for inference and the stem of the TSCARNet peer.

NCHW. The three `mixing` forms of the per-channel scale mixing compute one function with one set of weights:
`loop` convolves channel by channel (as the published model does), `grouped` is one grouped 1x1 convolution on
interleaved channels, `sum` is four scaled additions. `fold` turns a trained model into its batch-norm-free twin.
Submodules carry the names of jaxqc's variables, so that `convert` needs no table of names.
"""

import copy
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mixing = Literal["loop", "grouped", "sum"]
WIDTHS = (16, 32, 64, 96, 128)
DEPTHS = (0, 3, 4, 6, 3)
"""Channels and number of multi-scale blocks of the stages E1..E5."""
DECODER = (16, 16, 32, 64, 96)
"""Channels of D1..D5."""
DILATIONS = (1, 2, 4, 8)


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
        for d in DILATIONS:
            self.add_module(f"dilation{d}", ConvBN(channels, channels, 3, dilation=d, groups=channels))
        self.mix = ScaleMix(channels)
        self.across = ConvBN(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.across(self.mix([getattr(self, f"dilation{d}")(x) for d in DILATIONS]))


class Encoder(nn.Module):
    """E1..E5 at strides 2..32; returns all five."""

    def __init__(self):
        super().__init__()
        self.e1 = ConvBN(3, WIDTHS[0], 3, stride=2)
        for k in range(2, 6):
            self.add_module(f"e{k}_down", DS(WIDTHS[k - 2], WIDTHS[k - 1], stride=2))
            for j in range(DEPTHS[k - 1]):
                self.add_module(f"e{k}_mi{j + 1}", MI(WIDTHS[k - 1]))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.e1(x)
        out = [x]
        for k in range(2, 6):
            x = getattr(self, f"e{k}_down")(x)
            for j in range(DEPTHS[k - 1]):
                x = getattr(self, f"e{k}_mi{j + 1}")(x)
            out.append(x)
        return out


class DecoderStage(nn.Sequential):
    """D(k): DS with dilation 2 at the input's width, then DS to `o` channels."""

    def __init__(self, i: int, o: int):
        super().__init__()
        self.wide = DS(i, i, dilation=2)
        self.narrow = DS(i, o)


def add_decoder(module: nn.Module) -> None:
    """D1..D5 as the module's children `d1`..`d5`."""
    for k in range(1, 6):
        module.add_module(f"d{k}", DecoderStage(WIDTHS[k - 1], DECODER[k - 1]))


def upsample(x: Tensor, size: tuple[int, int] | torch.Size, align_corners: bool) -> Tensor:
    """Bilinear to `size` = (h, w)."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


class MINet(nn.Module):
    """277,477 parameters. x [n 3 h w], normalised → `map` [n h w] and, with `aux`, `map2`..`map5` [n h w].

    The maps are probabilities upsampled to the input's size, as the baseline defines them (sigmoid, then upsample).
    Without `aux` only D1's head runs, the one that is the result.
    """

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        add_decoder(self)
        for k in range(1, 6):
            self.add_module(f"side{k}", nn.Conv2d(DECODER[k - 1], 1, 1))
        self.drop = nn.Dropout2d(0.1)

    def forward(self, x: Tensor, aux: bool = False) -> dict[str, Tensor]:
        features = self.encoder(x)
        out, size = {}, x.shape[2:]
        for k in range(5, 0, -1):
            e = features[k - 1]
            x = getattr(self, f"d{k}")(e if k == 5 else e + upsample(x, e.shape[2:], True))
            if aux or k == 1:
                side = torch.sigmoid(getattr(self, f"side{k}")(self.drop(x)))
                out["map" if k == 1 else f"map{k}"] = upsample(side, size, True)[:, 0]
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
