"""Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308): dense convolutions with fewer multiplications.

A tile of m x m outputs needs (m + k - 1)² products a channel pair in place of m²·k², each a place in a matrix product
over all tiles. The transforms are those of Toom and Cook: polynomials by their values at m + k - 2 points and at
infinity. Points of both signs and of reciprocal sizes keep the rounding near that of the direct sum.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.polynomial import polynomial

from jaxqc.types import ArrayLike

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
"""The first of so many as a transform needs."""
TOGETHER = 6
"""Places of a tile a side from which on its rows are one array: 36 kernels of the compiler's would be too many, 16 are
faster than 5."""


class Transforms(NamedTuple):
    """The three matrices of F(m, k): outputs = A^T [(G kernel) * (B^T tile)]."""

    tile: np.ndarray
    """B^T [m+k-1 m+k-1]."""
    kernel: np.ndarray
    """G [m+k-1 k]."""
    output: np.ndarray
    """A^T [m m+k-1]."""


@lru_cache(maxsize=16)
def transforms(outputs: int, taps: int) -> Transforms:
    """F(outputs, taps) at the first of `POINTS`.

    Examples:
      >>> f = transforms(2, 3)
      >>> tile, kernel = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 0.0, -1.0])
      >>> (f.output @ ((f.kernel @ kernel) * (f.tile @ tile))).tolist()
      [-2.0, -2.0]
    """
    n = outputs + taps - 1
    points = POINTS[: n - 1]
    tile, kernel, output = np.zeros((n, n)), np.zeros((n, taps)), np.zeros((outputs, n))
    for j, point in enumerate(points):
        others = [other for other in points if other != point]
        tile[j, : n - 1] = polynomial.polyfromroots(others)
        kernel[j] = point ** np.arange(taps) / np.prod([point - other for other in others])
        output[:, j] = point ** np.arange(outputs)
    tile[-1] = polynomial.polyfromroots(points)
    kernel[-1, -1] = output[-1, -1] = 1
    return Transforms(tile, kernel, output)


def winograd(
    x: Float[ArrayLike, "n h w i"], kernel: Float[ArrayLike, "k k i o"], padding: int = 1, outputs: int = 2
) -> Float[Array, "n H W o"]:
    """Cross-correlation at stride 1 by F(outputs x outputs, k x k); H = h + 2 padding - k + 1.

    padding: pixels of zeros on every side.

    Examples:
      >>> jax.jit(winograd)(jnp.ones((1, 2, 2, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0].tolist()
      [[4.0, 4.0], [4.0, 4.0]]
    """
    taps, o = kernel.shape[0], kernel.shape[-1]
    f, grid = transforms(outputs, taps), _grid(x.shape, taps, padding, outputs)
    places, groups = len(f.tile), _tiles(f.tile, x, padding, grid, outputs)
    # One product for all places: as many kernels of sums take the compiler twice as long as all the rest.
    filters = _squared(f.kernel) @ jnp.reshape(kernel, (taps * taps, -1))
    filters = filters.reshape(places, len(groups), -1, x.shape[-1], o)
    halves: list[list[jax.Array]] = [[] for _ in range(outputs)]
    for g, columns in enumerate(groups):
        products = [_product(_flat(tile), filters[b, g]) for b, tile in enumerate(columns)]
        for half, rows in zip(halves, _combine(f.output, products), strict=True):
            half += list(rows.reshape(-1, len(x), grid.down, grid.across, o))
    parts = [_combine(f.output, half) for half in halves]
    whole = jnp.stack([jnp.stack([part[a] for part in parts], 3) for a in range(outputs)], 2)
    return whole.reshape(len(x), grid.down * outputs, grid.across * outputs, o)[:, : grid.height, : grid.width]


def winograd_kernel_gradient(
    x: Float[ArrayLike, "n h w i"], g: Float[ArrayLike, "n H W o"], taps: int, padding: int = 1, outputs: int = 2
) -> Float[Array, "k k i o"]:
    """dL/dkernel of `winograd`, from g = dL/doutput: G^T [Σ (B^T x B) * (A g A^T)] G, summed over all tiles.

    Examples:
      >>> ones = jnp.ones((1, 2, 2, 1))
      >>> jax.jit(winograd_kernel_gradient, static_argnums=2)(ones, ones, 3)[:, :, 0, 0].round(3).tolist()
      [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]
    """
    f, grid = transforms(outputs, taps), _grid(x.shape, taps, padding, outputs)
    tiles = _tiles(f.tile, x, padding, grid, outputs)
    more = grid.down * outputs - grid.height, grid.across * outputs - grid.width
    g = jnp.pad(jnp.asarray(g), ((0, 0), (0, more[0]), (0, more[1]), (0, 0)))
    rows = _combine(f.output.T, [g[:, a::outputs] for a in range(outputs)])
    columns = lambda row: _combine(f.output.T, [row[..., b::outputs, :] for b in range(outputs)])
    spread = [columns(group) for group in _grouped(rows)]
    sums = [
        [_product(_flat(tile), _flat(part), across=True) for tile, part in zip(*pair, strict=True)]
        for pair in zip(tiles, spread, strict=True)
    ]
    whole = jnp.concatenate([jnp.concatenate([group[b] for group in sums]) for b in range(len(f.tile))])
    gradient = jnp.asarray(_squared(f.kernel).T) @ whole.reshape(len(whole), -1)
    return gradient.reshape(taps, taps, *whole.shape[1:])


class _Grid(NamedTuple):
    """Size of the output, and the tiles that cover it."""

    height: int
    width: int
    down: int
    across: int


def _grid(shape: Sequence[int], taps: int, padding: int, outputs: int) -> _Grid:
    height, width = (side + 2 * padding - taps + 1 for side in shape[1:3])
    return _Grid(height, width, -(-height // outputs), -(-width // outputs))


def _squared(matrix: np.ndarray) -> np.ndarray:
    """The effect of a transform of both axes on squares laid flat: to columns of rows, from rows of columns."""
    places, taps = matrix.shape
    return np.einsum("ak,bl->bakl", matrix, matrix).reshape(places * places, taps * taps).astype(np.float32)


def _tiles(matrix: np.ndarray, x: ArrayLike, padding: int, grid: _Grid, outputs: int) -> list[list[jax.Array]]:
    """The transformed tiles: for each group of a tile's rows and each column, their values [rows n down across i]."""
    places = len(matrix)
    ends = [count * outputs + places - outputs for count in (grid.down, grid.across)]
    around = [(padding, end - side - padding) for end, side in zip(ends, x.shape[1:3], strict=True)]
    x, last = jnp.pad(jnp.asarray(x), ((0, 0), *around, (0, 0))), outputs * (grid.across - 1) + 1
    rows = _combine(matrix, [x[:, k : k + outputs * (grid.down - 1) + 1 : outputs] for k in range(places)])
    columns = lambda row: _combine(matrix, [row[..., k : k + last : outputs, :] for k in range(places)])
    return [columns(group) for group in _grouped(rows)]


def _grouped(rows: list[jax.Array]) -> list[jax.Array]:
    """Rows that are transformed further together, side by side in front."""
    return [jnp.stack(rows)] if len(rows) >= TOGETHER else [row[None] for row in rows]


def _flat(tile: jax.Array) -> jax.Array:
    """[rows n down across c] → [rows tiles c]."""
    return tile.reshape(len(tile), -1, tile.shape[-1])


def _product(a: jax.Array, b: jax.Array, across: bool = False) -> jax.Array:
    """The product of each row's matrices, summed over tiles where `across`; that of one row alone is a plain one, for
    which XLA turns no matrix."""
    turned = a.swapaxes(1, 2) if across else a
    return ((a[0].T if across else a[0]) @ b[0])[None] if len(a) == 1 else turned @ b


def _combine(matrix: np.ndarray, parts: Sequence[jax.Array]) -> list[jax.Array]:
    """Each row's weighted sum of the parts, without the products by 0 and ±1 that a matrix product would do."""
    out: list[Any] = []
    for weights in matrix:
        used = [(float(c), part) for c, part in zip(weights, parts, strict=True) if c]
        terms = [part if c == 1 else -part if c == -1 else c * part for c, part in used]
        out.append(sum(terms[1:], terms[0]))
    return out
