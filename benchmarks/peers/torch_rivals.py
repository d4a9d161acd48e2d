"""The rivals of TSCARNet in PyTorch, written from their layer tables and run from a tree of variables.

`v` is `{"params", "batch_stats"}` of NumPy arrays under the names of jaxqc's networks; images are NCHW, normalised.
Batch norms take their running statistics, or the batch's own where the tree has none: with tensors in it that ask for
gradients, that is a step of training but for dropout. Only PyTorch and NumPy are imported: an interpreter without JAX
runs it.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Tree = dict[str, Any]


def below(v: Tree, name: str) -> Tree:
    """The variables of a submodule."""
    return {kind: tree.get(name, {}) for kind, tree in v.items()}


def at(v: Tree, index: int) -> Tree:
    """A block of a stack."""
    pick = lambda tree: {k: pick(x) if isinstance(x, dict) else x[index] for k, x in tree.items()}
    return {kind: pick(tree) for kind, tree in v.items()}


def tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else torch.as_tensor(x, dtype=torch.float32)


def conv(v: Tree, name: str, x: Tensor, stride: int = 1, dilation: int = 1, relu: bool = True) -> Tensor:
    """Convolution of any kind, then its batch norm or bias, where it has one."""
    own = below(v, name) if name else v
    params, stats = own["params"], own["batch_stats"]
    kernel = tensor(params["kernel"])
    groups = 1
    if kernel.ndim == 4:
        kernel = kernel.permute(3, 2, 0, 1)
    elif kernel.ndim == 3:
        kernel, groups = kernel.permute(2, 0, 1)[:, None], kernel.shape[2]
    else:
        kernel = kernel.T[:, :, None, None]
    padding = dilation * (kernel.shape[2] // 2)
    bias = tensor(params["bias"]) if "bias" in params else None
    x = F.conv2d(x, kernel, bias, stride, padding, dilation, groups)
    if "bn" not in params:
        return x
    x = batch_norm(params["bn"], stats.get("bn"), x)
    return F.relu(x) if relu else x


def batch_norm(params: Tree, running: Tree | None, x: Tensor) -> Tensor:
    """By the running statistics, or without such by the batch's."""
    mean, variance = (None, None) if running is None else (tensor(running[name]) for name in ("mean", "var"))
    scale, bias = tensor(params["scale"]), tensor(params["bias"])
    return F.batch_norm(x, mean, variance, scale, bias, training=running is None, eps=1e-5)


def separable(v: Tree, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    own = below(v, name)
    return conv(own, "pointwise", conv(own, "depthwise", x, dilation=dilation))


def up(x: Tensor, times: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=times, mode="bilinear", align_corners=True)


def linear(v: Tree, name: str, x: Tensor) -> Tensor:
    params = v["params"][name]
    return F.linear(x, tensor(params["kernel"]).T, tensor(params["bias"]) if "bias" in params else None)


def corrnet(v: Tree, x: Tensor) -> dict[str, Tensor]:
    def stage(number: int, x: Tensor, count: int, unit: Any) -> Tensor:
        x = x if number == 1 else F.max_pool2d(x, 2)
        for i in range(count):
            x = unit(v, f"conv{number}_{i + 1}", x)
        return x

    def refined(name: str, x: Tensor) -> Tensor:
        own = below(v, name)
        x1 = conv(own, "mix1", x + separable(own, "wide1", x, 2))
        x2 = conv(own, "mix2", x + x1 + separable(own, "wide2", x1, 4))
        return conv(own, "mix3", x + x1 + x2 + separable(own, "wide3", x2, 6))

    def attended(name: str, x: Tensor) -> Tensor:
        own = below(v, name)
        y = F.adaptive_max_pool2d(x, 1)
        y = torch.sigmoid(conv(own, "excite", F.relu(conv(own, "squeeze", y)))) * x
        return x + torch.sigmoid(conv(own, "place", y.max(1, keepdim=True).values)) * y

    def correlated(e: Tensor, q: Tensor) -> Tensor:
        own, (n, c, h, w) = below(v, "correlation"), e.shape
        flat_e, flat_q = e.flatten(2), q.flatten(2)  # [n, c, positions]
        a = linear(own, "alike", flat_e.transpose(1, 2)) @ flat_q
        of_e = (flat_e @ torch.softmax(a, 1)).view(n, c, h, w)
        of_q = (flat_q @ torch.softmax(a, 2).transpose(1, 2)).view(n, c, h, w)
        of_q = of_q * torch.sigmoid(conv(own, "gate_deep", of_q))
        of_e = of_e * torch.sigmoid(conv(own, "gate_shallow", of_e))
        both = torch.cat([separable(own, "shared", of_q + e), separable(own, "shared", of_e + q)], 1)
        return separable(own, "joined", both)

    x1 = stage(1, x, 2, conv)
    x2 = stage(2, x1, 2, conv)
    x3 = stage(3, x2, 3, conv)
    x4 = stage(4, x3, 3, separable)
    x5 = stage(5, x4, 3, separable)
    g = conv(v, "g", correlated(up(separable(v, "reduce5", x5)), separable(v, "reduce4", x4)))
    y = separable(v, "up3", up(refined("refine3", x3 * (1 + up(torch.sigmoid(g))))))
    s3 = conv(v, "s3", y)
    y = refined("refine2", separable(v, "narrow2", torch.cat([y, attended("attend2", x2)], 1)))
    y = separable(v, "up2", up(y))
    s2 = conv(v, "s2", y)
    y = refined("refine1", separable(v, "narrow1", torch.cat([y, attended("attend1", x1)], 1)))
    s1 = conv(v, "s1", y)
    out = {"map": torch.sigmoid(s1), "s1": s1, "s2": s2, "s3": s3, "g": g}
    return {name: value[:, 0] for name, value in out.items()}


def pp_liteseg(v: Tree, x: Tensor) -> dict[str, Tensor]:
    def block(own: Tree, x: Tensor, stride: int) -> Tensor:
        a = conv(own, "conv1", x)
        b = conv(own, "halved", a, 2, relu=False) if stride == 2 else a
        a = F.avg_pool2d(a, 3, 2, 1, count_include_pad=False) if stride == 2 else a
        b = conv(own, "conv2", b)
        c = conv(own, "conv3", b)
        return torch.cat([a, b, c, conv(own, "conv4", c)], 1)

    def half_pixel(x: Tensor, size: Any) -> Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    sides = x.shape[2:]
    x = conv(v, "stem2", conv(v, "stem1", x, 2), 2)
    maps = []
    for stage in (3, 4, 5):
        x = block(below(v, f"stage{stage}_down"), x, 2)
        rest = below(v, f"stage{stage}")
        for i in range(len(rest["params"]["conv1"]["kernel"])):
            x = block(at(rest, i), x, 1)
        maps.append(x)
    own = below(v, "context")
    pooled = [conv(own, f"bins{b}", F.adaptive_avg_pool2d(x, b)) for b in (1, 2, 4)]
    y = conv(own, "mix", sum(half_pixel(p, x.shape[2:]) for p in pooled))
    out = {}
    for stride, fine in zip((32, 16, 8), reversed(maps), strict=True):
        own = below(v, f"fusion{stride}")
        f, d = conv(own, "fine", fine), half_pixel(y, fine.shape[2:])
        seen = torch.cat([t for z in (f, d) for t in (z.mean(1, keepdim=True), z.max(1, keepdim=True).values)], 1)
        w = torch.sigmoid(conv(own, "attend2", conv(own, "attend1", seen), relu=False))
        y = conv(own, "out", w * f + (1 - w) * d)
        out[f"out{stride}"] = half_pixel(conv(v, f"out{stride}", conv(v, f"head{stride}", y)), sides)
    found = {name: z.permute(0, 2, 3, 1) for name, z in out.items()}
    return {"map": torch.softmax(out["out8"], 1)[:, 1], **found}


def uctransnet(v: Tree, x: Tensor) -> dict[str, Tensor]:
    def normed(own: Tree, name: str, x: Tensor) -> Tensor:
        params = own["params"][name]
        return F.layer_norm(x, x.shape[-1:], tensor(params["scale"]), tensor(params["bias"]), 1e-6)

    def twice(name: str, x: Tensor) -> Tensor:
        return conv(v, f"{name}_2", conv(v, f"{name}_1", x))

    def embed(i: int, x: Tensor) -> Tensor:
        own = v["params"][f"embed{i}"]
        kernel = tensor(own["kernel"]).permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, tensor(own["bias"]), stride=kernel.shape[2])
        place = tensor(own["position"]).permute(2, 0, 1)[None]
        place = F.interpolate(place, size=x.shape[2:], mode="bilinear", align_corners=False)
        return (x + place).flatten(2).transpose(1, 2)

    def mixed(own: Tree, tokens: list[Tensor]) -> list[Tensor]:
        heads, whole = 4, torch.cat(tokens, 2)
        n, t, wide = whole.shape
        split = lambda x: x.view(n, t, heads, -1).permute(0, 2, 1, 3)  # [n, h, t, c]
        whole = normed(own, "norm", whole)
        key, value = split(linear(own, "key", whole)), split(linear(own, "value", whole))
        out = []
        for i, x in enumerate(tokens, 1):
            query = split(linear(own, f"query{i}", normed(own, f"norm{i}", x)))
            scores = query.transpose(2, 3) @ key / wide**0.5
            share = torch.softmax(F.instance_norm(scores, eps=1e-5), 3)
            x = x + linear(own, f"out{i}", (share @ value.transpose(2, 3)).transpose(2, 3).mean(1))
            out.append(x + linear(own, f"narrow{i}", F.gelu(linear(own, f"wide{i}", normed(own, f"mlp_norm{i}", x)))))
        return out

    x = conv(v, "inc", x)
    skips = [x]
    for level in (1, 2, 3, 4):
        skips.append(twice(f"down{level}", F.max_pool2d(skips[-1], 2)))
    x = skips.pop()
    tokens = [embed(i, skip) for i, skip in enumerate(skips, 1)]
    for layer in range(4):
        tokens = mixed(at(below(v, "mixer"), layer), tokens)
    for i in (4, 3, 2, 1):
        skip, patch = skips[i - 1], 2 ** (5 - i)
        n, c, h, w = skip.shape
        whole = normed(v, f"norm{i}", tokens[i - 1]).transpose(1, 2).reshape(n, c, h // patch, w // patch)
        skip = skip + conv(v, f"rebuild{i}", F.interpolate(whole, scale_factor=patch, mode="nearest"))
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        gate = below(v, f"gate{i}")
        weight = (linear(gate, "skip", skip.mean((2, 3))) + linear(gate, "deep", x.mean((2, 3)))) / 2
        x = twice(f"up{i}", torch.cat([F.relu(skip * torch.sigmoid(weight)[..., None, None]), x], 1))
    logits = conv(v, "out", x)[:, 0]
    return {"map": torch.sigmoid(logits), "logits": logits}


def cklnet(v: Tree, x: Tensor) -> dict[str, Tensor]:
    def mixed(own: Tree, x: Tensor) -> Tensor:
        scales = torch.stack([conv(own, f"dilation{d}", x, dilation=d) for d in (1, 2, 4, 8)], 1)
        mix, stats = own["params"]["mix"], own["batch_stats"].get("mix", {})
        y = (scales * tensor(mix["kernel"])[None, :, :, None, None]).sum(1)
        return x + conv(own, "across", F.relu(batch_norm(mix["bn"], stats.get("bn"), y)))

    def stage(own: Tree, name: str, x: Tensor) -> Tensor:
        down, blocks = below(own, f"{name}_down"), below(own, f"{name}_mi")
        x = conv(down, "pointwise", conv(down, "depthwise", x, 2))
        for i in range(len(blocks["params"]["across"]["kernel"])):
            x = mixed(at(blocks, i), x)
        return x

    def bilinear(x: Tensor, size: Any) -> Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)

    def decoded(own: Tree) -> Tensor:
        y = features[-1]
        for k in (5, 4, 3, 2, 1):
            y = y if k == 5 else features[k - 1] + bilinear(y, features[k - 1].shape[2:])
            unit = below(own, f"d{k}")
            y = separable(unit, "narrow", separable(unit, "wide", y, 2))
        return bilinear(torch.sigmoid(conv(own, "side1", y)), x.shape[2:])[:, 0]

    encoder = below(v, "encoder")
    features = [conv(encoder, "e1", x, 2)]
    for k in (2, 3, 4, 5):
        features.append(stage(encoder, f"e{k}", features[-1]))
    kind = linear(v, "class", stage(v, "class", features[3]).mean((2, 3)))
    decoders = below(v, "decoders")
    maps = torch.stack([decoded(at(decoders, i)) for i in range(kind.shape[1])], -1)
    chosen = maps.gather(3, kind.argmax(1)[:, None, None, None].expand(*maps.shape[:3], 1))[..., 0]
    return {"map": chosen, "maps": maps, "class": kind}


def ffrnet(v: Tree, x: Tensor) -> dict[str, Tensor]:
    def half_pixel(x: Tensor, size: Any) -> Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    def residual(own: Tree, x: Tensor, stride: int) -> Tensor:
        y = conv(own, "conv2", conv(own, "conv1", x, stride), relu=False)
        return F.relu(y + (conv(own, "downsample", x, stride, relu=False) if "downsample" in own["params"] else x))

    def focused(own: Tree, x: Tensor) -> Tensor:
        share = torch.softmax(linear(own, "choose", F.relu(linear(own, "squeeze", x.mean((2, 3))))), 1)
        seen = [conv(own, f"dilation{d}", x, dilation=d) for d in (1, 2, 4, 8)]
        return x + sum(share[:, i, None, None, None] * y for i, y in enumerate(seen))

    def asked(own: Tree, shallow: Tensor, deep: Tensor) -> Tensor:
        deep = half_pixel(deep, shallow.shape[2:])
        query, key, value = (
            linear(own, name, z.flatten(2).transpose(1, 2))
            for name, z in (("query", shallow), ("key", deep), ("value", deep))
        )
        alike = torch.softmax(query @ key.transpose(1, 2) / query.shape[2] ** 0.5, 2)
        return shallow + (alike @ value).transpose(1, 2).reshape(shallow.shape)

    sides, encoder, seen = x.shape[2:], below(v, "encoder"), []
    x = F.max_pool2d(conv(encoder, "conv1", x, 2), 3, 2, 1)
    for layer, count in enumerate((3, 4, 6, 3), 1):
        for i in range(count):
            x = residual(below(encoder, f"layer{layer}_{i}"), x, 2 if layer > 1 and i == 0 else 1)
        seen.append(focused(below(v, f"focus{layer}"), conv(v, f"narrow{layer}", x)))
    seen[2] = asked(below(v, "panorama"), seen[2], seen[3])
    y, out = seen[3], {}
    for level in (3, 2, 1):
        fine = seen[level - 1]
        y = torch.cat([fine, half_pixel(y, fine.shape[2:])], 1)
        y = conv(v, f"up{level}_2", conv(v, f"up{level}_1", y))
        for name in "pq":
            out[f"{name}{2 * 2**level}"] = conv(v, f"{name}{2 * 2**level}", y)[:, 0]
    both = torch.stack([half_pixel(out[name][:, None], sides)[:, 0] for name in ("p4", "q4")])
    return {"map": torch.softmax(both, 0)[0], **out}


RIVALS = {
    "corrnet": corrnet,
    "pp_liteseg_b": pp_liteseg,
    "pp_liteseg_t": pp_liteseg,
    "uctransnet": uctransnet,
    "cklnet": cklnet,
    "ffrnet": ffrnet,
}
