"""Cost of a training step: forward passes of a method, and the FLOPs of one image's."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxqc.jaxprs import product_flops
from jaxqc.semi.network import EncoderDecoder
from jaxqc.semi.recipe import SemiConfig

BACKWARD = 2
"""Passes' worth of a backward pass: by the input and by the parameters."""


def passes(config: SemiConfig, drawn: float = 0.0) -> tuple[float, float]:
    """Forward passes of the encoder and of the decoder that a step costs for each labelled image (there are as many
    unlabelled ones), a backward pass counting as two. drawn: past models taking part, in the mean."""
    trained = 1 + BACKWARD
    if config.learn_weak:  # labelled images and the weak view, which labels itself in a pass of its own
        return 2 * trained + 1, 2 * trained + 1
    if not config.views:
        return (1 if config.freeze else trained), trained
    dropped = config.perturbation == "weak"
    # Labelled images and strong views, with the perturbed features' weak view; it is decoded with and without dropout.
    encoded, decoded = trained * (1 + config.views + dropped), trained * (1 + config.views + 2 * dropped)
    # The weak view that labels: the teacher's pass, the other student's, or the student's own where it is not there.
    labels = (0 if dropped and config.labels == "self" else config.teachers) + drawn + second_look(config)
    labels += bool(config.language.guide)  # a second CLIP's encoder, and its products with the phrases
    # Noise: the teachers' decoders before and after a step, and back to that step alone.
    noisy = (config.views + dropped + config.noise.labelled) * 3 * config.teachers if config.noise.eps else 0
    if config.freeze:  # forward passes alone, and one of the weak view for all
        return 1 + config.views + 1, decoded + labels + noisy
    return config.students * (encoded + labels), config.students * (decoded + labels + noisy)


def second_look(config: SemiConfig) -> int:
    """Passes of the teacher over the first strong view, for entropy, and over the labelled images, for contrast.

    Examples:
      >>> from jaxqc.semi.recipe import preset
      >>> [second_look(preset(name)) for name in ("mvpmatch", "u2pl", "pixcon")]
      [0, 2, 1]
    """
    contrast = config.contrast.weight > 0
    view = config.select.by == "entropy" or (contrast and config.contrast.positives == "mean")
    return int(view) + int(contrast)


def forward_flops(network: EncoderDecoder, start: Any, size: int) -> tuple[float, float]:
    """FLOPs of the encoder and of the decoder in a forward pass of one size x size image. start: key → parameters."""
    params = jax.eval_shape(lambda: start(jax.random.key(0)))
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    whole, encoder = (product_flops(f, params, image) for f in (network, network.encode))
    return encoder, whole - encoder


def step_flops(config: SemiConfig, forward: tuple[float, float], drawn: float = 0.0) -> float:
    """Model FLOPs of a training step for each labelled image. forward: those of `forward_flops`."""
    return sum(count * each for count, each in zip(passes(config, drawn), forward, strict=True))
