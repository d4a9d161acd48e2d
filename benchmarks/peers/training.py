"""A PyTorch training step with everything that jaxqc's has in it: uint8 in, flip, normalise, loss, clip, SGD."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.peers.settings import Call, Setting, arrange, autocast, compiled, compiling

Loss = Callable[[dict[str, Tensor], Tensor, Tensor], Tensor]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for kernels only, not for biases or batch norm."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def train_call(
    model: nn.Module,
    setting: Setting,
    loss_fn: Loss,
    batch: tuple[Tensor, Tensor, Tensor],
    mean: float = 0.439,
    std: float = 0.209,
    lr: float = 0.05,
    clip: float = 10.0,
) -> Call:
    """A call without arguments that does one training step and returns the loss (a tensor that is not waited for).

    batch: images uint8 [n h w c] (c = 1 or 3), masks uint8 [n h w], labels int64 [n], on the device already.
    Nesterov momentum .9, weight decay 5e-4. The first call compiles where the setting says so.
    """
    images, masks, labels = batch
    device = images.device
    network = arrange(model, setting, device).train()
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.SGD(parameter_groups(network, 5e-4), lr=lr, momentum=0.9, nesterov=True, fused=fused)
    params = list(network.parameters())
    memory = torch.channels_last if setting.channels_last else torch.contiguous_format

    def forward(images: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).float().div(255).sub(mean).div(std)
        flip = torch.rand(len(x), device=device) < 0.5
        x = torch.where(flip[:, None, None, None], x.flip(-1), x)
        y = torch.where(flip[:, None, None], masks.flip(-1), masks).float()
        x = x.expand(-1, 3, -1, -1).contiguous(memory_format=memory)
        with autocast(setting, device):
            out = network(x, aux=True)
        return loss_fn({k: v.float() for k, v in out.items()}, y, labels)

    run = compiled(forward, setting)

    def call() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = run(images, masks, labels)
        loss.backward()
        nn.utils.clip_grad_norm_(params, clip, foreach=True)
        optimizer.step()
        return loss.detach()

    with compiling(setting):
        call()
    return call
