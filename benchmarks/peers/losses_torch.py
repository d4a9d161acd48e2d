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
    """1 − Dice per image, squared denominators, smoothed by 1; mean over images."""
    overlap = (p * target).sum((1, 2))
    return (1 - (2 * overlap + 1) / ((p * p).sum((1, 2)) + (target * target).sum((1, 2)) + 1)).mean()


def balanced_bce(logits: Tensor, target: Tensor) -> Tensor:
    """(mean over positives + mean over negatives) / 2, over the whole batch."""
    positive = F.softplus(-logits) * target
    negative = F.softplus(logits) * (1 - target)
    eps = 1e-6
    return 0.5 * (positive.sum() / (target.sum() + eps) + negative.sum() / ((1 - target).sum() + eps))


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
    each = F.cross_entropy(out["class"].float(), label.clamp(min=0), reduction="none")
    return loss + 0.1 * (each * known).sum() / known.sum().clamp(min=1)
