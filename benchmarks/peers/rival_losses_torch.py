"""The losses of TSCARNet's rivals in PyTorch, from their formulas; maps and masks are [n h w].

Each takes what the rival's rendering gives, the mask in [0, 1], and the classes, int64 [n], -1 = not known.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers.losses_torch import balanced_bce, gaussian, ssim

Out = dict[str, Tensor]
bce = F.binary_cross_entropy_with_logits


def overlap(p: Tensor, mask: Tensor) -> Tensor:
    """1 − IoU of each image, with 1 added above and below; mean over images."""
    both = (p * mask).sum((1, 2))
    return (1 - (both + 1) / (p.sum((1, 2)) + mask.sum((1, 2)) - both + 1)).mean()


def at_size(z: Tensor, mask: Tensor, corners: bool) -> Tensor:
    return F.interpolate(z[:, None], size=mask.shape[1:], mode="bilinear", align_corners=corners)[:, 0]


def corrnet(out: Out, mask: Tensor, label: Tensor) -> Tensor:
    whole = [at_size(out[name], mask, True) for name in ("s1", "s2", "s3", "g")]
    return torch.stack([bce(z, mask) + overlap(torch.sigmoid(z), mask) for z in whole]).sum()


def pp_liteseg(out: Out, mask: Tensor, label: Tensor) -> Tensor:
    """Cross entropy of an image's pixels whose class has less than .7, at least a sixteenth of all, in three heads."""
    total = torch.zeros((), dtype=mask.dtype)
    for stride in (8, 16, 32):
        z = out[f"out{stride}"].permute(0, 3, 1, 2)
        each = F.cross_entropy(z, (mask > 0.5).long(), reduction="none").flatten(1)
        means = []
        for loss in each:
            level = loss.detach().sort(descending=True).values[max(1, len(loss) // 16) - 1]
            hard = loss >= min(float(level), -math.log(0.7))
            means.append(loss[hard].mean())
        total = total + torch.stack(means).mean()
    return total


def uctransnet(out: Out, mask: Tensor, label: Tensor) -> Tensor:
    p = out["map"]
    above = 2 * (p * mask).sum((1, 2)) + 4e-5
    dice = 1 - above / ((p * p).sum((1, 2)) + (mask * mask).sum((1, 2)) + 4e-5)
    return dice.mean() / 2 + balanced_bce(out["logits"], mask) / 2


def cklnet(out: Out, mask: Tensor, label: Tensor) -> Tensor:
    own = torch.where(label >= 0, label, out["class"].argmax(1))
    p = out["maps"][torch.arange(len(own)), :, :, own]
    found = F.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), mask) + 1 - ssim(p, mask, gaussian(mask).to(mask.dtype))
    each = F.cross_entropy(out["class"], label.clamp(min=0), reduction="none")
    return found + (each * (label >= 0)).mean()


def gcranet(out: Out, mask: Tensor, label: Tensor) -> Tensor:
    total, window = torch.zeros((), dtype=mask.dtype), gaussian(mask).to(mask.dtype)
    for name in ("map", "map2", "map3", "map4", "map5"):
        p = out[name]
        total = total + F.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), mask) + 1 - ssim(p, mask, window)
        total = total + overlap(p, mask)
    return total


def ffrnet(out: Out, mask: Tensor, label: Tensor) -> Tensor:
    """Both heads' maps at three scales, and how far they are from agreeing; our reading of the paper."""
    total = torch.zeros((), dtype=mask.dtype)
    for stride in (4, 8, 16):
        p, q = (at_size(out[f"{name}{stride}"], mask, False) for name in "pq")
        for z in (p, -q):
            total = total + bce(z, mask) + overlap(torch.sigmoid(z), mask)
        total = total + 0.5 * (torch.sigmoid(p) + torch.sigmoid(q) - 1).abs().mean()
    return total


LOSSES: dict[str, Callable[[Out, Tensor, Tensor], Tensor]] = {
    "corrnet": corrnet,
    "pp_liteseg_b": pp_liteseg,
    "pp_liteseg_t": pp_liteseg,
    "uctransnet": uctransnet,
    "cklnet": cklnet,
    "gcranet": gcranet,
    "ffrnet": ffrnet,
}
