"""GCRANet in PyTorch, run from a tree of variables as the other rivals (`benchmarks.peers.torch_rivals`)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers.torch_rivals import Tree, at, below, conv, linear, separable, tensor, up


def gcranet(v: Tree, x: Tensor) -> dict[str, Tensor]:
    def gated(own: Tree, x: Tensor, dilations: tuple[int, ...]) -> Tensor:
        first = separable(own, "conv", x)
        parts = [*(separable(own, f"branch{d}", first, d) for d in dilations), first]
        whole = torch.stack(parts).sum(0)
        kinds = conv(own, "choose", conv(own, "squeeze", whole.mean((2, 3), keepdim=True)))
        place = separable(own, "wide4", separable(own, "wide2", conv(own, "narrow", whole), 2), 4)
        place = conv(own, "place", place)
        n, c = x.shape[:2]
        share = torch.softmax(kinds.view(n, len(parts), c, 1, 1) * place[:, None], 1)
        return x + conv(own, "fuse", sum(part * share[:, i] for i, part in enumerate(parts)), relu=False)

    def normed(own: Tree, name: str, x: Tensor) -> Tensor:
        params = own["params"][name]
        x = (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + 1e-8)
        return x * tensor(params["scale"]).view(-1, 1, 1) + tensor(params["bias"]).view(-1, 1, 1)

    def block(own: Tree, x: Tensor) -> Tensor:
        y = normed(own, "norm1", x)
        key, query = (F.normalize(conv(own, name, y).flatten(2), dim=2) for name in ("key", "query"))
        share = torch.softmax((key * query).sum(2) * tensor(own["params"]["strength"]), 1)[..., None, None]
        x = x + conv(own, "out", share * conv(own, "value", y))
        y = F.gelu(conv(own, "wide", normed(own, "norm2", x)))
        kernel = tensor(own["params"]["depthwise"]).permute(2, 0, 1)[:, None]
        return x + conv(own, "narrow", F.gelu(F.conv2d(y, kernel, padding=1, groups=len(kernel))))

    def fused(own: Tree, deep: Tensor, fine: Tensor, guide: Tensor) -> Tensor:
        deep, fine = conv(own, "deep", deep), conv(own, "fine", fine)
        n, c, h, w = fine.shape
        asked = lambda x, name: F.relu(linear(own, name, x.mean((2, 3)))).view(n * 4, c // 4, 1)
        key = asked(fine, "key").transpose(1, 2)
        scores = asked(conv(own, "guide", guide), "ask_guide") @ key + asked(deep, "ask_deep") @ key
        share = torch.softmax(scores * tensor(own["params"]["strength"]), 2)
        mixed = (share @ fine.reshape(n * 4, c // 4, h * w)).view(n, c, h, w)
        size = lambda x: F.interpolate(x, size=(h, w), mode="bilinear", align_corners=True)
        fine = fine + conv(own, "project", mixed)
        return fine + conv(own, "deep_out", size(deep)) + size(conv(own, "guide_out", guide))

    side, seen = x.shape[2], []
    x = conv(v, "e1", x)
    for stage in (1, 2, 3, 4, 5):
        if stage > 1:
            own = below(v, f"e{stage}_down")
            x = conv(own, "pointwise", conv(own, "depthwise", x, 2))
        gates = below(v, f"e{stage}_gate")
        for i in range(len(gates["params"]["fuse"]["kernel"])):
            x = gated(at(gates, i), x, (1, 2) if stage == 5 else (1, 2, 3))
        seen.append(x)
    guide = separable(v, "guide", x)
    for i in (0, 1):
        guide = block(at(below(v, "blocks"), i), guide)
    levels = {5: guide}
    y = separable(v, "fuse5", conv(v, "prepare", x))
    for level in (4, 3, 2, 1):
        y = separable(v, f"fuse{level}", fused(below(v, f"guided{level}"), y, seen[level - 1], guide), 2)
        levels[level] = y
    maps = {k: torch.sigmoid(conv(v, f"side{k}", z)) for k, z in levels.items()}
    whole = {k: up(z, side // z.shape[2])[:, 0] for k, z in maps.items()}
    return {"map" if k == 1 else f"map{k}": z for k, z in whole.items()}
