"""How a saliency network is built for a use: width, dtype, batch norm. Needs only jax, flax, numpy and einops."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxqc.errors import UserError
from jaxqc.nn.conv import Norm

Builder = Callable[[int, float, Norm, float], nn.Module]
"""(classes, width, norm, foreground) → a network's module."""


def assemble(
    builder: Builder,
    classes: int = 3,
    width: float = 1.0,
    dtype: str = "float32",
    folded: bool = False,
    axis_name: str | None = None,
    foreground: float = 0.5,
) -> nn.Module:
    """A network's module by its builder.

    Args:
      classes: number of defect classes (TSCARNet's class-aware branches; MINet has none).
      width: factor on every channel count. dtype: compute dtype; parameters stay float32.
      folded: build for `jaxqc.nn.fold.fold_batch_norm` variables (inference only).
      axis_name: mapped axis for synchronised batch norm. foreground: mean defect share, the mask heads' starting bias.

    Raises:
      UserError: unknown dtype, `classes` < 1 or `width` <= 0.

    Examples:
      >>> from jaxqc.models.tscarnet import tscarnet
      >>> assemble(tscarnet, classes=2, width=0.5).classes
      2
    """
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"model.dtype: {dtype!r} is neither 'float32' nor 'bfloat16'")
    if classes < 1 or width <= 0:
        raise UserError(f"model: classes = {classes} and width = {width} must be positive")
    return builder(classes, width, Norm(folded, axis_name, jnp.dtype(dtype)), foreground)
