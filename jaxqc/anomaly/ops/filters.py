"""Fixed filters as backbones: a bank of lines of any direction, blobs, grain and light; and lines along their way.

Nothing is trained and nothing is fetched. A crack is a few pixels wide and much longer: a ridge filter at the image's
own resolution, summed along straight and bent lines, sees it in grain that hides each of its pixels. The image is
first brought to its local mean and contrast, so that a dark zone counts as much as a bright one.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from jaxqc.anomaly.ops.maps import mirrored_filter
from jaxqc.types import ArrayLike

STRIDES = {1: 4, 2: 8}
"""Pixels of a cell's side, layer by layer."""
DIRECTIONS = 8
WIDTHS = (1.0, 2.0)
"""Deviations in pixels of the ridge filters, for lines of about 2 and 4 pixels."""
STEPS = np.linspace(-8.0, 8.0, 13)
"""Places along a line, in widths."""
BENDS = (-0.06, 0.0, 0.06)
"""Curvatures of the lines, in radians a width."""
PATH = 3
"""Steps of a path each way."""
AHEAD = ((0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (2, -1), (2, -2), (1, -2))
"""Rows and columns of cells of a step in each direction."""
BLOBS = (1.0, 2.0, 4.0)
"""Deviations in pixels of the Laplacians."""
NEIGHBOURHOOD, GRAIN = 10.0, 20.0
"""Deviations in pixels of the local mean and of the local contrast."""
DARKEST = 16.0
"""Added to grey levels before their logarithm, so that noise in the dark weighs less."""


def filter_layers(images: Float[ArrayLike, "b h w 3"], layers: Sequence[int]) -> dict[str, Float[Array, "b _ _ _"]]:
    """Responses of the bank to images in grey levels from 0 to 255, by the layers' names; 45 channels each.

    Of each line and blob a cell keeps the largest response, dark and bright apart; of light, colour and grain the mean.

    Examples:
      >>> import jax
      >>> found = jax.eval_shape(lambda: filter_layers(jnp.zeros((1, 32, 48, 3)), (1, 2)))
      >>> {name: value.shape for name, value in found.items()}
      {'layer1': (1, 8, 12, 45), 'layer2': (1, 4, 6, 45)}
    """
    images = jnp.asarray(images)
    even, local, contrast = evened(images)
    colours = (images[..., 0] - images[..., 1], images[..., 2] - images[..., 1])
    means = jnp.stack([local, 0.5 * jnp.log(contrast), *(gaussian(c, 2.0) / 32 for c in colours)], -1)
    lines = jnp.concatenate([line_sums(even, width) for width in WIDTHS], -1)
    blobs = jnp.stack([s**2 * (gaussian(even, s, (2, 0)) + gaussian(even, s, (0, 2))) for s in BLOBS], -1)
    out = {}
    for layer in layers:
        cells = lambda x, cell=STRIDES[layer]: _cells(x, cell)
        dark = [cells(x).max((2, 4)) for x in (lines, blobs)]
        bright = [-cells(x).min((2, 4)) for x in (lines, blobs)]
        grain = jnp.log(cells(jnp.square(blobs)).mean((2, 4)) + 1e-3)
        out[f"layer{layer}"] = jnp.concatenate([*dark, *bright, cells(means).mean((2, 4)), grain], -1)
    return out


def path_layers(images: Float[ArrayLike, "b h w 3"], layers: Sequence[int]) -> dict[str, Float[Array, "b _ _ _"]]:
    """Lines of the bank along their way, of images in grey levels from 0 to 255, layer by layer; 32 channels each.

    A crack that wanders leaves every straight or evenly bent line after a while. From cell to cell a path goes on where
    its line is strongest, in its direction or one beside it, so that its mean still gathers all of the crack.

    Examples:
      >>> import jax
      >>> found = jax.eval_shape(lambda: path_layers(jnp.zeros((1, 32, 48, 3)), (1, 2)))
      >>> {name: value.shape for name, value in found.items()}
      {'layer1': (1, 8, 12, 32), 'layer2': (1, 4, 6, 32)}
    """
    even, _, _ = evened(jnp.asarray(images))
    found = [line_sums(even, width) for width in WIDTHS]
    out = {}
    for layer in layers:
        cells = [_cells(lines, STRIDES[layer]) for lines in found]
        dark, bright = [x.max((2, 4)) for x in cells], [-x.min((2, 4)) for x in cells]
        out[f"layer{layer}"] = jnp.concatenate([path_means(x) for x in (*dark, *bright)], -1)
    return out


def path_means(lines: Float[Array, "b h w d"], steps: int = PATH) -> Float[Array, "b h w d"]:
    """Mean of the line responses along the best path through each cell, by the direction that it has there.

    A path is `steps` steps long each way, of about two cells, and turns by one direction a step at most: the best one
    is found by dynamic programming (Bellman). lines: responses of d = 8 directions over half a turn.

    Examples:
      >>> straight = jnp.zeros((1, 9, 40, 8)).at[0, 4, :, 0].set(1.0)  # along a row
      >>> import jax
      >>> means = jax.jit(path_means)(straight)
      >>> means[0, 4, 20, 0].item(), means[0, 0, 20, 0].item()
      (1.0, 0.0)
    """
    count, half = 2 * len(AHEAD), len(AHEAD)
    ahead = (*AHEAD, *((-row, -column) for row, column in AHEAD))
    both = jnp.concatenate([lines, lines], -1)
    best = both
    for _ in range(steps):
        following = jnp.stack([_moved(best[..., i], ahead[i]) for i in range(count)], -1)
        turned = jnp.maximum(jnp.roll(following, 1, -1), jnp.roll(following, -1, -1))
        best = both + jnp.maximum(following, turned)
    return (best[..., :half] + best[..., half:] - lines) / (2 * steps + 1)


def _moved(x: Float[Array, "b h w"], by: tuple[int, int]) -> Float[Array, "b h w"]:
    """The value so many rows and columns on; beyond the edge stands the edge's own."""
    for axis, step in zip((1, 2), by, strict=True):
        x = jnp.take(x, np.clip(np.arange(x.shape[axis]) + step, 0, x.shape[axis] - 1), axis)
    return x


def evened(images: Float[Array, "b h w 3"]) -> tuple[Float[Array, "b h w"], ...]:
    """Logarithms of the light brought to their local mean and contrast; that mean, and the squared contrast."""
    light = jnp.log(images.mean(-1) + DARKEST)
    local = gaussian(light, NEIGHBOURHOOD)
    detail = light - local
    contrast = gaussian(jnp.square(detail), GRAIN) + 1e-4
    return detail / jnp.sqrt(contrast), local, contrast


def line_sums(image: Float[Array, "b h w"], width: float) -> Float[Array, "b h w d"]:
    """For each direction the ridge response, summed along the bend where it is largest; that of dark lines is positive.

    White noise of deviation 1 gives responses of the order of 1.
    """
    margin = int(np.ceil(STEPS[-1] * width)) + 1
    pad = lambda x: jnp.pad(x, ((0, 0), (margin, margin), (margin, margin)), mode="symmetric")
    second = [pad(gaussian(image, width, orders)) for orders in ((0, 2), (2, 0), (1, 1))]
    height, wide = image.shape[1:]
    gain = 3 * width**2 / len(STEPS) ** 0.5

    def along(angle: float, bend: float) -> Array:
        total = jnp.zeros_like(image)
        for step in STEPS:  # unrolled, so that it is one pass over the image: slices of known places
            middle, turned = angle + 0.5 * bend * step, angle + bend * step
            row = margin + round(width * step * np.sin(middle))
            column = margin + round(width * step * np.cos(middle))
            across = np.sin(turned) ** 2, np.cos(turned) ** 2, -2 * np.sin(turned) * np.cos(turned)
            for weight, x in zip(across, second, strict=True):
                total = total + np.float32(gain * weight) * x[:, row : row + height, column : column + wide]
        return total

    found = []
    for angle in np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        every = jnp.stack([along(angle, bend) for bend in BENDS])
        dark, bright = every.max(0), every.min(0)
        found.append(jnp.where(dark > -bright, dark, bright))
    return jnp.stack(found, -1)


def gaussian(x: Float[Array, "b h w"], sigma: float, orders: tuple[int, int] = (0, 0)) -> Float[Array, "b h w"]:
    """A Gaussian's derivatives of these orders (0 to 2) along rows and columns, edges mirrored.

    Examples:
      >>> ramp = jnp.broadcast_to(jnp.arange(40.0), (1, 40, 40))
      >>> import jax
      >>> round(float(jax.jit(gaussian, static_argnums=(1, 2))(ramp, 2.0, (0, 1))[0, 20, 20]), 3)
      1.0
    """
    radius = int(4 * sigma + 0.5)
    t = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (t / sigma) ** 2)
    kernel /= kernel.sum()
    for axis, order in ((1, orders[0]), (2, orders[1])):
        values = kernel * (np.ones(len(t)), t / sigma**2, (t**2 / sigma**2 - 1) / sigma**2)[order]
        values -= values.mean() * (order == 2)  # what the sampling leaves of the light itself
        matrix = mirrored_filter(x.shape[axis], values.astype(np.float32))
        x = jnp.moveaxis(jnp.tensordot(x, matrix, ((axis,), (1,)), precision=lax.Precision.HIGHEST), -1, axis)
    return x


def _cells(x: Float[Array, "b h w c"], cell: int) -> Float[Array, "b _ cell _ cell c"]:
    """The image in squares; sides that are no multiple are mirrored, which also rounds up as networks do."""
    x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % cell), (0, -x.shape[2] % cell), (0, 0)), mode="symmetric")
    return x.reshape(x.shape[0], x.shape[1] // cell, cell, x.shape[2] // cell, cell, x.shape[3])
