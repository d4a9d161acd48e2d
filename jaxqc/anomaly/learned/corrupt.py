"""Synthetic defects within the step, painted into normal images or added to features; each image has its own key."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt8

from jaxqc.anomaly.learned.painting import confetti, pasted_piece, stain
from jaxqc.anomaly.learned.perlin import fractal, perlin_mask
from jaxqc.anomaly.learned.pictures import unrelated
from jaxqc.anomaly.learned.recolour import recoloured
from jaxqc.data.augment.photometric import grey
from jaxqc.types import ArrayLike

Corrupt = Literal[
    "none", "patches", "texture", "recoloured", "fractal", "stain", "cutpaste", "scar", "confetti", "noise"
]
TEXTURED: tuple[Corrupt, ...] = ("texture", "recoloured")
"""Those that show textures."""
Corrupted = tuple[UInt8[Array, "b h w c"], Float[Array, "b h w"]]
"""Images, and the mask of what was painted into them."""

SQUARES = 4
"""Most patches of noise in an image; each number of them from 0 on is as likely."""
LEAST, MOST = 40, 10
"""Parts of an image's side that a patch's half side has at least, and stays below."""
TEXTURES = 64
"""Generated textures, the same for every training."""
SHOWN = 0.8
"""Largest share of the image that is seen through a texture."""
STRENGTH = 0.2
"""Amplitude of the coarsest octave of fractal noise, where white is 1."""
NOISE = 0.1
"""Deviation of noise all over the image, where white is 1."""
SMALLEST, LARGEST = 26, 8
"""Parts of an image's side that a box of fractal noise has at least, and stays below."""


def corrupt(
    kind: Corrupt,
    images: UInt8[ArrayLike, "b h w c"],
    keys: Key[Array, " b"],
    textures: UInt8[ArrayLike, "n h w 3"] | None = None,
) -> Corrupted:
    """Images with synthetic defects of a kind, and the mask of these.

    kind: `patches` (`noise_patches`), `texture` (`textured`, which needs `textures`), `recoloured` (the same after
    changes of the texture's colours, `jaxqc.anomaly.learned.recolour`), `fractal` (`fractal_boxes`),
    `noise` (`noisy`), or of `jaxqc.anomaly.learned.painting`: `stain`, `cutpaste`, `scar`, `confetti`. `none` gives the
    images as they are.

    Examples:
      >>> keys, images = jax.random.split(jax.random.key(0), 2), jnp.full((2, 64, 64, 1), 128, jnp.uint8)
      >>> image, mask = jax.eval_shape(lambda: corrupt("fractal", images, keys))
      >>> image.shape, mask.shape
      ((2, 64, 64, 1), (2, 64, 64))
    """
    return _KINDS[kind](images, keys, textures)


def textures_for(kind: Corrupt, size: int, pictures: str = "") -> dict[str, UInt8[np.ndarray, "n s s 3"]]:
    """The things that `corrupt` needs beside images of `size` pixels, as a frozen collection.

    pictures: a folder of textures; "" = generated ones.

    Raises:
      UserError: as `jaxqc.anomaly.learned.pictures.unrelated`.

    Examples:
      >>> textures_for("patches", 32), textures_for("texture", 8)["textures"].shape
      ({}, (64, 8, 8, 3))
    """
    return {"textures": unrelated(pictures, size, TEXTURES)} if kind in TEXTURED else {}


def noise_patches(images: UInt8[ArrayLike, "b h w c"], keys: Key[Array, " b"]) -> Corrupted:
    """Images with 0 to 4 upright rectangles of white noise, and the mask of these (arXiv 2302.08769).

    Examples:
      >>> keys = jax.random.split(jax.random.key(0), 8)
      >>> out, mask = jax.jit(noise_patches)(jnp.zeros((8, 80, 80, 1), jnp.uint8), keys)
      >>> out.shape, mask.shape, bool(((out[..., 0] > 0) <= (mask > 0)).all())
      ((8, 80, 80, 1), (8, 80, 80), True)
    """
    height, width = images.shape[1:3]

    def one(image: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second = jax.random.split(key)
        draws = jax.random.uniform(first, (4 * SQUARES + 1,))
        count, each = jnp.floor(draws[0] * (SQUARES + 1)), draws[1:].reshape(SQUARES, 4)
        inside = jnp.arange(SQUARES) < count
        for axis, side in enumerate((height, width)):
            least = side // LEAST
            half = least + jnp.floor(each[:, axis] * max(1, side // MOST - least))
            centre = half + jnp.floor(each[:, 2 + axis] * (side - 2 * half))
            place = jnp.arange(side) if axis else jnp.arange(side)[:, None]
            shape = (SQUARES, 1, 1)
            within = (place >= (centre - half).reshape(shape)) & (place < (centre + half).reshape(shape))
            inside = (inside if axis else inside[:, None, None]) & within
        mask = inside.any(0)
        noise = jax.random.randint(second, image.shape, 0, 255, jnp.uint8)
        return jnp.where(mask[..., None], noise, image), mask.astype(jnp.float32)

    return jax.vmap(one)(jnp.asarray(images), keys)


def textured(
    images: UInt8[ArrayLike, "b h w c"],
    keys: Key[Array, " b"],
    textures: UInt8[ArrayLike, "n h w 3"],
    recolour: bool = False,
) -> Corrupted:
    """Images under a texture where Perlin noise exceeds 0.5 (arXiv 2108.07610; as in arXiv 2211.11317).

    Through it shows a share of the image from U(0, 0.8). recolour: after three changes of its colours.

    Examples:
      >>> keys, images = jax.random.split(jax.random.key(0), 4), np.zeros((4, 32, 32, 3), np.uint8)
      >>> image, mask = jax.eval_shape(textured, images, keys, images[:1])
      >>> image.shape, mask.shape
      ((4, 32, 32, 3), (4, 32, 32))
    """
    height, width, channels = images.shape[1:]

    def chosen(key: jax.Array) -> jax.Array:
        second = jax.random.split(key, 3)[1]
        other = jnp.asarray(textures)[jax.random.randint(second, (), 0, textures.shape[0])].astype(jnp.float32)
        return 255 * recoloured(other / 255, jax.random.fold_in(second, 1)) if recolour else other

    # one after the other, since a batch at once would go through every change and choose afterwards
    others = jax.lax.map(chosen, keys) if recolour else jax.vmap(chosen)(keys)

    def one(image: jax.Array, key: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, _, third = jax.random.split(key, 3)
        mask = perlin_mask(first, height, width, 0.5, turned=True)
        other = other if channels > 1 else grey(other[None])[0]
        share = SHOWN * jax.random.uniform(third)
        mixed = share * image.astype(jnp.float32) + (1 - share) * other
        return jnp.where(mask[..., None] > 0, jnp.round(mixed).astype(jnp.uint8), image), mask

    return jax.vmap(one)(jnp.asarray(images), keys, others)


def fractal_boxes(images: UInt8[ArrayLike, "b h w c"], keys: Key[Array, " b"]) -> Corrupted:
    """Images with one box of fractal noise, the same in all channels (RD++, CVPR 2023, where it is simplex noise).

    Examples:
      >>> keys, images = jax.random.split(jax.random.key(0), 2), np.full((2, 80, 80, 3), 128, np.uint8)
      >>> image, mask = jax.eval_shape(fractal_boxes, images, keys)
      >>> image.shape, mask.shape
      ((2, 80, 80, 3), (2, 80, 80))
    """
    sides = images.shape[1:3]
    least, most = zip(*((max(1, side // SMALLEST), max(2, side // LARGEST)) for side in sides), strict=True)
    rows, columns = (jnp.arange(side, dtype=jnp.float32) for side in most)

    def one(image: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        first, second = jax.random.split(key)
        draws = jax.random.uniform(first, (2, 2))
        noise = fractal(second, rows[:, None], columns[None])
        inside = jnp.ones((), bool)
        for axis, side in enumerate(sides):
            length = least[axis] + jnp.floor(draws[0, axis] * (most[axis] - least[axis]))
            start = 1 + jnp.floor(draws[1, axis] * (side - length - 1))
            place = (jnp.arange(side) - start).astype(jnp.int32)
            inside = inside & ((place >= 0) & (place < length)).reshape((-1, 1) if axis == 0 else (1, -1))
            noise = jnp.take(noise, jnp.clip(place, 0, most[axis] - 1), axis)
        painted = jnp.clip(jnp.round(image + 255 * STRENGTH * noise[..., None]), 0, 255).astype(jnp.uint8)
        return jnp.where(inside[..., None], painted, image), inside.astype(jnp.float32)

    return jax.vmap(one)(jnp.asarray(images), keys)


def noisy(images: UInt8[ArrayLike, "b h w c"], keys: Key[Array, " b"]) -> Corrupted:
    """Images under normal noise of deviation `NOISE`, clipped; the mask is the whole image.

    Examples:
      >>> keys, images = jax.random.split(jax.random.key(0), 2), np.full((2, 16, 16, 1), 128, np.uint8)
      >>> image, mask = jax.jit(noisy)(images, keys)
      >>> 20 < float(image.astype(float).std()) < 30, mask.min().item()
      (True, 1.0)
    """
    images = jnp.asarray(images)
    noise = jax.vmap(lambda key: jax.random.normal(key, images.shape[1:]))(keys)
    painted = jnp.clip(jnp.round(images + 255 * NOISE * noise), 0, 255).astype(jnp.uint8)
    return painted, jnp.ones(images.shape[:3])


def some(images: UInt8[ArrayLike, "b h w c"], corrupted: Corrupted, keys: Key[Array, " b"], share: float) -> Corrupted:
    """The corrupted images and masks in this share of the images, drawn by their keys, else the images as they are.

    Examples:
      >>> images, keys = np.zeros((64, 2, 2, 1), np.uint8), jax.random.split(jax.random.key(0), 64)
      >>> image, mask = jax.jit(some, static_argnums=3)(images, (images + 1, np.ones((64, 2, 2))), keys, 0.5)
      >>> 20 < float(mask[:, 0, 0].sum()) < 44, bool((image[..., 0] == mask).all())
      (True, True)
    """
    if share >= 1:
        return corrupted
    (image, mask), drawn = corrupted, jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 1)))(keys)
    own = (drawn < share)[:, None, None]
    return jnp.where(own[..., None], image, jnp.asarray(images)), jnp.where(own, mask, 0.0)


def feature_noise(
    keys: Key[Array, " b"], shape: tuple[int, int, int], threshold: float
) -> tuple[Float[Array, "b h w c"], Float[Array, "b h w"]]:
    """Normal noise of deviation 1 for features [h w c], and the mask where it is: nowhere in half of the images, else
    where Perlin noise exceeds `threshold` (arXiv 2408.03143).

    Examples:
      >>> keys = jax.random.split(jax.random.key(0), 4)
      >>> noise, mask = jax.eval_shape(lambda: feature_noise(keys, (8, 8, 5), 0.2))
      >>> noise.shape, mask.shape
      ((4, 8, 8, 5), (4, 8, 8))
    """

    def one(key: Key[Array, ""]) -> tuple[jax.Array, jax.Array]:
        first, second, third = jax.random.split(key, 3)
        some = jax.random.uniform(second) <= 0.5
        mask = jnp.where(some, perlin_mask(first, shape[0], shape[1], threshold), 0.0)
        return jax.random.normal(third, shape) * mask[..., None], mask

    return jax.vmap(one)(keys)


def _each(paint: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Corrupted]:
    """A way to paint one image, for a batch."""
    return lambda images, keys, textures: jax.vmap(paint)(jnp.asarray(images), keys)


_KINDS: dict[str, Callable[[Any, Any, Any], Corrupted]] = {
    "none": lambda images, keys, textures: (jnp.asarray(images), jnp.zeros(images.shape[:3])),
    "patches": lambda images, keys, textures: noise_patches(images, keys),
    "texture": textured,
    "recoloured": lambda images, keys, textures: textured(images, keys, textures, recolour=True),
    "fractal": lambda images, keys, textures: fractal_boxes(images, keys),
    "stain": _each(stain),
    "cutpaste": _each(pasted_piece),
    "scar": _each(lambda image, key: pasted_piece(image, key, scar=True)),
    "confetti": _each(confetti),
    "noise": lambda images, keys, textures: noisy(images, keys),
}
