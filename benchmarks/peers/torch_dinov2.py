"""DINOv2 and DPT in PyTorch, written from the papers and the files' names: the peer of `jaxqc.models.segmenter`. NCHW.

The encoder's state dict has the published names (`blocks.0.attn.qkv.weight`); the head's modules bear the names of our
variables. Attention is `scaled_dot_product_attention`, which is also what makes the peer fast.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 14


class Attention(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Plain(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Gated(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        hidden = 8 * math.ceil(int(width * 8 / 3) / 8)
        self.w12, self.w3 = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, -1)
        return self.w3(F.silu(gate) * value)


class Scale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, width: int, heads: int, gated: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn, self.mlp = Attention(width, heads), Gated(width) if gated else Plain(width)
        self.ls1, self.ls2 = Scale(width), Scale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class PatchEmbed(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)


class ViT(nn.Module):
    """`taps`: the blocks whose normalised patch tokens come out, each [n d h/14 w/14]."""

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        taps: Sequence[int],
        grid: int = 37,
        registers: int = 0,
        gated: bool = False,
    ):
        super().__init__()
        self.taps, self.grid = tuple(taps), grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, width))
        self.register_tokens = nn.Parameter(torch.zeros(1, registers, width)) if registers else None
        self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = PatchEmbed(width)
        self.blocks = nn.ModuleList(Block(width, heads, gated) for _ in range(depth))
        self.norm = nn.LayerNorm(width, 1e-6)

    def positions(self, h: int, w: int) -> Tensor:
        """[1 d h w]; published models with registers interpolate antialiased and by exact sizes."""
        table = self.pos_embed[:, 1:].unflatten(1, (self.grid, self.grid)).permute(0, 3, 1, 2)
        if h == w == self.grid:
            return table
        if self.register_tokens is not None:
            return F.interpolate(table, (h, w), mode="bicubic", antialias=True)
        factors = ((h + 0.1) / self.grid, (w + 0.1) / self.grid)
        return F.interpolate(table, scale_factor=factors, mode="bicubic")

    def forward(self, image: Tensor) -> list[Tensor]:
        patches = self.patch_embed.proj(image)
        n, _, h, w = patches.shape
        front = self.cls_token + self.pos_embed[:, :1]
        if self.register_tokens is not None:
            front = torch.cat([front, self.register_tokens], 1)
        x = torch.cat([front.expand(n, -1, -1), (patches + self.positions(h, w)).flatten(2).mT], 1)
        out = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                out.append(self.norm(x)[:, front.shape[1] :].mT.unflatten(2, (h, w)))
        return out


class Unit(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, 1, 1), nn.Conv2d(width, width, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Fuse(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.skip, self.mix, self.out = Unit(width), Unit(width), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, finer: Tensor | None, size: Sequence[int]) -> Tensor:
        x = self.mix(x if finer is None else x + self.skip(finer))
        return self.out(F.interpolate(x, tuple(size), mode="bilinear", align_corners=True))


class DPT(nn.Module):
    """`widths`: of the four features. `channels`: after reassembly, empty for features that are a pyramid already."""

    fuse1: Fuse
    fuse2: Fuse
    fuse3: Fuse
    fuse4: Fuse

    def __init__(self, widths: Sequence[int], classes: int, hidden: int, channels: Sequence[int] = ()):
        super().__init__()
        self.channels = tuple(channels)
        if channels:
            for i, (width, c) in enumerate(zip(widths, channels, strict=True), start=1):
                self.add_module(f"project{i}", nn.Conv2d(width, c, 1))
            self.resize1 = nn.ConvTranspose2d(channels[0], channels[0], 4, 4)
            self.resize2 = nn.ConvTranspose2d(channels[1], channels[1], 2, 2)
            self.resize4 = nn.Conv2d(channels[3], channels[3], 3, 2, 1)
        for i, c in enumerate(channels or widths, start=1):
            self.add_module(f"narrow{i}", nn.Conv2d(c, hidden, 3, 1, 1, bias=False))
            self.add_module(f"fuse{i}", Fuse(hidden))
        self.smooth, self.logits = nn.Conv2d(hidden, hidden, 3, 1, 1), nn.Conv2d(hidden, classes, 1)

    def forward(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        maps = list(features)
        if self.channels:
            maps = [getattr(self, f"project{i + 1}")(m) for i, m in enumerate(maps)]
            maps = [self.resize1(maps[0]), self.resize2(maps[1]), maps[2], self.resize4(maps[3])]
        maps = [getattr(self, f"narrow{i + 1}")(m) for i, m in enumerate(maps)]
        finest = [2 * side for side in maps[0].shape[2:]]
        x = self.fuse4(maps[3], None, maps[2].shape[2:])
        x = self.fuse3(x, maps[2], maps[1].shape[2:])
        x = self.fuse2(x, maps[1], maps[0].shape[2:])
        x = self.fuse1(x, maps[0], finest)
        logits = self.logits(F.relu(self.smooth(x)))
        return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=True)


def peer_vit(name: str) -> ViT:
    """The peer of `jaxqc.models.dinov2.build_vit(name)`, freshly initialised."""
    from jaxqc.models.dinov2 import vit_spec

    s = vit_spec(name)
    return ViT(s.width, s.depth, s.heads, s.taps, s.grid, s.registers, s.swiglu)


def load_head(params: Mapping[str, Any], head: DPT) -> DPT:
    """Our `params["head"]` → the peer's, in place; every array must fit (the strict state dict says so)."""
    state = {}
    for name, module in head.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            continue
        unit: Any = params
        for step in name.split("."):
            unit = unit[step]
        kernel = np.asarray(unit["kernel"])
        if isinstance(module, nn.ConvTranspose2d):
            kernel = kernel.transpose(2, 3, 0, 1)
        else:
            kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T[..., None, None]
        state[f"{name}.weight"] = torch.tensor(kernel.copy())
        if module.bias is not None:
            state[f"{name}.bias"] = torch.tensor(np.array(unit["bias"]))
    head.load_state_dict(state)
    return head.eval()


def randomized(model: nn.Module, seed: int = 0) -> nn.Module:
    """Every weight away from its start, signals of order one in every block, attention that prefers; evaluation."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            last = name.rsplit(".", 1)[-1]
            if last == "gamma" or (last == "weight" and p.ndim == 1):
                p.uniform_(0.4, 1.2, generator=g)
            elif last == "weight":
                p.normal_(0, (2.0 if "qkv" in name else 1.0) / math.sqrt(p[0].numel()), generator=g)
            else:
                p.normal_(0, 0.2 if last == "bias" else 0.5, generator=g)
    return model.eval()
