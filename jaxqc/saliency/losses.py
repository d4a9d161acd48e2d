"""Loss terms of the saliency networks. All means are per image first, so devices and micro-batches agree."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxqc.nn.pool import max3x3, min3x3
from jaxqc.nn.ssim import ssim_map


def binary_cross_entropy(logits: Float[Array, "n h w"], target: Float[Array, "n h w"]) -> Float[Array, ""]:
    """Mean binary cross entropy from logits; targets may be soft."""
    import optax

    return optax.sigmoid_binary_cross_entropy(logits, target).mean()


def balanced_cross_entropy(logits: Float[Array, "n h w"], target: Float[Array, "n h w"]) -> Float[Array, ""]:
    """(mean over positives + mean over negatives) / 2 of each image, averaged; a side without pixels counts 0."""
    import optax

    loss = optax.sigmoid_binary_cross_entropy(logits, target)
    positive = (loss * target).sum((1, 2)) / jnp.maximum(target.sum((1, 2)), 1)
    negative = (loss * (1 - target)).sum((1, 2)) / jnp.maximum((1 - target).sum((1, 2)), 1)
    return ((positive + negative) / 2).mean()


def dice_loss(
    probability: Float[Array, "n h w"], target: Float[Array, "n h w"], smooth: float = 1.0
) -> Float[Array, ""]:
    """1 − (2 Σ p·t + smooth) / (Σ p² + Σ t² + smooth) of each image, averaged."""
    overlap = 2 * (probability * target).sum((1, 2)) + smooth
    total = (probability**2).sum((1, 2)) + (target**2).sum((1, 2)) + smooth
    return (1 - overlap / total).mean()


def overlap_loss(probability: Float[Array, "n h w"], target: Float[Array, "n h w"]) -> Float[Array, ""]:
    """1 − IoU of each image, averaged: 1 − (Σ p·t + 1) / (Σ p + Σ t − Σ p·t + 1)."""
    both = (probability * target).sum((1, 2))
    either = probability.sum((1, 2)) + target.sum((1, 2)) - both
    return (1 - (both + 1) / (either + 1)).mean()


def pixel_class_loss(
    logits: Float[Array, "n h w k"], target: Float[Array, "n h w"], label: Int[Array, " n"]
) -> Float[Array, ""]:
    """Mean cross entropy of pixels whose class is 0 outside of the mask and inside the image's, counted from 1.

    label: −1 where the image's class is not known; inside its mask any class but 0 then is right.
    """
    found = jax.nn.log_softmax(logits)
    own = jnp.take_along_axis(found, (jnp.maximum(label, 0) + 1)[:, None, None, None], -1)[..., 0]
    known = (label >= 0)[:, None, None]
    inside = jnp.where(known, own, jax.nn.logsumexp(found[..., 1:], axis=-1))
    return -(target * inside + (1 - target) * found[..., 0]).mean()


def hardest_cross_entropy(
    logits: Float[Array, "n h w 2"], target: Float[Array, "n h w"], threshold: float, least: int
) -> Float[Array, ""]:
    """Mean cross entropy of an image's hard pixels, averaged over images.

    Hard are the pixels whose own class has less than `threshold`, and at least a `least`-th of all: those of the
    lowest such probability.
    """
    found, at = jax.nn.log_softmax(logits), (target > 0.5).astype(jnp.int32)
    loss = -jnp.take_along_axis(found, at[..., None], -1)[..., 0].reshape(len(at), -1)
    count = max(1, loss.shape[1] // least)
    level = jax.lax.stop_gradient(jax.lax.top_k(loss, count)[0][:, -1:])
    hard = loss >= jnp.minimum(level, -jnp.log(threshold))
    return (jnp.where(hard, loss, 0).sum(1) / hard.sum(1)).mean()


def edges(mask: Float[Array, "n h w"]) -> Float[Array, "n h w"]:
    """Morphological gradient over 3x3: maxpool − minpool. 1 on both sides of a binary mask's border."""
    return max3x3(mask) - min3x3(mask)


def boundary_loss(logits: Float[Array, "n h w"], target: Float[Array, "n h w"]) -> Float[Array, ""]:
    """L_bnd: class-balanced cross entropy + Dice between a boundary map and the edge target."""
    return balanced_cross_entropy(logits, target) + dice_loss(jax.nn.sigmoid(logits), target)


def class_loss(logits: Float[Array, "n k"], label: Int[Array, " n"]) -> Float[Array, ""]:
    """Cross entropy averaged over all n images, to which those without a class (label −1) add 0."""
    import optax

    known = label >= 0
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(label, 0))
    return jnp.where(known, loss, 0.0).mean()


def probability_cross_entropy(p: Float[Array, "n h w"], target: Float[Array, "n h w"]) -> Float[Array, ""]:
    """Binary cross entropy of probabilities (kept 1e-6 away from 0 and 1), for maps upsampled after the sigmoid."""
    p = jnp.clip(p, 1e-6, 1 - 1e-6)
    return -(target * jnp.log(p) + (1 - target) * jnp.log1p(-p)).mean()


def ssim(x: Float[Array, "n h w"], y: Float[Array, "n h w"], window: int = 11, sigma: float = 1.5) -> Float[Array, ""]:
    """Mean structural similarity of maps in [0, 1] (Wang et al., 2004), Gaussian window, zero padding as in BASNet."""
    offsets = jnp.arange(window) - window // 2
    gaussian = jnp.exp(-(offsets**2) / (2 * sigma**2))
    gaussian = gaussian / gaussian.sum()

    def blur(image: jax.Array) -> jax.Array:
        for axis in (1, 2):
            padding = [(window // 2,) * 2 if a == axis else (0, 0) for a in range(3)]
            padded = jnp.pad(image, padding)
            length = image.shape[axis]
            shifted = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in range(window))
            image = sum((g * s for g, s in zip(gaussian, shifted, strict=True)), jnp.zeros_like(image))
        return image

    return ssim_map(x, y, blur).mean()
