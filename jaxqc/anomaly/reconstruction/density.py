"""The density of good images' codes and errors: a mixture of Gaussians, fitted once the networks are trained."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.reconstruction_parts import MixtureConfig
from jaxqc.anomaly.ops.mixture import Gaussians, fitted_mixture, surprise
from jaxqc.anomaly.ops.principal import units
from jaxqc.errors import UserError
from jaxqc.types import ArrayLike


def described(code: Float[ArrayLike, "n z"], grid: Float[ArrayLike, "n a b"]) -> Float[Array, "n z+1"]:
    """An image's code, and the mean of its map.

    Examples:
      >>> described(jnp.array([[1.0, 2.0]]), jnp.array([[[3.0, 5.0]]])).tolist()
      [[1.0, 2.0, 4.0]]
    """
    return jnp.concatenate([jnp.asarray(code), jnp.asarray(grid).mean((1, 2))[:, None]], -1)


def fitted(rows: Float[np.ndarray, "n d"], mixture: MixtureConfig) -> dict[str, Any]:
    """The mixture of rows, each number in units of its own deviation, as arrays by name.

    Raises:
      UserError: more Gaussians than rows.

    Examples:
      >>> sorted(fitted(np.float32([[0.0], [2.0], [4.0]]), MixtureConfig()))
      ['log_share', 'mean', 'middle', 'unit', 'whitener']
    """
    if len(rows) < mixture.parts:
        raise UserError(f"detector.mixture.parts={mixture.parts} of {len(rows)} images; give more, or fewer parts")
    middle, unit = units(rows)
    found = jax.device_get(fitted_mixture((rows - middle) / unit, mixture.parts, mixture.seed, mixture.reg))
    return {"middle": middle, "unit": unit, **found._asdict()}


def improbable(density: Mapping[str, Any], rows: Float[ArrayLike, "n d"]) -> Float[Array, " n"]:
    """-log p of each row, less the least that it can be. density: as of `fitted`.

    Examples:
      >>> one = {"middle": jnp.zeros(1), "unit": 2 * jnp.ones(1), "log_share": jnp.zeros(1), "mean": jnp.zeros((1, 1))}
      >>> improbable(one | {"whitener": jnp.ones((1, 1, 1))}, jnp.array([[4.0]])).tolist()
      [2.0]
    """
    moved = (jnp.asarray(rows) - density["middle"]) / density["unit"]
    return surprise(Gaussians(*(density[name] for name in Gaussians._fields)), moved)
