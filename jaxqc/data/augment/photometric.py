"""On-device photometric augmentation as torchvision defines it: colour jitter, greyscale, Gaussian blur.

Float images in [0, 1], inside the compiled step; every image draws from its own key. torchvision's own pipelines round
to 8 bits after each operation, which is left out here.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxqc.config import PhotometricConfig

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R 601 luma, as Pillow and torchvision weigh the channels."""
BLENDS = ("brightness", "contrast", "saturation")


def photometric(
    image: Float[Array, "n h w 3"], keys: Key[Array, " n"], config: PhotometricConfig
) -> Float[Array, "n h w 3"]:
    """Colour jitter with probability `jitter`, then greyscale with `grey`, then blur with `blur`."""
    # All numbers of an image from one draw: each further use of the generator costs a second of compiling on a CPU.
    draws = jax.vmap(lambda key: jax.random.uniform(key, (12,)))(keys)
    if config.jitter:
        span = jnp.array([getattr(config, name) for name in BLENDS])
        low, high = jnp.maximum(1 - span, 0), 1 + span
        factors = low + (high - low) * draws[:, :3]
        shift = config.hue * (2 * draws[:, 3] - 1)
        place = jnp.argsort(jnp.argsort(draws[:, 4:8]))
        image = _where(draws[:, 8] < config.jitter, color_jitter(image, factors, shift, place), image)
    if config.grey:
        image = _where(draws[:, 9] < config.grey, jnp.broadcast_to(grey(image), image.shape), image)
    if config.blur:
        sigma = config.blur_min + (config.blur_max - config.blur_min) * draws[:, 10]
        radius = blur_radius(config.blur_max)
        image = _where(draws[:, 11] < config.blur, gaussian_blur(image, sigma, radius), image)
    return image


def color_jitter(
    image: Float[Array, "n h w 3"], factors: Float[Array, "n 3"], shift: Float[Array, " n"], place: Int[Array, "n 4"]
) -> Float[Array, "n h w 3"]:
    """Brightness, contrast and saturation by `factors`, hue by `shift`, each image in an order of its own.

    place: of brightness, contrast, saturation and hue, 0 to 3: which comes first, second, ...
    """
    # The hue costs most, so it is turned once: the blends before it run first, then it, then the blends after it. A
    # blend whose turn it is not has factor 1, which changes nothing.
    before = place[:, :3] < place[:, 3:]
    order = jnp.argsort(place[:, :3], 1)
    image = _blends(image, jnp.where(before, factors, 1.0), order)
    image = adjust_hue(image, shift)
    return _blends(image, jnp.where(before, 1.0, factors), order)


def _blends(image: jax.Array, factors: jax.Array, order: jax.Array) -> jax.Array:
    for turn in range(3):
        kind = order[:, turn]
        factor = _wide(jnp.take_along_axis(factors, kind[:, None], 1)[:, 0])
        luma = grey(image)
        other = jnp.where(_wide(kind) == 1, luma.mean((1, 2, 3), keepdims=True), luma)
        image = blend(image, jnp.where(_wide(kind) == 0, 0.0, other), factor)
    return image


def blend(image: Float[Array, "n h w 3"], other: Float[Array, "..."], factor: Float[Array, "n 1 1 1"]) -> Array:
    """factor · image + (1 − factor) · other, clipped to [0, 1]; other: 0 changes brightness, the mean grey contrast,
    the grey image saturation."""
    return jnp.clip(factor * image + (1 - factor) * other, 0.0, 1.0)


def grey(image: Float[Array, "n h w 3"]) -> Float[Array, "n h w 1"]:
    """Luma.

    Examples:
      >>> grey(jnp.ones((1, 1, 1, 3))).round(3).tolist()
      [[[[1.0]]]]
    """
    return (image * GREY).sum(-1, keepdims=True)


def adjust_hue(image: Float[Array, "n h w 3"], shift: Float[Array, " n"]) -> Float[Array, "n h w 3"]:
    """The hue of every pixel turned by `shift` of the whole circle; value and saturation (of HSV) stay.

    Examples:
      >>> red = np.array([1.0, 0.0, 0.0]).reshape(1, 1, 1, 3)
      >>> jax.jit(adjust_hue)(red, np.array([1 / 3])).round(3).ravel().tolist()  # a third of the circle on: green
      [0.0, 1.0, 0.0]
    """
    red, green, blue = jnp.moveaxis(image, -1, 0)
    value, least = image.max(-1), image.min(-1)
    chroma = value - least
    safe = jnp.where(chroma > 0, chroma, 1.0)
    sector = jnp.where(
        value == red,
        (green - blue) / safe,
        jnp.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sector = sector + 6 * shift[:, None, None]

    def channel(n: float) -> jax.Array:
        at = jnp.mod(n + sector, 6.0)
        return value - chroma * jnp.clip(jnp.minimum(at, 4 - at), 0.0, 1.0)

    return jnp.stack([channel(5.0), channel(3.0), channel(1.0)], -1)


def blur_radius(sigma: float) -> int:
    """Half the width of the static kernel for standard deviations up to `sigma` pixels: three of them."""
    return int(np.ceil(3 * sigma))


def gaussian_blur(image: Float[Array, "n h w c"], sigma: Float[Array, " n"], radius: int) -> Float[Array, "n h w c"]:
    """Gaussian blur by `sigma` pixels an image, edges repeated; the kernel has 2 · radius + 1 taps and sum 1.

    Examples:
      >>> blurred = jax.jit(gaussian_blur, static_argnames="radius")(np.ones((1, 8, 8, 3)), np.array([1.0]), radius=3)
      >>> bool(np.allclose(blurred, 1))
      True
    """
    offsets = jnp.arange(-radius, radius + 1)
    kernel = jnp.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdims=True)
    # Sums of shifted copies: a kernel of its own for every image makes a convolution slow on a CPU.
    for axis in (1, 2):
        widths = [(radius, radius) if i == axis else (0, 0) for i in range(4)]
        padded, length = jnp.pad(image, widths, mode="edge"), image.shape[axis]
        shifted = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(2 * radius + 1))
        image = sum(_wide(kernel[:, i]) * part for i, part in enumerate(shifted))  # type: ignore[assignment]
    return image


def _wide(x: jax.Array) -> jax.Array:
    return x[:, None, None, None]


def _where(chosen: jax.Array, new: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.where(_wide(chosen), new, old)
