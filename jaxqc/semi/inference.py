"""Probabilities of whole images of any size: resized to what the network takes, or by a sliding window."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxqc.data.crops import grid
from jaxqc.errors import UserError
from jaxqc.nn.resizing import resize_align_corners
from jaxqc.semi.network import EncoderDecoder
from jaxqc.types import ArrayLike

PATCH = 14
"""Side of DINOv2's patches: both sides of its input are multiples of it."""
WINDOW, STRIDE = 798, 532
"""UniMatch V2's window for Cityscapes, and two thirds of it."""


def fitting(height: int, width: int, multiple: int = PATCH, side: int = 0) -> tuple[int, int]:
    """The nearest multiples to both sides (the upper one of two as near), at least one; with `side`, after scaling the
    long side to it: 384 gives 378 of 14, or 27 patches.

    Examples:
      >>> fitting(480, 640), fitting(480, 640, side=384)
      ((476, 644), (294, 378))
    """
    scale = side / max(height, width) if side else 1.0
    height, width = (max(1, int(x * scale / multiple + 0.5)) * multiple for x in (height, width))
    return height, width


def whole_image(
    network: EncoderDecoder, params: object, image: Float[ArrayLike, "b h w c"], multiple: int = PATCH, side: int = 0
) -> Float[Array, "b h w k"]:
    """Probabilities at the image's own size from one pass at `fitting(h, w, multiple, side)`.

    image: normalised. Without `side` the image and the logits are resized bilinearly with corners aligned, as UniMatch
    V2 does it; with it, which may shrink the image a lot, the way there is antialiased.

    Examples:
      >>> network = EncoderDecoder(lambda params, image: image, lambda params, image, size: jnp.zeros((1, *size, 2)))
      >>> whole_image(network, None, jnp.zeros((1, 30, 45, 3))).shape
      (1, 30, 45, 2)
    """
    height, width = image.shape[1:3]
    return restored(network(params, fitted(image, multiple, side)), height, width)


def fitted(image: Float[ArrayLike, "b h w c"], multiple: int = PATCH, side: int = 0) -> Float[Array, "b s t c"]:
    """The first half of `whole_image`: what the network sees.

    Examples:
      >>> fitted(jnp.zeros((1, 30, 45, 3))).shape
      (1, 28, 42, 3)
    """
    image = jnp.asarray(image)
    height, width = image.shape[1:3]
    size = fitting(height, width, multiple, side)
    if size == (height, width):
        return image
    if side:
        return jax.image.resize(image, (image.shape[0], *size, image.shape[3]), "linear")
    return resize_align_corners(image, *size)


def restored(logits: Float[Array, "b s t k"], height: int, width: int) -> Float[Array, "b {height} {width} k"]:
    """The second half of `whole_image`: probabilities at the image's own size.

    Examples:
      >>> restored(jnp.zeros((1, 28, 42, 2)), 30, 45)[0, 0, 0].tolist()
      [0.5, 0.5]
    """
    logits = logits.astype(jnp.float32)
    if logits.shape[1:3] != (height, width):
        logits = resize_align_corners(logits, height, width)
    return jax.nn.softmax(logits)


def slides(height: int, width: int, window: bool) -> bool:
    """True where an image of this size goes through a sliding window, if that is asked for: no side is below one.

    Examples:
      >>> slides(480, 640, window=True), slides(1024, 2048, window=True)
      (False, True)
    """
    return window and min(height, width) >= WINDOW


def probabilities(
    network: EncoderDecoder,
    params: object,
    image: Float[ArrayLike, "b h w c"],
    multiple: int = PATCH,
    side: int = 0,
    window: bool = False,
) -> Float[Array, "b h w k"]:
    """`sliding_window` where that is asked for and the image is large enough, else `whole_image`. image: normalised."""
    height, width = image.shape[1:3]
    if slides(height, width, window):
        return sliding_window(network, params, image, WINDOW, STRIDE, multiple)
    return whole_image(network, params, image, multiple, side)


def sliding_window(
    network: EncoderDecoder,
    params: object,
    image: Float[ArrayLike, "b h w c"],
    window: int = WINDOW,
    stride: int = STRIDE,
    multiple: int = PATCH,
) -> Float[Array, "b h w k"]:
    """Probabilities averaged over windows `stride` apart, the last ones moved to end at the edge; one at a time.

    image: normalised. Along a side shorter than the window it shrinks to the highest multiple that fits.

    Raises:
      UserError: an image with a side below `multiple`, or a window or stride that cannot be.
    """
    height, width = image.shape[1:3]
    if window < multiple or window % multiple or not 0 < stride <= window:
        raise UserError(f"window={window}, stride={stride}: a multiple of {multiple}, and a stride of 1 to the window")
    if min(height, width) < multiple:
        raise UserError(f"an image of {width} x {height} pixels is smaller than a patch of {multiple}; make it larger")
    tall, wide = (min(window, side // multiple * multiple) for side in (height, width))
    rows, columns = grid(height, tall, min(stride, tall), True), grid(width, wide, min(stride, wide), True)
    starts = jnp.array([(top, left) for top in rows for left in columns])
    classes = jax.eval_shape(network, params, image[:, :tall, :wide]).shape[-1]

    def add(i: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        total, seen = carry
        top, left = starts[i]
        cut = lax.dynamic_slice(image, (0, top, left, 0), (image.shape[0], tall, wide, image.shape[3]))
        found = jax.nn.softmax(network(params, cut).astype(jnp.float32))
        at = (0, top, left, 0)
        total = lax.dynamic_update_slice(total, lax.dynamic_slice(total, at, found.shape) + found, at)
        once = jnp.ones((1, tall, wide, 1))
        return total, lax.dynamic_update_slice(seen, lax.dynamic_slice(seen, at, once.shape) + once, at)

    empty = jnp.zeros((*image.shape[:3], classes)), jnp.zeros((1, height, width, 1))
    total, seen = lax.fori_loop(0, len(starts), add, empty)
    return total / seen
