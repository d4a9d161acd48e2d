"""The saliency networks by name, and how each is built. Needs only jax, flax, numpy and einops."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp

from jaxqc.errors import UserError, suggest
from jaxqc.models.minet import MINet, scaled
from jaxqc.models.tscarnet import TSCARNet
from jaxqc.nn.conv import Norm

Builder = Callable[[int, float, Norm, float], nn.Module]
"""(classes, width, norm, foreground) → a network's module."""

BUILDERS: dict[str, Builder] = {
    "minet": lambda classes, width, norm, foreground: MINet(scaled(width), norm, foreground=foreground),
    "tscarnet": lambda classes, width, norm, foreground: TSCARNet(classes, scaled(width), norm, foreground),
}


def build(
    name: str,
    classes: int = 3,
    width: float = 1.0,
    dtype: str = "float32",
    folded: bool = False,
    axis_name: str | None = None,
    foreground: float = 0.5,
) -> nn.Module:
    """A saliency network of this folder by name; arguments as of `assemble`.

    Those of other packages, too: `jaxqc.saliency.networks.build`.

    Raises:
      UserError: unknown name or dtype, `classes` < 1 or `width` <= 0.

    Examples:
      >>> import jax
      >>> network = build("minet", width=0.25)
      >>> variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
      >>> jax.eval_shape(network.apply, variables, jnp.zeros((1, 64, 64, 3)))["map"].shape
      (1, 64, 64)
    """
    if name not in BUILDERS:
        raise UserError(f"model.name: {name!r} is not a model{suggest(name, BUILDERS)}")
    return assemble(BUILDERS[name], classes, width, dtype, folded, axis_name, foreground)


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
      >>> assemble(BUILDERS["tscarnet"], classes=2, width=0.5).classes
      2
    """
    if dtype not in ("float32", "bfloat16"):
        raise UserError(f"model.dtype: {dtype!r} is neither 'float32' nor 'bfloat16'")
    if classes < 1 or width <= 0:
        raise UserError(f"model: classes = {classes} and width = {width} must be positive")
    return builder(classes, width, Norm(folded, axis_name, jnp.dtype(dtype)), foreground)
