"""Losses over pixels: cross entropy with ignored labels, OHEM, and the weighted term of pseudo-labels.

Every mean is a sum over the batch of all devices divided by a count over them: pass `axis` where the batch is spread.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxqc.nn.resizing import resize_align_corners
from jaxqc.semi.manifest import IGNORE
from jaxqc.types import ArrayLike


def pixel_cross_entropy(
    logits: Float[ArrayLike, "... k"],
    label: Int[ArrayLike, "*shape"],
    class_weights: Float[ArrayLike, " k"] | None = None,
    chunk: int = 0,
) -> Float[Array, "*shape"]:
    """Cross entropy of each pixel in float32; labels outside [0, k), such as 255, give 0 and no gradient.

    class_weights: factor on the loss of each label; None = 1. chunk: logits of so many images at once are brought to
    the labels' size, corners aligned, and computed again for the gradient, so that those of all never exist; 0 = they
    have that size.

    Examples:
      >>> pixel_cross_entropy(jnp.zeros((1, 2)), jnp.array([255])).tolist()  # an ignored label
      [0.0]
    """
    logits, label = jnp.asarray(logits), jnp.asarray(label)
    if chunk:
        full = lambda one: pixel_cross_entropy(
            resize_align_corners(one[0][None], *label.shape[1:])[0], one[1], class_weights
        )
        return lax.map(jax.checkpoint(full), (logits, label), batch_size=chunk)
    known = (label >= 0) & (label < logits.shape[-1])
    label = jnp.where(known, label, 0)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), label)
    if class_weights is not None:
        loss = loss * jnp.asarray(class_weights)[label]
    return jnp.where(known, loss, 0.0)


def balanced_weights(pixels: Sequence[float] | np.ndarray, power: float) -> Float[np.ndarray, " k"]:
    """A factor on the loss of each class, (1 / its share of the labelled pixels)^power, with mean 1 over those pixels.

    pixels: how many each class has. power: 0 = all factors 1; 1 = all classes together weigh the same; 1/2 in between.
    float64. A class without pixels, which no label has, gets the rarest one's factor; without any pixel all are 1.

    Examples:
      >>> balanced_weights([1, 4], 0.5).round(3).tolist()
      [1.667, 0.833]
    """
    count = np.asarray(pixels, np.float64)
    if not count.any():
        return np.ones(len(count))
    share = np.where(count > 0, count, count[count > 0].min()) / count.sum()
    factor = share**-power
    return factor / (factor * count / count.sum()).sum()


def masked_mean(
    value: Float[ArrayLike, "*shape"], mask: Bool[ArrayLike, "*shape"], axis: str | None = None
) -> Float[Array, ""]:
    """Sum of the values where `mask` holds over the number of such pixels; exactly 0 where there are none.

    Within a mapped `axis` the mean over its devices of what they return is the mean over all their pixels.

    Examples:
      >>> float(masked_mean(jnp.array([1.0, 5.0]), jnp.array([True, False])))
      1.0
    """
    total = jnp.where(mask, value, 0.0).sum()
    count = mask.sum().astype(jnp.float32)
    if axis is not None:
        count = lax.pmean(count, axis)
    return total / jnp.where(count > 0, count, 1.0)


def supervised_loss(
    logits: Float[ArrayLike, "b _ _ k"],
    label: Int[ArrayLike, "b h w"],
    axis: str | None = None,
    class_weights: Float[ArrayLike, " k"] | None = None,
    chunk: int = 0,
) -> Float[Array, ""]:
    """L_x: mean cross entropy over the pixels that have a label; 0 where none has. Logits as of `pixel_cross_entropy`.

    Examples:
      >>> loss = jax.jit(supervised_loss)(np.zeros((1, 1, 2, 2)), np.array([[[0, 255]]]))
      >>> round(float(loss), 4)  # log 2, of one pixel
      0.6931
    """
    return masked_mean(pixel_cross_entropy(logits, label, class_weights, chunk), label != IGNORE, axis)


def ohem_loss(
    logits: Float[ArrayLike, "b _ _ k"],
    label: Int[ArrayLike, "b h w"],
    threshold: float = 0.7,
    min_kept: int = 200_000,
    axis: str | None = None,
    class_weights: Float[ArrayLike, " k"] | None = None,
    chunk: int = 0,
) -> Float[Array, ""]:
    """L_x over hard pixels only: those to whose label the network gives at most `threshold`.

    Where fewer than `min_kept` are that hard, the `min_kept` hardest count (all, if there are not so many; ties count
    together). The choice is made on each device for itself.

    Examples:
      >>> logits = np.array([[[[9.0, 0.0], [0.0, 0.0]]]])  # one easy pixel and one hard
      >>> round(float(jax.jit(ohem_loss, static_argnames="min_kept")(logits, np.array([[[0, 0]]]), min_kept=1)), 4)
      0.6931
    """
    known = label != IGNORE
    # exp(−CE) is the probability of the label; ignored pixels are easier than any.
    probability = jnp.where(
        known, jnp.exp(-lax.stop_gradient(pixel_cross_entropy(logits, label, None, chunk))), jnp.inf
    ).reshape(-1)
    place = min(min_kept, probability.size) - 1
    nth = jnp.sort(probability)[place] if place >= 0 else jnp.float32(0)
    kept = known & (probability.reshape(label.shape) <= jnp.maximum(nth, threshold))
    return masked_mean(pixel_cross_entropy(logits, label, class_weights, chunk), kept, axis)


def pseudo_label(
    logits: Float[ArrayLike, "*shape k"], size: tuple[int, int] | None = None, chunk: int = 0
) -> tuple[Float[Array, "*full"], Int[Array, "*full"]]:
    """Confidence (the highest probability, float32) and class (int32) of each pixel; no gradient passes.

    size, chunk: logits [b h w k] are brought to this size, for so many images at once; None, 0 = they have it.

    Examples:
      >>> confidence, label = pseudo_label(jnp.array([[0.0, 30.0]]))
      >>> confidence.tolist(), label.tolist()
      ([1.0], [1])
    """
    if chunk and size is not None:
        full = lambda one: pseudo_label(resize_align_corners(one[None], *size)[0])
        return lax.map(full, lax.stop_gradient(logits), batch_size=chunk)
    probability = jax.nn.softmax(lax.stop_gradient(logits).astype(jnp.float32))
    return probability.max(-1), probability.argmax(-1).astype(jnp.int32)


def unsupervised_loss(
    logits: Float[ArrayLike, "b _ _ k"],
    label: Int[ArrayLike, "b h w"],
    weight: Float[ArrayLike, "b h w"],
    valid: Bool[ArrayLike, "b h w"],
    axis: str | None = None,
    class_weights: Float[ArrayLike, " k"] | None = None,
    chunk: int = 0,
) -> Float[Array, ""]:
    """Σ weight · CE(logits, label) / number of valid pixels (MvpMatch, equations 1 and 3, of one view).

    The divisor counts all pixels that are not padding, and not the confident ones: few confident pixels weigh little.
    No valid or no confident pixel gives exactly 0.

    Examples:
      >>> label, valid = np.zeros((1, 1, 2), np.int32), np.ones((1, 1, 2), bool)
      >>> weight = np.array([[[1.0, 0.0]]])  # the second pixel is not confident
      >>> round(float(jax.jit(unsupervised_loss)(np.zeros((1, 1, 2, 2)), label, weight, valid)), 4)  # log 2 / 2
      0.3466
    """
    return masked_mean(weight * pixel_cross_entropy(logits, label, class_weights, chunk), valid, axis)


def kept_loss(
    logits: Float[ArrayLike, "b _ _ k"],
    label: Int[ArrayLike, "b h w"],
    kept: Bool[ArrayLike, "b h w"],
    valid: Bool[ArrayLike, "b h w"],
    divisor: str,
    axis: str | None = None,
    class_weights: Float[ArrayLike, " k"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Σ CE over kept pixels, over the number of the valid ones, of the kept ones, or of these times their share
    (`jaxqc.semi.settings.SelectConfig.divisor`); and that share, of the valid pixels.

    Examples:
      >>> kept, every = np.array([[[True, False]]]), np.ones((1, 1, 2), bool)
      >>> loss, share = jax.jit(kept_loss, static_argnums=4)(np.zeros((1, 1, 2, 2)), 0 * kept, kept, every, "share")
      >>> round(float(loss), 4), float(share)  # log 2 over a half
      (1.3863, 0.5)
    """
    share = masked_mean(jnp.asarray(kept, jnp.float32), valid, axis)
    if axis is not None:
        share = lax.pmean(share, axis)
    loss = masked_mean(pixel_cross_entropy(logits, label, class_weights), jnp.asarray(kept) & valid, axis)
    if divisor == "share":
        loss = loss / jnp.where(share > 0, share, 1.0)
    return (loss * share if divisor == "valid" else loss), share
