"""The deviation of a network's outputs over good images, logged: one that gives all of them the same has collapsed.

A loss that pulls outputs together is least where all are one. It looks well then, and every score is noise.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.errors import UserError
from jaxqc.types import ArrayLike

LEAST = 1e-3
"""Share of its start that the deviation keeps at least."""
START = "spread"
"""Collection of the training state that holds the deviation of the first step."""


def spread(outputs: Float[ArrayLike, "n d"], axis_name: str | None = None) -> Float[Array, ""]:
    """The root mean square over numbers of their deviation over the batch, on all devices.

    Examples:
      >>> round(float(spread(jnp.array([[0.0, 0.0], [2.0, 0.0]]))) ** 2, 4)  # variances 1 and 0
      0.5
    """
    x = lax.stop_gradient(jnp.asarray(outputs, jnp.float32))
    mean = lambda y: y.mean(0) if axis_name is None else lax.pmean(y.mean(0), axis_name)
    return jnp.sqrt(mean(jnp.square(x - mean(x))).mean())


def start() -> dict[str, Any]:
    """The collection before the first step.

    Examples:
      >>> {name: float(value) for name, value in start().items()}
      {'first': 0.0}
    """
    return {"first": jnp.zeros(())}


def followed(before: Mapping[str, jax.Array], deviation: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """The collection after a step, and the logs: `deviation`, and the share of its first value that is left.

    Examples:
      >>> state, logs = followed(start(), jnp.float32(4.0))
      >>> float(followed(state, jnp.float32(1.0))[1]["deviation_left"])
      0.25
    """
    first = jnp.where(before["first"] > 0, before["first"], deviation)
    return {"first": first}, {"deviation": deviation, "deviation_left": deviation / jnp.maximum(first, 1e-30)}


def refuse_collapse(logs: Mapping[str, Any], field: str) -> None:
    """Checks a log line. field: the weight that drives outputs together.

    Raises:
      UserError: the outputs of good images deviate by less than a thousandth of what they did in the first step.

    Examples:
      >>> refuse_collapse({"step": 3, "deviation_left": 0.5}, "pull")
      >>> try:
      ...     refuse_collapse({"step": 3, "deviation_left": 1e-4}, "pull")
      ... except UserError as e:
      ...     print(str(e)[:30], "...", str(e)[-10:])
      step 3: the network collapsed: ... lower pull
    """
    left = logs["deviation_left"]
    if left < LEAST:
        raise UserError(
            f"step {logs['step']}: the network collapsed: it gives all good images nearly the same numbers, whose"
            f" deviation is {left:.2g} of that of the first step; lower {field}"
        )
