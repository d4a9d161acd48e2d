"""Regions of masks: 8-connected labelling, specks removed, and morphological opening by a disk."""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxqc.types import ArrayLike

OPENING, SMALLEST = 1, 16
"""Radius of the disk that opens an inspected mask, and pixels below which a region of it is dropped, by default."""


def labelled(mask: Bool[np.ndarray, "h w"]) -> tuple[Int[np.ndarray, "h w"], int]:
    """Numbers 1 to n of the 8-connected regions, 0 off them, and n. On the host.

    Examples:
      >>> regions, count = labelled(np.array([[1, 0, 1], [0, 0, 1]], bool))
      >>> regions.tolist(), count
      ([[1, 0, 2], [0, 0, 2]], 2)
    """
    from scipy import ndimage

    regions = np.zeros(mask.shape, np.int32)
    count = int(ndimage.label(mask, np.ones((3, 3)), output=regions))  # type: ignore[arg-type]
    return regions, count


def without_specks(mask: Bool[np.ndarray, "h w"], smallest: int) -> Bool[np.ndarray, "h w"]:
    """A mask without its 8-connected regions of fewer than `smallest` pixels.

    Examples:
      >>> without_specks(np.array([[1, 0, 1], [0, 0, 1]], bool), smallest=2).tolist()
      [[False, False, True], [False, False, True]]
    """
    if smallest <= 1 or not mask.any():
        return mask
    regions, _ = labelled(mask)
    areas = np.bincount(regions.ravel())
    keep = areas >= smallest
    keep[0] = False
    return keep[regions]


def disk(radius: int) -> Int[np.ndarray, "k 2"]:
    """Offsets (row, column) of a disk's pixels.

    Examples:
      >>> disk(1).tolist()
      [[-1, 0], [0, -1], [0, 0], [0, 1], [1, 0]]
    """
    side = np.arange(-radius, radius + 1)
    rows, columns = np.meshgrid(side, side, indexing="ij")
    inside = rows**2 + columns**2 <= radius**2
    return np.stack([rows[inside], columns[inside]], 1)


def opened(mask: Bool[ArrayLike, "b h w"], radius: int) -> Bool[Array, "b h w"]:
    """Morphological opening by a disk; what is outside the image neither erodes nor dilates.

    Examples:
      >>> mask = np.zeros((1, 9, 9), bool)
      >>> mask[0, 2:7, 2:7] = mask[0, 0, 0] = True
      >>> int(opened(mask, 1).sum())  # the speck and the square's four corners go
      21
    """
    mask = jnp.asarray(mask)
    if radius < 1:
        return mask
    return _disk_max(~_disk_max(~mask, radius), radius)


def opened_levels(values: Float[np.ndarray, "h w"], radius: int) -> Float[np.ndarray, "h w"]:
    """Grey opening by a disk, on the host: `opened_levels(v, r) >= t` is `opened(v >= t, r)` for every t.

    Examples:
      >>> opened_levels(np.array([[0, 0, 0, 5], [0, 9, 2, 2], [0, 2, 2, 2]], np.float32), 1).tolist()
      [[0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 2.0, 2.0], [0.0, 2.0, 2.0, 2.0]]
    """
    if radius < 1:
        return values
    from scipy import ndimage

    shape = footprint(radius)
    low = ndimage.grey_erosion(values, footprint=shape, mode="constant", cval=np.inf)
    return ndimage.grey_dilation(low, footprint=shape, mode="constant", cval=-np.inf)


def footprint(radius: int) -> Bool[np.ndarray, "d d"]:
    """A disk as a mask."""
    out = np.zeros((2 * radius + 1, 2 * radius + 1), bool)
    out[tuple((disk(radius) + radius).T)] = True
    return out


def cleaned(mask: Bool[np.ndarray, "h w"], opening: int, smallest: int) -> Bool[np.ndarray, "h w"]:
    """A mask opened by a disk and then without regions of fewer than `smallest` pixels, on the host.

    Examples:
      >>> mask = np.zeros((9, 9), bool)
      >>> mask[2:7, 2:7] = mask[0, 0] = True
      >>> int(cleaned(mask, 1, 16).sum()), int(cleaned(mask, 1, 22).sum())
      (21, 0)
    """
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return mask
    from scipy import ndimage

    # Beyond the marked pixels and a margin nothing can change; of a large image that is most.
    box = tuple(slice(max(at[0] - opening, 0), at[-1] + 1 + opening) for at in (rows, columns))
    part = mask[box]
    if opening:
        eroded = ndimage.binary_erosion(part, footprint(opening), border_value=1)
        part = ndimage.binary_dilation(eroded, footprint(opening))
    out = np.zeros_like(mask)
    out[box] = without_specks(part, smallest)
    return out


def _disk_max(mask: Bool[Array, "b h w"], radius: int) -> Bool[Array, "b h w"]:
    """Dilation: the disk as a union of rows, each a running maximum along the width."""
    from jaxqc.nn.convolution import library  # where a graph is traced; to use an export takes no network code
    from jaxqc.nn.plain import is_plain

    x = mask.astype(jnp.float32)
    if is_plain():
        return library(x[..., None], footprint(radius)[..., None, None].astype(np.float32), 1, radius)[..., 0] > 0.5
    out = jnp.zeros_like(mask)
    for dy in range(-radius, radius + 1):
        reach = int((radius**2 - dy**2) ** 0.5)
        wide = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2 * reach + 1), (1, 1, 1), "SAME") > 0
        h = mask.shape[1]
        moved = jnp.pad(wide, ((0, 0), (max(-dy, 0), max(dy, 0)), (0, 0)))
        out |= moved[:, max(dy, 0) : max(dy, 0) + h]
    return out
