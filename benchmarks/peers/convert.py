"""jaxqc variables → the PyTorch peers' state dict: same weights, other layout.

A peer's submodules bear the names of the variables, so a path differs only in its last step: a convolution or linear
layer reads `kernel` (and `bias`), a batch norm reads `bn` from `params` and `batch_stats`. Blocks that jaxqc keeps
stacked along a leading axis (`e2_mi`) become numbered ones (`e2_mi1`, `e2_mi2`, ...).
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.torch_minet import MINet
from benchmarks.peers.torch_tscarnet import TSCARNet


def peer(name: str, classes: int = 3) -> nn.Module:
    """The peer of `jaxqc.saliency.networks.build(name, classes)`, freshly initialised."""
    if name == "minet":
        return MINet()
    if name == "tscarnet":
        return TSCARNet(classes)
    raise ValueError(f"no PyTorch peer of {name!r} (known: minet, tscarnet)")


def convert(variables: Mapping[str, Any], model: nn.Module) -> nn.Module:
    """Loads `{"params", "batch_stats"}` (not folded) into the peer, in place, and returns it in evaluation mode.

    Raises:
      ValueError: a variable is missing, has another size, or is left over.
    """
    params, stats = (_unstacked(_flat(variables[kind])) for kind in ("params", "batch_stats"))
    state: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        path = name.replace(".", "/")
        if isinstance(module, nn.Conv2d | nn.Linear):
            path = path.removesuffix("/conv") if f"{path}/kernel" not in params else path
            state[f"{name}.weight"] = _kernel(_take(params, f"{path}/kernel"), module.weight, path)
            if module.bias is not None:
                state[f"{name}.bias"] = _tensor(_take(params, f"{path}/bias"))
        elif isinstance(module, nn.BatchNorm2d):
            state[f"{name}.weight"] = _tensor(_take(params, f"{path}/scale"))
            state[f"{name}.bias"] = _tensor(_take(params, f"{path}/bias"))
            state[f"{name}.running_mean"] = _tensor(_take(stats, f"{path}/mean"))
            state[f"{name}.running_var"] = _tensor(_take(stats, f"{path}/var"))
            state[f"{name}.num_batches_tracked"] = torch.tensor(0)
    if left := [*params, *stats]:
        raise ValueError(f"variables that the peer has no place for: {', '.join(sorted(left))}")
    model.load_state_dict(state)
    return model.eval()


def _kernel(kernel: np.ndarray, weight: Tensor, path: str) -> Tensor:
    """[kh kw c] depthwise, [kh kw i o] dense, [i o] 1x1, grouped or linear → [o i/groups kh kw] (or [o i])."""
    last_first = np.moveaxis(kernel, -1, 0)
    if kernel.ndim == 4:
        last_first = np.moveaxis(last_first, -1, 1)
    if last_first.size != weight.numel():
        raise ValueError(f"{path}: kernel {kernel.shape} does not fit a weight of {tuple(weight.shape)}")
    return _tensor(last_first).reshape(weight.shape)


def _take(flat: dict[str, np.ndarray], path: str) -> np.ndarray:
    if path not in flat:
        raise ValueError(f"no variable {path}")
    return flat.pop(path)


def _tensor(value: np.ndarray) -> Tensor:
    return torch.tensor(np.ascontiguousarray(value), dtype=torch.float32)


def _unstacked(flat: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for path, value in flat.items():
        if stacked := re.fullmatch(r"(.*_mi)/(.*)", path):
            out |= {f"{stacked[1]}{i + 1}/{stacked[2]}": layer for i, layer in enumerate(value)}
        else:
            out[path] = value
    return out


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    out: dict[str, np.ndarray] = {}
    for key, value in tree.items():
        out |= _flat(value, f"{prefix}{key}/") if isinstance(value, Mapping) else {f"{prefix}{key}": np.asarray(value)}
    return out
