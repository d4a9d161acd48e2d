"""Maps of an image from numbers of its cells or patches."""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxqc.types import ArrayLike


@lru_cache(maxsize=64)
def gaussians(cells: int, pixels: int, sigma: float) -> Float[np.ndarray, "pixels cells"]:
    """Along an axis, each cell's share of each pixel: a Gaussian about the cell's middle, of area one cell.

    Examples:
      >>> [round(float(x), 3) for x in gaussians(1, 3, 1.0).ravel()]
      [0.726, 1.197, 0.726]
    """
    stride = pixels / cells
    middle = (np.arange(cells) + 0.5) * stride - 0.5
    apart = (np.arange(pixels)[:, None] - middle) / sigma
    return (np.exp(-0.5 * apart**2) * stride / (sigma * np.sqrt(2 * np.pi))).astype(np.float32)


def spread_map(
    grid: Float[ArrayLike, "b h w"], height: int, width: int, sigma: float
) -> Float[Array, "b {height} {width}"]:
    """The sum of a Gaussian of `sigma` pixels about each cell's middle times the cell's number: transposed convolution.

    Inside an image whose cells all have one number, pixels have it too.

    Examples:
      >>> import jax
      >>> maps = jax.jit(lambda grid: spread_map(grid, 64, 64, 6.0))(jnp.ones((1, 16, 16)))
      >>> round(float(maps[0, 32, 32]), 3)
      1.0
    """
    down, right = (gaussians(n, m, sigma) for n, m in zip(grid.shape[1:], (height, width), strict=True))
    return jnp.einsum("bhw,Hh,Ww->bHW", jnp.asarray(grid), down, right, precision=lax.Precision.HIGHEST)


def starts(side: int, patch: int, step: int) -> tuple[int, ...]:
    """First pixels of patches about `step` pixels apart, from one edge to the other.

    Examples:
      >>> starts(128, 64, 16), starts(100, 64, 16)
      ((0, 16, 32, 48, 64), (0, 12, 24, 36))
    """
    count = max(1, -(-(side - patch) // step) + 1)
    return tuple(int(x) for x in np.linspace(0, side - patch, count).round())


@lru_cache(maxsize=64)
def covering(first: tuple[int, ...], patch: int, pixels: int) -> Float[np.ndarray, "pixels patches"]:
    """Along an axis, each patch's share of each pixel: those that cover it count alike; else the last one does.

    Examples:
      >>> covering((0, 1), 2, 4).tolist()
      [[1.0, 0.0], [0.5, 0.5], [0.0, 1.0], [0.0, 1.0]]
    """
    place, begin = np.arange(pixels)[:, None], np.array(first)
    inside = (place >= begin) & (place < begin + patch)
    inside[~inside.any(1), -1] = True
    return (inside / inside.sum(1, keepdims=True)).astype(np.float32)


def covered_map(
    grid: Float[ArrayLike, "b h w"], down: tuple[int, ...], right: tuple[int, ...], patch: int, size: tuple[int, int]
) -> Float[Array, "b rows columns"]:
    """Each pixel's mean over the patches that cover it. down, right: first pixels of the patches along each axis.

    Examples:
      >>> covered_map(jnp.array([[[1.0, 3.0]]]), (0,), (0, 2), 4, (1, 6)).tolist()
      [[[1.0, 1.0, 2.0, 2.0, 3.0, 3.0]]]
    """
    shares = (covering(first, patch, pixels) for first, pixels in zip((down, right), size, strict=True))
    return jnp.einsum("bhw,Hh,Ww->bHW", jnp.asarray(grid), *shares, precision=lax.Precision.HIGHEST)
