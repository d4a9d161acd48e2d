"""TSCARNet in PyTorch, written from the module table: the peer for training and inference of the whole network.

NCHW; names of modules follow the table. Coarse outputs keep their own size: `m1 m2 m3` at strides 2, 4, 8.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.torch_minet import DS, ConvBN, Encoder, decoder_stages, upsample


def double(x: Tensor) -> Tensor:
    """Bilinear 2x, half-pixel centres."""
    return upsample(x, (2 * x.shape[2], 2 * x.shape[3]), False)


class BAM(nn.Module):
    """Boundary attention: X → X', boundary logit b, mask logit m."""

    def __init__(self, c: int):
        super().__init__()
        self.row = nn.Conv2d(c, c, (1, 5), padding=(0, 2), groups=c, bias=False)
        self.column = nn.Conv2d(c, c, (5, 1), padding=(2, 0), groups=c, bias=False)
        self.edge = ConvBN(3 * c, c)
        self.boundary = nn.Conv2d(c, 1, 1)
        self.gate = ConvBN(c, c, relu=False)
        self.mask = nn.Conv2d(c, 1, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        contrast = x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        e = self.edge(torch.cat([self.row(x), self.column(x), contrast], 1))
        b = self.boundary(e)
        x = F.relu(x + self.gate(e * torch.sigmoid(b)))
        return x, b, self.mask(x)


class CASE(nn.Module):
    """Class-aware separation: class logits from the abstracted feature, then X + sum over classes of p_k·F_k(X)."""

    def __init__(self, c: int = 32, classes: int = 3):
        super().__init__()
        self.classes = classes
        self.abstract = nn.Sequential(DS(c, 64, 2), DS(64, 96, 2), DS(96, 128, 2))
        self.hidden = nn.Linear(128, 64)
        self.logits = nn.Linear(64, classes)
        # one DS(c, c) a class: channels ordered class by class
        self.depthwise = ConvBN(classes * c, classes * c, 3, groups=classes * c)
        self.pointwise = ConvBN(classes * c, classes * c, groups=classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.abstract(x).mean((2, 3))
        logits = self.logits(F.relu(self.hidden(pooled)))
        branches = self.pointwise(self.depthwise(x.repeat(1, self.classes, 1, 1)))
        branches = branches.view(x.shape[0], self.classes, x.shape[1], *x.shape[2:])
        return x + torch.einsum("nk,nkchw->nchw", torch.softmax(logits, 1), branches), logits


class MSRM(nn.Module):
    """Multi-scale cascaded refinement guided by a mask probability [n 1 h w]."""

    def __init__(self, c: int):
        super().__init__()
        self.branches = nn.ModuleList(DS(c, c, dilation=d) for d in (1, 2, 4))
        self.alpha = nn.Linear(3 * c, 3)
        self.cascade = nn.Sequential(DS(3 * c, 2 * c), DS(2 * c, c))
        self.select = nn.Conv2d(2 * c, 2, 3, padding=1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        maps = [branch(x) * (1 + mask) for branch in self.branches]
        both = torch.cat(maps, 1)
        alpha = torch.softmax(self.alpha(both.mean((2, 3))), 1)
        weighted = sum(alpha[:, i, None, None, None] * m for i, m in enumerate(maps))
        cascade = self.cascade(both)
        q = torch.softmax(self.select(torch.cat([weighted, cascade], 1)), 1)
        return q[:, :1] * weighted + q[:, 1:] * cascade


class PIFM(nn.Module):
    """Prior fusion: Z = w·R + (1 − w)·P with w from a local and a pooled bottleneck of R + P."""

    def __init__(self, c: int):
        super().__init__()
        self.local = nn.Sequential(ConvBN(c, c // 4), ConvBN(c // 4, c, relu=False))
        self.pooled = nn.Sequential(ConvBN(c, c // 4), ConvBN(c // 4, c, relu=False))

    def forward(self, r: Tensor, p: Tensor) -> Tensor:
        u = r + p
        w = torch.sigmoid(self.local(u) + self.pooled(u.mean((2, 3), keepdim=True)))
        return w * r + (1 - w) * p


class Head(nn.Module):
    """Channel attention, spatial attention 7x7, DS, 1x1 → logits at the feature's size."""

    def __init__(self, c: int = 16):
        super().__init__()
        self.squeeze = nn.Linear(c, c // 4)
        self.excite = nn.Linear(c // 4, c)
        self.spatial = nn.Conv2d(2, 1, 7, padding=3)
        self.refine = DS(c, c)
        self.logits = nn.Conv2d(c, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        attention = [self.excite(F.relu(self.squeeze(v))) for v in (x.mean((2, 3)), x.amax((2, 3)))]
        x = x * torch.sigmoid(attention[0] + attention[1])[:, :, None, None]
        x = x * torch.sigmoid(self.spatial(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))
        return self.logits(self.refine(x))


class TSCARNet(nn.Module):
    """366,036 parameters with three classes. x [n 3 s s], normalised → dict of logits.

    `final` [n s s], `class` [n k], `m1 m2 m3`; with `aux` also `b1 b2 b3 r2 r3 d4 d5` (all [n h w] at their own size).
    """

    def __init__(self, classes: int = 3):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = decoder_stages()
        self.bam = nn.ModuleList([BAM(16), BAM(16), BAM(32)])
        self.case = CASE(32, classes)
        self.msrm = nn.ModuleList([MSRM(16), MSRM(32), MSRM(32)])
        self.lateral = nn.ModuleList([ConvBN(48, 16), ConvBN(48, 32)])
        self.prior = nn.ModuleList([ConvBN(3, 16, 3), DS(16, 32, 2), DS(32, 32, 2)])
        self.pifm = nn.ModuleList([PIFM(16), PIFM(32), PIFM(32)])
        self.head = Head(16)
        self.aux = nn.ModuleDict({"d5": nn.Conv2d(96, 1, 1), "d4": nn.Conv2d(64, 1, 1),
                                  "r3": nn.Conv2d(32, 1, 1), "r2": nn.Conv2d(32, 1, 1)})  # fmt: skip

    def forward(self, x: Tensor, aux: bool = False) -> dict[str, Tensor]:
        features = self.encoder(x)
        d, b, m = {}, {}, {}
        for k in range(5, 0, -1):
            e = features[k - 1]
            d[k] = self.decoder[k - 1](e if k == 5 else e + double(d[k + 1]))
            if k <= 3:
                d[k], b[k], m[k] = self.bam[k - 1](d[k])
        guide = {k: torch.sigmoid(m[k]) for k in (1, 2, 3)}
        size = m[1].shape[2:]
        prior = torch.cat([guide[1], upsample(guide[2], size, False), upsample(guide[3], size, False)], 1)
        p = {}
        for k in (1, 2, 3):
            prior = p[k] = self.prior[k - 1](prior)

        y, logits = self.case(d[3])
        r = {}
        for k in (3, 2, 1):
            r[k] = self.msrm[k - 1](y, guide[k])
            z = self.pifm[k - 1](r[k], p[k])
            if k > 1:
                y = self.lateral[k - 2](torch.cat([double(z), d[k - 1]], 1))
        out = {"final": double(self.head(z))[:, 0], "class": logits}
        out |= {f"m{k}": v[:, 0] for k, v in m.items()}
        if aux:
            out |= {f"b{k}": v[:, 0] for k, v in b.items()}
            sources = {"d5": d[5], "d4": d[4], "r3": r[3], "r2": r[2]}
            out |= {name: self.aux[name](v)[:, 0] for name, v in sources.items()}
        return out
