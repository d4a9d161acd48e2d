"""TSCARNet in PyTorch, written from the module table: the peer for training and inference of the whole network.

NCHW; submodules carry the names of jaxqc's variables (see `convert`).
Coarse outputs keep their own size: `m1 m2 m3` at strides 2, 4, 8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.torch_minet import DS, WIDTHS, ConvBN, Encoder, add_decoder, upsample


def double(x: Tensor) -> Tensor:
    """Bilinear 2x, half-pixel centres."""
    return upsample(x, (2 * x.shape[2], 2 * x.shape[3]), False)


class BAM(nn.Module):
    """Boundary attention: X → X', boundary logit b, mask logit m."""

    def __init__(self, c: int):
        super().__init__()
        self.horizontal = nn.Conv2d(c, c, (1, 5), padding=(0, 2), groups=c, bias=False)
        self.vertical = nn.Conv2d(c, c, (5, 1), padding=(2, 0), groups=c, bias=False)
        self.edges = ConvBN(3 * c, c)
        self.boundary = nn.Conv2d(c, 1, 1)
        self.gate = ConvBN(c, c, relu=False)
        self.mask = nn.Conv2d(c, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        contrast = x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        e = self.edges(torch.cat([self.horizontal(x), self.vertical(x), contrast], 1))
        b = self.boundary(e)
        x = F.relu(x + self.gate(e * torch.sigmoid(b)))
        return x, b, self.mask(x)


class ClassBranches(nn.Module):
    """One DS(c, c) a class as two grouped convolutions, channels ordered class by class: [n c h w] → [n k c h w]."""

    def __init__(self, c: int, classes: int):
        super().__init__()
        self.classes = classes
        self.depthwise = ConvBN(classes * c, classes * c, 3, groups=classes * c)
        self.pointwise = ConvBN(classes * c, classes * c, groups=classes)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pointwise(self.depthwise(x.repeat(1, self.classes, 1, 1)))
        return y.unflatten(1, (self.classes, x.shape[1]))


class CASE(nn.Module):
    """Class-aware separation: class logits from the abstracted feature, then X + sum over classes of p_k·F_k(X)."""

    def __init__(self, c: int, classes: int):
        super().__init__()
        for i, (before, after) in enumerate(((c, 64), (64, 96), (96, 128)), start=1):
            self.add_module(f"down{i}", DS(before, after, stride=2))
        self.hidden = nn.Linear(128, 64)
        self.logits = nn.Linear(64, classes)
        self.branches = ClassBranches(c, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.down3(self.down2(self.down1(x))).mean((2, 3))
        logits = self.logits(F.relu(self.hidden(pooled)))
        return x + torch.einsum("nk,nkchw->nchw", torch.softmax(logits, 1), self.branches(x)), logits


class MSRM(nn.Module):
    """Multi-scale cascaded refinement guided by a mask probability [n 1 h w]."""

    def __init__(self, c: int):
        super().__init__()
        for d in (1, 2, 4):
            self.add_module(f"dilation{d}", DS(c, c, dilation=d))
        self.scales = nn.Linear(3 * c, 3)
        self.cascade1 = DS(3 * c, 2 * c)
        self.cascade2 = DS(2 * c, c)
        self.paths = nn.Conv2d(2 * c, 2, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        maps = [getattr(self, f"dilation{d}")(x) * (1 + mask) for d in (1, 2, 4)]
        stacked = torch.cat(maps, 1)
        alpha = torch.softmax(self.scales(stacked.mean((2, 3))), 1)
        weighted = sum(alpha[:, i, None, None, None] * m for i, m in enumerate(maps))
        cascade = self.cascade2(self.cascade1(stacked))
        q = torch.softmax(self.paths(torch.cat([weighted, cascade], 1)), 1)
        return q[:, :1] * weighted + q[:, 1:] * cascade


class PIFM(nn.Module):
    """Prior fusion: Z = w·R + (1 − w)·P with w from a local and a pooled bottleneck of R + P."""

    def __init__(self, c: int):
        super().__init__()
        self.local_squeeze, self.local_expand = ConvBN(c, c // 4), ConvBN(c // 4, c, relu=False)
        self.pooled_squeeze, self.pooled_expand = ConvBN(c, c // 4), ConvBN(c // 4, c, relu=False)

    def forward(self, r: Tensor, p: Tensor) -> Tensor:
        u = r + p
        pooled = self.pooled_expand(self.pooled_squeeze(u.mean((2, 3), keepdim=True)))
        w = torch.sigmoid(self.local_expand(self.local_squeeze(u)) + pooled)
        return w * r + (1 - w) * p


class PriorEncoder(nn.Module):
    """Three coarse masks [n 3 h w] → features at strides 1, 2, 4 of them."""

    def __init__(self):
        super().__init__()
        self.level1, self.level2, self.level3 = ConvBN(3, 16, 3), DS(16, 32, stride=2), DS(32, 32, stride=2)

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        p1 = self.level1(x)
        p2 = self.level2(p1)
        return {1: p1, 2: p2, 3: self.level3(p2)}


class ChannelAttention(nn.Module):
    """x · sigmoid(MLP(mean) + MLP(max)), one shared MLP."""

    def __init__(self, c: int):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(c, c // 4), nn.Linear(c // 4, c)

    def forward(self, x: Tensor) -> Tensor:
        mean, top = (self.excite(F.relu(self.squeeze(v))) for v in (x.mean((2, 3)), x.amax((2, 3))))
        return x * torch.sigmoid(mean + top)[:, :, None, None]


class SpatialAttention(nn.Module):
    """x · sigmoid(conv 7x7 over [mean, max over channels])."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))


class Head(nn.Module):
    """Channel and spatial attention, DS, 1x1 → logits at the feature's size."""

    def __init__(self, c: int):
        super().__init__()
        self.channel, self.spatial = ChannelAttention(c), SpatialAttention()
        self.refine = DS(c, c)
        self.logits = nn.Conv2d(c, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits(self.refine(self.spatial(self.channel(x))))


class TSCARNet(nn.Module):
    """366,036 parameters with three classes. x [n 3 s s], normalised → maps and logits.

    `map` [n s s] = sigmoid(`final`), `final` logits, `class` logits [n k], mask logits `m1 m2 m3`; with `aux` also
    `b1 b2 b3 r2 r3 d4 d5` (all [n h w] at their own size).
    """

    def __init__(self, classes: int = 3):
        super().__init__()
        self.encoder = Encoder()
        add_decoder(self)
        self.prior = PriorEncoder()
        self.case = CASE(WIDTHS[1], classes)
        for k, c in ((1, 16), (2, 16), (3, 32)):
            self.add_module(f"bam{k}", BAM(c))
        for k, c in ((1, 16), (2, 32), (3, 32)):
            self.add_module(f"msrm{k}", MSRM(c))
            self.add_module(f"pifm{k}", PIFM(c))
        self.lateral1, self.lateral2 = ConvBN(48, 16), ConvBN(48, 32)
        self.head = Head(16)
        for name, c in (("d5", 96), ("d4", 64), ("r3", 32), ("r2", 32)):
            self.add_module(f"side_{name}", nn.Conv2d(c, 1, 1))

    def forward(self, x: Tensor, aux: bool = False) -> dict[str, Tensor]:
        features = self.encoder(x)
        d, b, m = {}, {}, {}
        for k in range(5, 0, -1):
            e = features[k - 1]
            d[k] = getattr(self, f"d{k}")(e if k == 5 else e + double(d[k + 1]))
            if k <= 3:
                d[k], b[k], m[k] = getattr(self, f"bam{k}")(d[k])
        guide = {k: torch.sigmoid(m[k]) for k in (1, 2, 3)}
        size = m[1].shape[2:]
        p = self.prior(torch.cat([guide[1], upsample(guide[2], size, False), upsample(guide[3], size, False)], 1))

        y, logits = self.case(d[3])
        r = {}
        for k in (3, 2, 1):
            if k < 3:
                y = getattr(self, f"lateral{k}")(torch.cat([double(y), d[k]], 1))
            r[k] = getattr(self, f"msrm{k}")(y, guide[k])
            y = getattr(self, f"pifm{k}")(r[k], p[k])
        final = double(self.head(y))[:, 0]
        out = {"map": torch.sigmoid(final), "final": final, "class": logits}
        out |= {f"m{k}": v[:, 0] for k, v in m.items()}
        if aux:
            out |= {f"b{k}": v[:, 0] for k, v in b.items()}
            sources = {"d5": d[5], "d4": d[4], "r3": r[3], "r2": r[2]}
            out |= {name: getattr(self, f"side_{name}")(v)[:, 0] for name, v in sources.items()}
        return out
