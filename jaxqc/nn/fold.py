"""Batch-norm folding: training variables → the variables of the same network built with `Norm(folded=True)`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxqc.types import Variables

EPSILON = 1e-5


def fold_batch_norm(variables: Variables, epsilon: float = EPSILON) -> dict[str, Any]:
    """Multiplies every kernel that a batch norm follows by scale / sqrt(var + eps) and turns the rest into a bias.

    A unit is a dict with `kernel` and `bn` (`jaxqc.nn.conv`), perhaps a `bias` before that; everything else is passed
    through. A `bn` that follows no kernel becomes `scale` and `bias`. Kernels may have any shape whose last axis is the
    output channel, with leading axes of stacked (scanned) layers in front of both.
    Computed on the host in float64 and rounded once to the kernel's dtype, so that the only difference from the
    unfolded network is its own rounding.

    Returns:
      `{"params": ...}` with `kernel` and `bias` (NumPy arrays) in place of `kernel` and `bn`.

    Examples:
      >>> unit = {"kernel": np.ones((1, 1, 3, 4)), "bn": {"scale": np.full(4, 2.0), "bias": np.zeros(4)}}
      >>> statistics = {"conv": {"bn": {"mean": np.ones(4), "var": np.ones(4)}}}
      >>> folded = fold_batch_norm({"params": {"conv": unit}, "batch_stats": statistics}, epsilon=0.0)
      >>> folded["params"]["conv"]["kernel"].shape, folded["params"]["conv"]["bias"].tolist()
      ((1, 1, 3, 4), [-2.0, -2.0, -2.0, -2.0])
    """
    return {"params": _fold(variables["params"], variables.get("batch_stats", {}), epsilon)}


def _fold(params: Mapping[str, Any], stats: Mapping[str, Any], epsilon: float) -> dict[str, Any]:
    if "bn" not in params:
        return {
            key: _fold(value, stats.get(key, {}), epsilon) if isinstance(value, Mapping) else value
            for key, value in params.items()
        }
    scale, bias = (np.asarray(params["bn"][name], np.float64) for name in ("scale", "bias"))
    mean, var = (np.asarray(stats["bn"][name], np.float64) for name in ("mean", "var"))
    factor = scale / np.sqrt(var + epsilon)
    dtype = params.get("kernel", params["bn"]["scale"]).dtype
    bias = (bias + (np.asarray(params.get("bias", 0.0), np.float64) - mean) * factor).astype(dtype)
    if "kernel" not in params:
        return {"scale": factor.astype(dtype), "bias": bias}
    kernel = np.asarray(params["kernel"], np.float64)
    spread = factor.reshape(*factor.shape[:-1], *(1,) * (kernel.ndim - factor.ndim), factor.shape[-1])
    return {"kernel": (kernel * spread).astype(dtype), "bias": bias}
