"""Variables to start from: drawn ones, with those of a file in their place."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxqc.errors import UserError


def merged(drawn: Mapping[str, Any], given: Mapping[str, Any], where: str, path: str = "") -> dict[str, Any]:
    """A network's drawn variables, each array that `given` has too in its place, in the drawn one's dtype.

    Args:
      drawn, given: nested by module names; `given` may lack any of them. where: what was given, for messages.
      path: of both within the network's variables.

    Raises:
      UserError: an array of `given` has no place here or another shape.
    """
    out = dict(drawn)
    for name, value in given.items():
        place = f"{path}/{name}" if path else name
        if name not in drawn or isinstance(value, Mapping) != isinstance(drawn[name], Mapping):
            raise UserError(f"{where}: {place} has no place in this network; are the weights of another model?")
        if isinstance(value, Mapping):
            out[name] = merged(drawn[name], value, where, place)
        elif jnp.shape(value) != jnp.shape(drawn[name]):
            raise UserError(f"{where}: {place} has shape {jnp.shape(value)}, not {jnp.shape(drawn[name])}")
        else:
            out[name] = jnp.asarray(value, drawn[name].dtype)
    return out
