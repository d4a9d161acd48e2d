"""Defects made of codes: where a mask says so, an image's codes are replaced by others (DSR, arXiv 2208.01521)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxqc.anomaly.detectors.dsr import Dsr
from jaxqc.anomaly.dual.networks import Coded, Map, vq_vae
from jaxqc.models.codes import code_of_rank, quantised
from jaxqc.types import ArrayLike

NEAREST = 0.05
"""Share of the codes, the nearest ones, that are no defect."""


def cells(mask: Float[ArrayLike, "n s t"], height: int, width: int) -> Float[Array, "n {height} {width}"]:
    """The largest value of a mask in each cell of a grid that divides its sides.

    Examples:
      >>> cells(jnp.array([[[0.0, 1.0, 0.0, 0.0]]]), 1, 2).tolist()
      [[[1.0, 0.0]]]
    """
    n, s, t = mask.shape
    return jnp.asarray(mask).reshape(n, height, s // height, width, t // width).max((2, 4))


def pixels(grid: Float[ArrayLike, "n h w"], size: int) -> Float[Array, "n {size} {size}"]:
    """Each cell's value at its pixels.

    Examples:
      >>> pixels(jnp.array([[[0.0, 1.0], [2.0, 3.0]]]), 4)[0, 0].tolist()
      [0.0, 0.0, 1.0, 1.0]
    """
    grid = jnp.asarray(grid)
    return jnp.repeat(jnp.repeat(grid, size // grid.shape[1], 1), size // grid.shape[2], 2)


def ranks(
    key: Key[Array, ""], count: int, strength: Float[ArrayLike, " n"], grid: tuple[int, ...]
) -> Int[Array, "n _ _"]:
    """Ranks of codes by distance, of `count`: beyond the nearest 5 %, the nearest one at least, within `strength`.

    Examples:
      >>> drawn = ranks(jax.random.key(0), 100, jnp.array([0.2, 1.0]), (8, 8))
      >>> int(drawn.min()) >= 5, int(drawn[0].max()) <= 20
      (True, True)
    """
    first = max(1, int(NEAREST * count))  # rank 0 is the code itself
    last = jnp.clip((jnp.asarray(strength) * count).astype(jnp.int32) + 1, first + 1, max(count - 1, first + 1))
    share = jax.random.uniform(key, (len(last), *grid))
    return jnp.minimum(first + (share * (last - first)[:, None, None]).astype(jnp.int32), count - 1)


def spoilt(
    config: Dsr, codebook: Any, image: Map, mask: Float[ArrayLike, "n s t"], keys: Key[Array, " n"]
) -> tuple[Coded, Coded, Float[Array, "n s t"]]:
    """The codes of images; the same with defects in the coarse ones, the fine ones or both; and the mask of these.

    Each image's strength is from U(`config.strength`, 1), one for each map.
    """
    network: Any = vq_vae(config)
    own, code = {"params": codebook["params"]}, codebook["codes"]
    per_image = jax.vmap(lambda key: jax.random.uniform(key, (4,)))(keys)
    both, low = per_image[:, 0] < 0.5, per_image[:, 1] < 0.5
    strength = config.strength + (1 - config.strength) * per_image[:, 2:]
    pick = lambda where, a, b: jnp.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    def replaced(z: Any, whole: Any, kind: str, number: int) -> Any:
        grid, count = z.shape[1:3], len(code[kind])
        draw = lambda key, own: ranks(jax.random.fold_in(key, number), count, own[None], grid)[0]
        rank = jax.vmap(draw)(keys, strength[:, number])
        there = cells(mask, *grid)[..., None]
        return there * code_of_rank(z, code[kind], rank) + (1 - there) * whole

    fine, z = network.apply(own, image, method="encoded")
    lo = quantised(z, code["lo"])
    z_hi = network.apply(own, fine, lo, method="beside")
    clean = Coded(lo, quantised(z_hi, code["hi"]))
    bad_lo = pick(both | low, replaced(z, lo, "lo", 0), lo)
    z_hi = pick(both, network.apply(own, fine, bad_lo, method="beside"), z_hi)
    bad_hi = pick(both | ~low, replaced(z_hi, quantised(z_hi, code["hi"]), "hi", 1), clean.hi)
    size = np.shape(mask)[1]
    coarse, narrow = (pixels(cells(mask, *each.shape[1:3]), size) for each in clean)
    return clean, Coded(bad_lo, bad_hi), pick(both | low, coarse, narrow)
