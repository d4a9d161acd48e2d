"""The PyTorch ResNet run as a frozen backbone: its first layers alone, in any setting worth trying."""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.peers.settings import Setting, autocast, compiled, compiling, layout
from benchmarks.peers.torch_resnet import ResNet, fold


class Layers(nn.Module):
    """Layers 1 to `deepest` of a ResNet: NCHW → one tensor a layer. Nothing beyond them is computed."""

    def __init__(self, network: ResNet, deepest: int = 3):
        super().__init__()
        self.network, self.deepest = network, deepest

    def forward(self, x: Tensor) -> list[Tensor]:
        n, out = self.network, []
        x = F.max_pool2d(F.relu(n.bn1(n.conv1(x))), 3, 2, 1)
        for layer in range(1, self.deepest + 1):
            x = getattr(n, f"layer{layer}")(x)
            out.append(x)
        return out


def resnet_settings(bf16: bool = False, compiled: bool = True) -> list[Setting]:
    """Settings worth trying, cheapest to prepare first; batch norm is folded in each."""
    out = [Setting(folded=True, channels_last=last, bf16=bf16) for last in (False, True)]
    if compiled:
        out += [Setting("loop", True, last, "default", True, bf16) for last in (False, True)]
        out += [Setting("loop", True, True, "max-autotune", True, bf16)]
    return out


def resnet_call(model: Layers, setting: Setting, x: Tensor) -> Callable[[], Any]:
    """`call()` runs the layers on `x` [n 3 h w]; compiled before it is returned, where the setting says so."""
    network: Any = copy.deepcopy(model)
    network = (fold(network) if setting.folded else network).to(x.device).eval()
    if setting.channels_last:
        network = network.to(memory_format=torch.channels_last)
    ready, run = layout(x, setting), compiled(network, setting)

    def call() -> Any:
        with torch.no_grad(), autocast(setting, x.device):
            return run(ready)

    with compiling(setting):
        call()
    return call
