"""UniMatch V2's training step in PyTorch (arXiv 2410.10777, own writing): the peer of `jaxqc.semi.objective`. NCHW.

The teacher labels the weak view; labelled images and both strong views go through the student, complementary dropout
on the strong views' features; CutMix boxes and augmented views are given; AdamW with a rate for the encoder and one
for the head, poly schedule, moving average.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch._dynamo  # an optimiser's first step imports it; a setting's time limit must not cut that short
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.settings import Call, Setting, arrange, autocast, compiled, compiling
from benchmarks.peers.torch_dinov2 import DPT, ViT, load_head, peer_vit
from jaxqc.models.pretrained_vit import export_vit
from jaxqc.models.segmenter import encoder_spec

IGNORE = 255
Prepared = dict[str, Tensor]
"""A prepared batch of `jaxqc.semi.objective`, images [n 3 h w]; `strong` holds both views."""


@dataclass(frozen=True)
class StepSetting(Setting):
    """joined: labelled images and strong views in one pass; apart, as the method's authors have it, in two."""

    joined: bool = True

    @property
    def name(self) -> str:
        return super().name.replace(f" {self.mixing}", "") + ("" if self.joined else " two passes")


def step_settings(bf16: bool = False, compiled: bool = True) -> list[StepSetting]:
    """Settings worth trying, cheapest to prepare first."""
    out = [StepSetting(channels_last=last, bf16=bf16, joined=one) for last in (False, True) for one in (False, True)]
    if compiled:
        out += [StepSetting(channels_last=last, compile="default", bf16=bf16) for last in (False, True)]
        # Its graphs keep static memory, which is a GPU's gain; on a CPU it only takes longer to compile.
        if torch.cuda.is_available():
            out += [StepSetting(channels_last=True, compile="max-autotune", bf16=bf16)]
    return out


class Segmenter(nn.Module):
    """Image [n 3 h w] → logits [n k h w], in two halves."""

    def __init__(self, encoder: ViT, head: DPT):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, image: Tensor, factors: Tensor | None = None) -> Tensor:
        """factors [n c]: of the channels of the last of the n images' features, if there are fewer rows than images."""
        features = self.encoder(image)
        if factors is not None:
            kept = image.shape[0] - factors.shape[0]
            wide = F.pad(factors, (0, 0, kept, 0), value=1.0) if kept else factors
            features = [f * wide.to(f.dtype)[:, :, None, None] for f in features]
        return self.head(features, image.shape[2:])


def peer_segmenter(encoder: str, classes: int) -> Segmenter:
    """The peer of `jaxqc.models.segmenter.build_segmenter(encoder, classes)`, transformers only."""
    known = encoder_spec(encoder)
    return Segmenter(peer_vit(encoder), DPT(known.widths, classes, known.hidden, known.channels))


def load_segmenter(params: Mapping[str, Any], model: Segmenter) -> Segmenter:
    """Our `params` (`encoder`, `head`) into the peer, in place; every array must fit."""
    arrays = export_vit({"params": params["encoder"]})
    model.encoder.load_state_dict({name: torch.tensor(np.array(value)) for name, value in arrays.items()})
    load_head(params["head"], model.head)
    return model


def from_prepared(batch: Mapping[str, Any], device: torch.device, setting: Setting) -> Prepared:
    """Arrays of a batch that `jaxqc.semi.objective.prepare` made → tensors on the device."""
    memory = torch.channels_last if setting.channels_last else torch.contiguous_format
    out = {name: torch.from_numpy(np.array(batch[name])).to(device) for name in ("mask", "valid", "inside")}
    out["mask"] = out["mask"].long()
    for name in ("image", "weak"):
        out[name] = torch.from_numpy(np.array(batch[name])).to(device).permute(0, 3, 1, 2)
        out[name] = out[name].contiguous(memory_format=memory)
    views = torch.from_numpy(np.array(batch["strong"])).to(device).flatten(0, 1).permute(0, 3, 1, 2)
    return out | {"strong": views.contiguous(memory_format=memory)}


def draw_factors(count: int, width: int, device: torch.device) -> Tensor:
    """Complementary dropout [2·count width]: 0 or 2 a channel in the first view, the complement in the second, ones in
    both for a random half of the samples."""
    first = 2.0 * torch.bernoulli(torch.full((count, width), 0.5, device=device))
    first = torch.where((torch.randperm(count, device=device) < count // 2)[:, None], 1.0, first)
    return torch.cat([first, 2 - first])


def semi_loss(
    student: nn.Module,
    teacher: nn.Module,
    batch: Prepared,
    factors: Tensor,
    setting: StepSetting,
    threshold: float = 0.95,
) -> Tensor:
    """(L_x + L_u) / 2; logits are taken in float32 from the heads on."""
    device, b = batch["image"].device, len(batch["image"])
    with torch.no_grad(), autocast(setting, device):
        weak = teacher(batch["weak"])
    confidence, label = weak.float().softmax(1).max(1)
    weight = (confidence > threshold).float()
    with autocast(setting, device):
        if setting.joined:
            x, strong = student(torch.cat([batch["image"], batch["strong"]]), factors).tensor_split([b])
        else:
            x, strong = student(batch["image"]), student(batch["strong"], factors)
    loss_x = F.cross_entropy(x.float(), batch["mask"], ignore_index=IGNORE)
    loss_u = torch.zeros((), device=device)
    for logits, inside in zip(strong.float().chunk(2), batch["inside"], strict=True):
        y, a, valid = (torch.where(inside, t.flip(0), t) for t in (label, weight, batch["valid"]))
        each = F.cross_entropy(logits, y, reduction="none") * a * valid
        loss_u = loss_u + each.sum() / valid.sum().clamp(min=1) / 2
    return (loss_x + loss_u) / 2


class Training:
    """A student, its teacher and its optimiser; `step` takes one step and returns the loss, not waited for."""

    def __init__(
        self,
        model: Segmenter,
        setting: StepSetting,
        device: torch.device,
        lr: float = 5e-6,
        head: float = 40.0,
        total: int = 10_000,
        decay: float = 0.996,
        threshold: float = 0.95,
    ):
        self.student: Any = arrange(model, setting, device).train()
        self.teacher: Any = copy.deepcopy(self.student).requires_grad_(False)
        self.rates, self.total, self.decay, self.done = (lr, lr * head), total, decay, 0
        groups = [{"params": list(part.parameters())} for part in (self.student.encoder, self.student.head)]
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.999), weight_decay=0.01, fused=True)
        self.pairs = [[p.detach() for p in m.parameters()] for m in (self.teacher, self.student)]
        self.width = self.student.encoder.cls_token.shape[-1]
        loss = lambda batch, factors: semi_loss(self.student, self.teacher, batch, factors, setting, threshold)
        self.loss = compiled(loss, setting)

    def step(self, batch: Prepared, factors: Tensor | None = None) -> Tensor:
        if factors is None:
            factors = draw_factors(len(batch["weak"]), self.width, batch["weak"].device)
        loss = self.loss(batch, factors)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share = (1 - self.done / self.total) ** 0.9
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.optimizer.step()
        self.done += 1
        keep = min(1 - 1 / self.done, self.decay)
        torch._foreach_lerp_(*self.pairs, 1 - keep)
        return loss.detach()


def step_call(
    model: Segmenter,
    setting: StepSetting,
    batch: Mapping[str, Any],
    device: torch.device,
    **hyper: Any,
) -> Call:
    """A call without arguments that takes one step on a prepared batch, compiled where the setting says so."""
    training, ready = Training(model, setting, device, **hyper), from_prepared(batch, device, setting)
    with compiling(setting):
        training.step(ready)
    return lambda: training.step(ready)


class WholeImage(nn.Module):
    """Image [n 3 h w] → probabilities [n k h w] from one pass at `size`, resized there antialiased and back again."""

    def __init__(self, model: Segmenter, size: tuple[int, int]):
        super().__init__()
        self.model, self.size = model, size

    def forward(self, image: Tensor) -> Tensor:
        x, own = image, tuple(image.shape[2:])
        if own != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True)
        logits = self.model(x).float()
        if own != self.size:
            logits = F.interpolate(logits, own, mode="bilinear", align_corners=True)
        return logits.softmax(1)


def forward_settings(bf16: bool = False, compiled: bool = True) -> list[StepSetting]:
    """Settings worth trying for inference, cheapest to prepare first."""
    out = [StepSetting(channels_last=last, bf16=bf16) for last in (False, True)]
    if compiled:  # with PyTorch 2.13 on a CPU, `freezing` gives another result at DINOv2-S, 518
        out += [
            StepSetting(channels_last=last, compile="default", freezing=freezing, bf16=bf16)
            for freezing in (True, False)
            for last in (False, True)
        ]
    return out
