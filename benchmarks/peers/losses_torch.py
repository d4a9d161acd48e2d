"""The training losses in PyTorch, term by term as jaxqc's, so that a train step compares like with like."""

import torch
import torch.nn.functional as F
from torch import Tensor

COARSE = {"m1": 2, "m2": 4, "r2": 4, "m3": 8, "r3": 8}
DEEP = {"d4": 16, "d5": 32}
BOUNDARY = {"b1": 2, "b2": 4, "b3": 8}
"""Side outputs and their strides."""


def edges(p: Tensor) -> Tensor:
    """Morphological gradient of maps [n h w]: 3x3 maximum minus 3x3 minimum."""
    p = p[:, None]
    return (F.max_pool2d(p, 3, 1, 1) + F.max_pool2d(-p, 3, 1, 1))[:, 0]


def dice(p: Tensor, target: Tensor) -> Tensor:
    """1 − Dice of each image, squared denominators, smoothed by 1; mean over images."""
    overlap = (p * target).sum((1, 2))
    return (1 - (2 * overlap + 1) / ((p * p).sum((1, 2)) + (target * target).sum((1, 2)) + 1)).mean()


def balanced_bce(logits: Tensor, target: Tensor) -> Tensor:
    """(mean over positives + mean over negatives) / 2 of each image, averaged."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    positive = (loss * target).sum((1, 2)) / target.sum((1, 2)).clamp(min=1)
    negative = (loss * (1 - target)).sum((1, 2)) / (1 - target).sum((1, 2)).clamp(min=1)
    return ((positive + negative) / 2).mean()


def boundary_loss(logits: Tensor, target: Tensor) -> Tensor:
    return balanced_bce(logits, target) + dice(torch.sigmoid(logits), target)


def tscarnet_loss(out: dict[str, Tensor], mask: Tensor, label: Tensor) -> Tensor:
    """The five terms over one batch. mask float [n h w] in [0, 1]; label int64 [n], -1 = no class known."""
    edge = edges(mask)
    bce = F.binary_cross_entropy_with_logits

    def coarse(name: str, stride: int) -> Tensor:
        return bce(out[name], F.avg_pool2d(mask[:, None], stride)[:, 0])

    loss = bce(out["final"], mask)
    loss = loss + 0.5 * sum(coarse(name, stride) for name, stride in COARSE.items())
    loss = loss + 0.25 * sum(coarse(name, stride) for name, stride in DEEP.items())
    boundary = sum(
        boundary_loss(out[name], F.max_pool2d(edge[:, None], stride)[:, 0]) for name, stride in BOUNDARY.items()
    )
    boundary = boundary + dice(edges(torch.sigmoid(out["final"])), edge)
    loss = loss + 0.5 * boundary
    known = (label >= 0).to(loss.dtype)
    each = F.cross_entropy(out["class"], label.clamp(min=0), reduction="none")
    return loss + 0.1 * (each * known).mean()


def minet_loss(out: dict[str, Tensor], mask: Tensor, label: Tensor) -> Tensor:
    """Sum over the five maps of BCE + (1 − SSIM, window 11); `label` is not read."""
    window = gaussian(mask)
    total = torch.zeros((), device=mask.device)
    for name in ("map", "map2", "map3", "map4", "map5"):
        p = out[name]
        total = total + F.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), mask) + 1 - ssim(p, mask, window)
    return total


def gaussian(like: Tensor, window: int = 11, sigma: float = 1.5) -> Tensor:
    """Normalised 1-D Gaussian on the device of `like`."""
    offsets = torch.arange(window, device=like.device, dtype=torch.float32) - window // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def ssim(x: Tensor, y: Tensor, window: Tensor) -> Tensor:
    """Mean structural similarity of maps [n h w] in [0, 1]; one separable blur of all five moments, zero padding."""
    moments = torch.stack([x, y, x * x, y * y, x * y], 1).flatten(0, 1)[:, None]
    pad = len(window) // 2
    moments = F.conv2d(moments, window.view(1, 1, -1, 1), padding=(pad, 0))
    moments = F.conv2d(moments, window.view(1, 1, 1, -1), padding=(0, pad))
    mx, my, xx, yy, xy = moments.view(len(x), 5, *x.shape[1:]).unbind(1)
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
    return (top / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2))).mean()


LOSSES = {"tscarnet": tscarnet_loss, "minet": minet_loss}
