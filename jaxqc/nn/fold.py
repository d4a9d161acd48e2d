"""Batch-norm folding: training variables → the variables of the same network built with `Norm(folded=True)`."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxqc.types import Variables

EPSILON = 1e-5


def fold_batch_norm(variables: Variables, epsilon: float = EPSILON) -> dict[str, Any]:
    """Multiplies every kernel that a batch norm follows by scale / sqrt(var + eps) and turns the rest into a bias.

    A unit is a dict with `kernel` and `bn` (`jaxqc.nn.conv`); everything else is passed through. Kernels may have any
    shape whose last axis is the output channel, with leading axes of stacked (scanned) layers in front of both.

    Returns:
      `{"params": ...}` with `kernel` and `bias` in place of `kernel` and `bn`.
    """
    return {"params": _fold(variables["params"], variables.get("batch_stats", {}), epsilon)}


def _fold(params: Mapping[str, Any], stats: Mapping[str, Any], epsilon: float) -> dict[str, Any]:
    if "bn" not in params:
        return {
            key: _fold(value, stats.get(key, {}), epsilon) if isinstance(value, Mapping) else value
            for key, value in params.items()
        }
    bn, running, kernel = params["bn"], stats["bn"], params["kernel"]
    factor = bn["scale"] / jnp.sqrt(running["var"] + epsilon)
    middle = kernel.ndim - factor.ndim
    spread = factor.reshape(*factor.shape[:-1], *(1,) * middle, factor.shape[-1])
    return {"kernel": kernel * spread, "bias": bn["bias"] - running["mean"] * factor}
