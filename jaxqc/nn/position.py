"""Learned position embeddings of a grid, carried to any other grid by one static matrix per axis.

Two bicubic conventions, both PyTorch's: plain (a = -0.75, borders repeated) and antialiased (a = -0.5, the kernel
widened where the grid shrinks, weights at the borders renormalised). `jax.image.resize` offers only the second.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike


def resample_grid(
    table: Float[ArrayLike, "g k d"], height: int, width: int, offset: float = 0.0, antialias: bool = False
) -> Float[Array, "{height} {width} d"]:
    """The table at another grid size; the table itself where the size is its own.

    offset: added to `height` and `width` for the sampling scale alone. DINOv2 (arXiv 2304.07193) was trained and
    published with 0.1, a guard against rounding that moves every sample by a little.

    Examples:
      >>> resample_grid(jnp.ones((16, 16, 192)), 12, 20).shape
      (12, 20, 192)
    """
    table = jnp.asarray(table)
    rows, columns = table.shape[:2]
    if (height, width) == (rows, columns):
        return table
    along_rows = jnp.asarray(bicubic_matrix(rows, height, (height + offset) / rows, antialias), table.dtype)
    along_columns = jnp.asarray(bicubic_matrix(columns, width, (width + offset) / columns, antialias), table.dtype)
    return jnp.einsum("Hh,hwd,Ww->HWd", along_rows, table, along_columns, precision=jax.lax.Precision.HIGHEST)


@lru_cache(maxsize=256)
def bicubic_matrix(n_in: int, n_out: int, scale: float, antialias: bool = False) -> Float[np.ndarray, "{n_out} {n_in}"]:
    """Row i holds the weights of output sample i, whose centre lies at (i + ½) / scale in units of input cells.

    float32, computed in float64; every row sums to 1.

    Examples:
      >>> bicubic_matrix(3, 6, 2.0).sum(1).round(6).tolist()
      [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    """
    centre = (np.arange(n_out) + 0.5) / scale
    if antialias:
        stretch = max(1.0, 1 / scale)
        # A row takes whole cells whose centres lie within two (stretched) cells, and none beyond the border.
        first = np.maximum((centre - 2 * stretch + 0.5).astype(int), 0)[:, None]
        last = np.minimum((centre + 2 * stretch + 0.5).astype(int), n_in)[:, None]
        cell = np.arange(n_in)[None]
        weights = _cubic((cell + 0.5 - centre[:, None]) / stretch, -0.5) * ((cell >= first) & (cell < last))
        return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    base = np.floor(centre - 0.5).astype(int)
    matrix = np.zeros((n_out, n_in))
    for tap in range(-1, 3):
        cell = base + tap
        np.add.at(matrix, (np.arange(n_out), np.clip(cell, 0, n_in - 1)), _cubic(cell + 0.5 - centre, -0.75))
    return matrix.astype(np.float32)


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel of support 2: ((a+2)|x| - (a+3))x² + 1 within 1, a(((|x|-5)|x| + 8)|x| - 4) within 2."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
