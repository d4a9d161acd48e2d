"""Three models that compile in a second, one of each kind, with weights that were drawn and not trained."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxqc.anomaly.model
from benchmarks.lib.networks import random_variables
from jaxqc.anomaly.detectors import Gaussian, PatchCore, Spade
from jaxqc.anomaly.model import AnomalyModel
from jaxqc.anomaly.recipe import DecisionConfig, FitConfig, FitDataConfig
from jaxqc.anomaly.thresholds import Thresholds
from jaxqc.config import ModelConfig, TrainConfig
from jaxqc.saliency import networks
from jaxqc.saliency.model import Model
from jaxqc.semi.model import Segmentation
from tests.support.few_labels import CLASSES, Tiny, recipe, use_tiny
from tests.support.tiny_run import TINY, TinyNet

SIDE = 32
"""Input of the saliency network and of the detector."""


def tiny_saliency(patch: pytest.MonkeyPatch, size: int = SIDE) -> Model:
    patch.setitem(networks.NETWORKS, "tiny", TINY)
    config = dataclasses.replace(TrainConfig(), model=ModelConfig(name="tiny"), eval_size=size)
    meta = {"classes": ["In", "Pa", "Sc"], "mean": 0.44, "std": 0.21, "step": 7}
    return Model(random_variables(TinyNet(3), varied=True), config, meta)


DETECTORS = {
    "gaussian": Gaussian(channels=0, sigma=2.0),
    "patchcore": PatchCore(width=6, coreset=0.5, neighbours=3, sigma=2.0),
    "spade": Spade(images=3, sigma=2.0),
}


def tiny_detector(patch: pytest.MonkeyPatch, method: str = "gaussian") -> AnomalyModel:
    """Fitted to noise, with two convolutions as its backbone."""
    kernels = [np.random.default_rng(i).normal(0, 0.3, (3, 3, 3, 4)).astype(np.float32) for i in range(2)]

    def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, ...]:
        x = images.astype(jnp.float32) / 255
        conv = partial(jax.lax.conv_general_dilated, padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return tuple(jax.nn.relu(conv(x, variables[f"k{i}"], window_strides=(s, s))) for i, s in enumerate((4, 8)))

    composed = lambda config, embed, views: lambda variables, images: embed(apply(variables, images), None)
    patch.setattr(jaxqc.anomaly.model, "apply_function", composed)
    config = FitConfig(
        detector=DETECTORS[method],
        data=FitDataConfig(size=SIDE),
        decision=DecisionConfig(opening=1, smallest=4),
        batch=4,
    )
    variables = {f"k{i}": kernel for i, kernel in enumerate(kernels)}
    images = np.random.default_rng(5).integers(60, 190, (6, SIDE, SIDE, 3), dtype=np.uint8)
    detector = config.detector
    layers, embed = apply(variables, images), lambda images: detector.embed(apply(variables, images), None)
    shapes = tuple((x.shape[1], x.shape[2], x.shape[3]) for x in layers)
    collected = detector.collect(detector.begin(shapes, len(images)), embed(images), jnp.arange(len(images)))
    state = detector.finish(collected, shapes)
    scores = detector.score(state, embed(pictures(4)), SIDE)[0]
    low, high = float(scores.min()), float(scores.max())
    thresholds = Thresholds((low + high) / 2, (low + high) / 2, "by hand", low, high)
    return AnomalyModel(config, state, variables, thresholds, {"fit": 6})


def tiny_segmentation(patch: pytest.MonkeyPatch) -> Segmentation:
    use_tiny(patch)
    params = jax.device_get(jax.jit(Tiny().init)(jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))["params"])
    return Segmentation(params, recipe(eval_size=28), {"classes": list(CLASSES), "mean": 0.45, "std": 0.25}, batch=4)


def pictures(n: int, height: int = SIDE, width: int = SIDE, channels: int = 3, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), dtype=np.uint8)
