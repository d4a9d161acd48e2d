"""From a grid of distances to a map of the image and its score: upsampling, smoothing, the image's score."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxqc.nn.plain import operation
from jaxqc.nn.resizing import resize
from jaxqc.types import ArrayLike


def gaussian_kernel(sigma: float, truncate: float = 4.0) -> np.ndarray:
    """Weights of a sampled Gaussian out to `truncate` standard deviations, float32 [2 r + 1], sum 1.

    Examples:
      >>> kernel = gaussian_kernel(1.0)
      >>> len(kernel), round(float(kernel.sum()), 6)
      (9, 1.0)
    """
    radius = int(truncate * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


def smooth(maps: Float[ArrayLike, "b h w"], sigma: float) -> Float[Array, "b h w"]:
    """Gaussian filter, separable, edges mirrored (d c b a | a b c d | d c b a), as SciPy's `gaussian_filter` has it.

    Examples:
      >>> bool(np.allclose(jax.jit(lambda maps: smooth(maps, sigma=2.0))(np.ones((1, 8, 8))), 1))
      True
    """
    maps = jnp.asarray(maps)
    return maps if sigma <= 0 else filtered(maps, gaussian_kernel(sigma))


def filtered(maps: Float[ArrayLike, "b h w *c"], kernel: np.ndarray) -> Float[Array, "b h w *c"]:
    """A filter of an odd number of weights along both axes, edges mirrored; float32 products on any device.

    Examples:
      >>> jax.jit(lambda x: filtered(x, np.ones(3, np.float32) / 3))(jnp.array([[[3.0, 0.0, 6.0]]])).tolist()
      [[[2.0, 3.0, 4.0]]]
    """
    maps = jnp.asarray(maps)
    for axis in (1, 2):
        matrix = jnp.asarray(mirrored_filter(maps.shape[axis], kernel))
        maps = jnp.moveaxis(jnp.tensordot(maps, matrix, ((axis,), (1,)), precision=lax.Precision.HIGHEST), -1, axis)
    return maps


def box_mean(maps: Float[ArrayLike, "b h w"], side: int) -> Float[Array, "b h w"]:
    """Mean of the square of `side` pixels, an odd number, about each pixel; edges mirrored.

    Examples:
      >>> jax.jit(box_mean, static_argnums=1)(jnp.array([[[3.0, 0.0, 6.0]]]), 3).tolist()
      [[[2.0, 3.0, 4.0]]]
    """
    return filtered(maps, np.full(side, 1 / side, np.float32))


def mirrored_filter(n: int, kernel: np.ndarray) -> np.ndarray:
    """The filter as a banded matrix [n n], to be multiplied along one axis, edges and all."""
    radius = len(kernel) // 2
    source = np.arange(n)[:, None] + np.arange(-radius, radius + 1)[None]
    source = source % (2 * n)
    source = np.where(source >= n, 2 * n - 1 - source, source)
    matrix = np.zeros((n, n), np.float32)
    np.add.at(matrix, (np.arange(n)[:, None], source), kernel[None].repeat(n, 0))
    return matrix


def distance_map(
    grid: Float[ArrayLike, "b h w"], height: int, width: int, sigma: float
) -> Float[Array, "b {height} {width}"]:
    """Grid distances brought to pixels (bilinear, half-pixel centres) and smoothed with `sigma` pixels.

    Examples:
      >>> jax.eval_shape(lambda grid: distance_map(grid, 16, 24, sigma=2.0), jnp.ones((1, 4, 4))).shape
      (1, 16, 24)
    """
    return smooth(resize(jnp.asarray(grid)[..., None], height, width)[..., 0], sigma)


def image_score(maps: Float[ArrayLike, "b h w"], top: int = 1) -> Float[Array, " b"]:
    """The mean of the `top` largest pixels; 1 = the maximum, as in the paper.

    Examples:
      >>> image_score(np.array([[[1.0, 3.0], [2.0, 0.0]]]), top=2).tolist()
      [2.5]
    """
    flat = jnp.asarray(maps).reshape(maps.shape[0], -1)
    return flat.max(1) if top == 1 else lax.top_k(flat, top)[0].mean(1)


def top_score(maps: Float[ArrayLike, "b h w"], top: float) -> Float[Array, " b"]:
    """The mean of the `top` largest pixels; below 1 `top` is a share of all, of one pixel at least.

    Examples:
      >>> [top_score(np.array([[[1.0, 3.0], [2.0, 0.0]]]), top).tolist() for top in (1.0, 0.75)]
      [[3.0], [2.0]]
    """
    pixels = maps.shape[1] * maps.shape[2]
    return image_score(maps, max(1, int(pixels * top)) if top < 1 else min(int(top), pixels))


def window_score(grid: Float[ArrayLike, "b h w"], window: int, top: int) -> Float[Array, " b"]:
    """The largest, over squares of `window` cells a side, of the mean of a square's `top` highest cells.

    A long thin defect makes many cells of one place high, a speck a few; high cells all over the image are grain. The
    squares lie a quarter of their side apart, and the last ones end at the grid's edge. A smaller grid is one square.

    Examples:
      >>> grids = np.zeros((2, 8, 8), np.float32)
      >>> grids[0, [0, 7], [0, 7]] = grids[1, 3:5, 3] = 4  # two cells apart, and two together
      >>> jax.jit(window_score, static_argnums=(1, 2))(grids, 4, 2).tolist()
      [2.0, 4.0]
    """
    cells = jnp.asarray(grid)
    for axis, n in ((1, grid.shape[1]), (3, grid.shape[2])):
        cells = jnp.take(cells, square_starts(n, window)[:, None] + np.arange(min(window, n)), axis)
    squares = cells.swapaxes(2, 3)
    squares = squares.reshape(*squares.shape[:3], -1)
    return lax.top_k(squares, min(top, squares.shape[-1]))[0].mean(-1).max((1, 2))


def square_starts(n: int, side: int) -> np.ndarray:
    """First cells of squares of `side` cells along an axis of n cells: a quarter of a side apart, the last at the end.

    Examples:
      >>> square_starts(21, 8).tolist(), square_starts(5, 8).tolist()
      ([0, 2, 4, 6, 8, 10, 12, 13], [0])
    """
    last = max(n - side, 0)
    return np.append(np.arange(0, last, max(1, side // 4)), last)


def cell_means(maps: Float[ArrayLike, "b h w"], cell: int = 4) -> Float[Array, "b _ _"]:
    """Means of the map over squares of `cell` pixels a side; beyond the edges stand the edge's own values.

    Examples:
      >>> cell_means(jnp.arange(24.0).reshape(1, 4, 6)).tolist()
      [[[10.5, 13.75]]]
    """
    x = jnp.asarray(maps)
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % cell), (0, -x.shape[2] % cell)), mode="edge")
    return x.reshape(x.shape[0], x.shape[1] // cell, cell, -1, cell).mean((2, 4))


def nearest_index(n_in: int, n_out: int) -> np.ndarray:
    """For each of `n_out` cells the one of `n_in` cells that it lies in, int [n_out].

    Examples:
      >>> nearest_index(2, 4).tolist()
      [0, 0, 1, 1]
    """
    return (np.arange(n_out) * n_in) // n_out


def take_nearest(x: Float[ArrayLike, "b h w c"], height: int, width: int) -> Float[Array, "b {height} {width} c"]:
    """Nearest-neighbour resize of a feature grid (torch's `nearest`).

    Examples:
      >>> take_nearest(jnp.arange(2.0).reshape(1, 1, 2, 1), 1, 4)[0, 0, :, 0].tolist()
      [0.0, 0.0, 1.0, 1.0]
    """
    x = jnp.asarray(x)
    if x.shape[1:3] == (height, width):
        return x
    if height % x.shape[1] == 0 and width % x.shape[2] == 0:  # a plain repetition: no gather
        return operation("resize_nearest", lambda x: _repeated(x, height, width), x)
    return jnp.take(jnp.take(x, nearest_index(x.shape[1], height), 1), nearest_index(x.shape[2], width), 2)


def _repeated(x: jax.Array, height: int, width: int) -> jax.Array:
    x = jnp.repeat(x, height // x.shape[1], 1, total_repeat_length=height)
    return jnp.repeat(x, width // x.shape[2], 2, total_repeat_length=width)


def channel_choice(key: jax.Array, channels: tuple[int, ...], count: int) -> tuple[np.ndarray, ...]:
    """A seeded random choice of `count` of all layers' channels, as sorted indices within each layer.

    Drawn over the concatenation, so a layer's share is by its channels; count >= their sum, or 0, takes all.

    Examples:
      >>> [len(chosen) for chosen in channel_choice(jax.random.key(0), (4, 4), count=0)]  # 0 takes all
      [4, 4]
    """
    total = sum(channels)
    if count <= 0 or count >= total:
        return tuple(np.arange(c) for c in channels)
    with jax.ensure_compile_time_eval():  # a choice is a constant of the graphs that use it
        chosen = np.sort(np.asarray(jax.random.permutation(key, total))[:count])
    edges = np.cumsum((0, *channels))
    return tuple(chosen[(chosen >= a) & (chosen < b)] - a for a, b in pairwise(edges))


def choose_channels(
    layers: tuple[Float[ArrayLike, "b _ _ _"], ...], choice: tuple[np.ndarray, ...]
) -> tuple[Float[Array, "b _ _ _"], ...]:
    """The chosen channels of every layer, each on its own grid; none of a layer are an array without channels.

    Examples:
      >>> layers = jnp.zeros((1, 4, 4, 8)), jnp.zeros((1, 2, 2, 8))
      >>> chosen = choose_channels(layers, (np.array([0, 5]), np.array([], int)))
      >>> [layer.shape for layer in chosen]
      [(1, 4, 4, 2), (1, 2, 2, 0)]
    """
    pairs = zip(map(jnp.asarray, layers), choice, strict=True)
    return tuple(x if len(index) == x.shape[-1] else x[..., index] for x, index in pairs)


def on_finest(layers: tuple[Float[ArrayLike, "b _ _ _"], ...]) -> Float[Array, "b H W d"]:
    """All layers' channels on the grid of the first (finest) one, coarser ones repeated (nearest).

    To be called with chosen channels: the full concatenation (1,792 channels at 56 x 56 for ResNet-50's layers 1 to 3)
    never exists.
    """
    height, width = layers[0].shape[1:3]
    return jnp.concatenate([take_nearest(x, height, width) for x in layers if x.shape[-1]], -1)


def pool_channels(x: Float[ArrayLike, "b h w c"], width: int) -> Float[Array, "b h w {width}"]:
    """Adaptive average pooling of the channel axis: output i is the mean of channels floor(i c / width) up to
    ceil((i + 1) c / width); with width > c channels are repeated.

    Examples:
      >>> pool_channels(jnp.arange(4.0).reshape(1, 1, 1, 4), 2)[0, 0, 0].tolist()
      [0.5, 2.5]
    """
    x, c = jnp.asarray(x), x.shape[-1]
    if c == width:
        return x
    start, stop = np.arange(width) * c // width, -(-(np.arange(1, width + 1) * c) // width)
    matrix = np.zeros((c, width), np.float32)
    for i, (a, b) in enumerate(zip(start, stop, strict=True)):
        matrix[a:b, i] = 1 / (b - a)
    return jnp.matmul(x, matrix, precision=lax.Precision.HIGHEST)


def pool_grid(x: Float[ArrayLike, "b h w c"], height: int, width: int) -> Float[Array, "b {height} {width} c"]:
    """Adaptive average pooling of a feature grid to a smaller one, as `pool_channels` does it along each axis.

    Examples:
      >>> pool_grid(jnp.arange(4.0).reshape(1, 2, 2, 1), 1, 2).ravel().tolist()
      [1.0, 2.0]
    """
    for axis, side in ((1, height), (2, width)):
        x = jnp.moveaxis(pool_channels(jnp.moveaxis(jnp.asarray(x), axis, 3), side), 3, axis)
    return jnp.asarray(x)


def flat_map(scores: Float[ArrayLike, " b"], height: int, width: int) -> Float[Array, "b {height} {width}"]:
    """A map that has its image's score at every pixel.

    Examples:
      >>> flat_map(jnp.array([2.0]), 1, 3).tolist()
      [[[2.0, 2.0, 2.0]]]
    """
    scores = jnp.asarray(scores)
    return jnp.broadcast_to(scores[:, None, None], (scores.shape[0], height, width))
