"""Distances of a student's features from its teacher's, cell by cell or over a whole map, and weights of cells."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.nn.unit import unit
from jaxqc.types import ArrayLike

Kind = Literal["mse", "unit_l2", "cosine_cell", "cosine_flat"]
MapKind = Literal["mse", "unit_l2", "cosine_cell"]
Features = Float[ArrayLike, "b h w c"]


def _flat(t: Features, s: Features) -> Float[Array, "b 1 1"]:
    t, s = (x.reshape(x.shape[0], 1, 1, -1) for x in (t, s))
    return _cosine(t, s)


def _cosine(t: Features, s: Features) -> Float[Array, "b h w"]:
    return 1.0 - (unit(t) * unit(s)).sum(-1)


_KINDS: dict[str, Callable[[Features, Features], Float[Array, "b _ _"]]] = {
    "mse": lambda t, s: jnp.square(jnp.asarray(t) - s).mean(-1),
    "unit_l2": lambda t, s: jnp.square(unit(t) - unit(s)).sum(-1),
    "cosine_cell": _cosine,
    "cosine_flat": _flat,
}


def discrepancy(kind: Kind, t: Features, s: Features) -> Float[Array, "b _ _"]:
    """A student's distance from its teacher at each cell [b h w], float32.

    kind: `mse` the mean over channels of (t - s)²; `unit_l2` the squared distance of t and s as unit vectors;
    `cosine_cell` one less their cosine; `cosine_flat` that of all cells as one vector, [b 1 1].

    Examples:
      >>> t, s = jnp.array([3.0, 0.0]).reshape(1, 1, 1, 2), jnp.array([0.0, 1.0]).reshape(1, 1, 1, 2)
      >>> [discrepancy(kind, t, s).item() for kind in ("mse", "unit_l2", "cosine_cell", "cosine_flat")]
      [5.0, 2.0, 1.0, 1.0]
    """
    return _KINDS[kind](t, s)
