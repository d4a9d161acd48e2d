"""On-device augmentation: geometry and photometry of uint8 batches inside the compiled step, one key an image."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxqc.config import AugmentConfig
from jaxqc.data.colour import in_colour
from jaxqc.types import ArrayLike


def to_float(image: UInt8[ArrayLike, "n h w c"]) -> Float[Array, "n h w 3"]:
    """uint8 → float32 in [0, 1]; grey images are repeated over three channels.

    Examples:
      >>> to_float(jnp.full((1, 2, 2, 1), 255, jnp.uint8)).shape
      (1, 2, 2, 3)
    """
    return in_colour(jnp.asarray(image).astype(jnp.float32) / 255.0)


def fit_to_size(
    image: Float[Array, "n h w c"], mask: Float[Array, "n h w"], size: int
) -> tuple[Float[Array, "n {size} {size} c"], Float[Array, "n {size} {size}"]]:
    """Whole images resized to a square (antialiased bilinear); masks are binarised again at 0.5.

    Examples:
      >>> image, mask = fit_to_size(jnp.ones((1, 4, 6, 3)), jnp.ones((1, 4, 6)), 2)
      >>> image.shape, mask.tolist()
      ((1, 2, 2, 3), [[[1.0, 1.0], [1.0, 1.0]]])
    """
    if image.shape[1:3] == (size, size):
        return image, mask
    out = (size, size)
    image = jax.image.resize(image, (image.shape[0], *out, image.shape[3]), "linear")
    mask = jax.image.resize(mask, (mask.shape[0], *out), "linear")
    return image, (mask > 0.5).astype(jnp.float32)


def augment(
    image: Float[Array, "n h w c"],
    mask: Float[Array, "n h w"],
    keys: jax.Array,
    size: int,
    config: AugmentConfig,
) -> tuple[Float[Array, "n {size} {size} c"], Float[Array, "n {size} {size}"]]:
    """Random crop, flips, resize to `size`, then brightness, contrast and noise; `keys` are [n] typed PRNG keys.

    Geometry is drawn once for image and mask. Every image depends on its own key alone.

    Examples:
      >>> keys = jax.random.split(jax.random.key(0), 2)
      >>> image, mask = augment(jnp.ones((2, 8, 8, 3)), jnp.ones((2, 8, 8)), keys, 4, AugmentConfig())
      >>> image.shape, mask.shape
      ((2, 4, 4, 3), (2, 4, 4))
    """
    # All numbers of an image from one draw: each further use of the generator adds a second to compiling on CPU.
    uniform = jax.vmap(lambda k: jax.random.uniform(k, (8,)))(keys)
    if config.crop_min < 1.0:
        crop = lambda i, m, u: _random_crop(i, m, u, size, config.crop_min)
        image, mask = jax.vmap(crop)(image, mask, uniform[:, 5:])
    else:
        image, mask = fit_to_size(image, mask, size)
    draws = uniform[:, :5, None, None, None]
    if config.flip_horizontal:
        image, mask = _flip(image, mask, draws[:, 0] < 0.5, 2)
    if config.flip_vertical:
        image, mask = _flip(image, mask, draws[:, 1] < 0.5, 1)
    if config.contrast:
        mean = image.mean((1, 2, 3), keepdims=True)
        image = (image - mean) * (1 + config.contrast * (2 * draws[:, 2] - 1)) + mean
    if config.brightness:
        image = image + config.brightness * (2 * draws[:, 3] - 1)
    if config.noise:
        grey = (*image.shape[1:3], 1)
        noise = jax.vmap(lambda k: jax.random.normal(jax.random.fold_in(k, 1), grey))(keys)
        image = image + config.noise * draws[:, 4] * noise
    return image, mask


def _flip(image: jax.Array, mask: jax.Array, chosen: jax.Array, axis: int) -> tuple[jax.Array, jax.Array]:
    flip = lambda x: jnp.flip(x, axis)
    return jnp.where(chosen, flip(image), image), jnp.where(chosen[..., 0], flip(mask), mask)


def _random_crop(image: jax.Array, mask: jax.Array, draws: jax.Array, size: int, smallest: float):
    """A square-share crop [h·a, w·a], a ~ U(smallest, 1), at a random place, resized to [size size] in one go."""
    h, w, c = image.shape
    share, top, left = draws
    share = smallest + (1 - smallest) * share
    scale = jnp.stack([size / (h * share), size / (w * share)])
    corner = jnp.stack([top * h, left * w]) * (1 - share)
    translation = -corner * scale
    both = jnp.concatenate([image, mask[..., None]], -1)
    cut = jax.image.scale_and_translate(both, (size, size, c + 1), (0, 1), scale, translation, "linear")
    return cut[..., :c], (cut[..., c] > 0.5).astype(jnp.float32)
